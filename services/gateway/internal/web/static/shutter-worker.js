// The shutter's clock and encoder, in a worker: neither is slowed down when the page is behind another.

let canvas = null;
let context = null;

onmessage = async ({ data }) => {
  if (data.every) {
    setInterval(() => postMessage({ tick: true }), data.every);
    return;
  }
  const { bitmap, dx, dy, width, height, quality } = data;
  try {
    if (canvas?.width !== width || canvas?.height !== height) {
      canvas = new OffscreenCanvas(width, height);
      context = canvas.getContext('2d', { alpha: false });
    }
    context.fillRect(0, 0, width, height); // black bars
    context.drawImage(bitmap, dx, dy);
    bitmap.close();
    const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality });
    const buffer = await blob.arrayBuffer();
    postMessage({ buffer }, [buffer]);
  } catch (err) {
    postMessage({ failed: String(err) });
  }
};

let able = false;
try {
  able = typeof new OffscreenCanvas(1, 1).convertToBlob === 'function' && Boolean(new OffscreenCanvas(1, 1).getContext('2d'));
} catch {
  // Some browsers have the name and not the thing.
}
postMessage({ able });
