// What a page publishes: a camera or a screen, and in plain words why a browser gives it neither.

// barred says why there can be no camera on this page, '' where there can.
export function barred() {
  if (window.isSecureContext && navigator.mediaDevices?.getUserMedia) return '';
  if (window.isSecureContext) return 'This browser gives pages no camera.';
  const safe = new URL(location.href);
  safe.protocol = 'https:';
  return (
    'A browser gives a page the camera only over HTTPS, or from this very computer as localhost. This page came over ' +
    `plain HTTP from ${location.hostname}. Give the gateway FRAMEBUS_TLS_CERT and FRAMEBUS_TLS_KEY and open ${safe}`
  );
}

// open resolves to a MediaStream of pictures alone, and throws an Error in words for people.
export async function open(kind, { width, height, fps }) {
  const reason = barred();
  if (reason) throw new Error(reason);
  const video = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: fps } };
  try {
    if (kind !== 'screen') return await navigator.mediaDevices.getUserMedia({ video, audio: false });
    if (!navigator.mediaDevices.getDisplayMedia) throw new Error('This browser does not let pages show the screen.');
    return await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: fps } }, audio: false });
  } catch (err) {
    throw new Error(words(err, kind), { cause: err });
  }
}

export function close(media) {
  for (const track of media?.getTracks() ?? []) track.stop();
}

function words({ name, message }, kind) {
  const what = kind === 'screen' ? 'screen' : 'camera';
  if (name === 'NotAllowedError') return `The ${what} was not allowed. Allow it for this page and try again.`;
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return `No ${what} was found.`;
  if (name === 'NotReadableError' || name === 'AbortError') return `The ${what} is in use by another program.`;
  return message || `The ${what} cannot be used.`;
}
