// The streams that the gateway has, as /api/v1/streams tells them.

// list resolves to [{ name, state, cause, width, height, fps, viewers, epoch }], or null where it cannot be had: the
// connection says what is wrong.
export async function list() {
  try {
    const answer = await fetch(new URL('api/v1/streams', document.baseURI), { cache: 'no-store' });
    if (!answer.ok) return null;
    const body = await answer.json();
    return (Array.isArray(body) ? body : (body.streams ?? [])).map(entry).filter((s) => s.name);
  } catch {
    return null;
  }
}

function entry(s) {
  return {
    name: s.name ?? s.stream ?? '',
    state: String(s.state ?? 'live').replace('STREAM_STATE_', '').toLowerCase(),
    cause: s.cause ?? '',
    width: s.width ?? 0,
    height: s.height ?? 0,
    fps: s.fps ?? 0,
    viewers: Array.isArray(s.viewers) ? s.viewers.length : s.viewers,
    epoch: String(s.epoch ?? 0),
  };
}
