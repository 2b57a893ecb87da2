// The paint worker: takes pictures off the page's thread at once, decodes the newest and draws it.

import { Screen, decoder } from './screen.js';

let screen = null;

const reports = (report) => postMessage({ report });

const questions = {
  jpeg: async () => [screen?.jpeg() ?? null],
  bitmap: async () => {
    const copy = (await screen?.bitmap()) ?? null;
    return [copy, copy ? [copy.bitmap] : []];
  },
};

onmessage = async ({ data }) => {
  if (data.picture) screen?.put(data.picture);
  else if (data.drop) screen?.drop();
  else if (data.canvas) screen = new Screen(data.canvas, decoder(false), reports);
  else if (data.ask) {
    try {
      const [answer, transfer = []] = await questions[data.ask]();
      postMessage({ id: data.id, answer }, transfer);
    } catch (err) {
      postMessage({ id: data.id, error: String(err) });
    }
  }
};

// A canvas that was handed over cannot be taken back: say first whether this browser can draw here.
function able() {
  try {
    return typeof createImageBitmap === 'function' && Boolean(new OffscreenCanvas(1, 1).getContext('2d'));
  } catch {
    return false;
  }
}

postMessage({ able: able() });
