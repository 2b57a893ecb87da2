// Pictures out of a <video>: so many a second, of one size, as JPEG. The clock and the encoder run in a worker, because
// a page behind others has its timers slowed down, and who shows a screen is always behind another window.

import { startWorker } from './worker.js';

// fit places a picture of w×h on a canvas: `cover` fills it and cuts what is over, else the whole picture is shown
// with bars. s is what is taken of the source, d where it goes.
export function fit(w, h, width, height, cover) {
  const scale = cover ? Math.max(width / w, height / h) : Math.min(width / w, height / h);
  const [sw, sh] = [Math.min(w, width / scale), Math.min(h, height / scale)];
  const [dw, dh] = [Math.min(width, Math.round(w * scale)), Math.min(height, Math.round(h * scale))];
  return {
    sx: (w - sw) / 2, sy: (h - sh) / 2, sw, sh,
    dx: Math.round((width - dw) / 2), dy: Math.round((height - dh) / 2), dw, dh,
  };
}

export class Shutter {
  // onpicture takes an ArrayBuffer. ready is asked before each picture: where it says no, none is taken.
  onpicture = () => {};
  ready = () => true;
  missed = 0; // pictures that were due while the last was still being made
  #video;
  #set = null; // { width, height, fps, quality, cover } while it runs
  #worker = null;
  #timer = 0;
  #busy = false;

  constructor(video) {
    this.#video = video;
  }

  async start(set) {
    this.stop();
    this.#set = set;
    this.missed = 0;
    const worker = await startWorker('shutter-worker.js');
    if (this.#set !== set) {
      worker?.terminate();
      return;
    }
    const every = 1000 / set.fps;
    if (!worker) {
      this.#timer = setInterval(() => this.#tick(), every);
      return;
    }
    worker.onmessage = ({ data }) => {
      if (data.tick) this.#tick();
      else this.#made(data.buffer ?? null);
    };
    worker.postMessage({ every });
    this.#worker = worker;
  }

  stop() {
    this.#set = null;
    this.#busy = false;
    clearInterval(this.#timer);
    this.#worker?.terminate();
    this.#worker = null;
  }

  async #tick() {
    const set = this.#set;
    const { videoWidth: w, videoHeight: h } = this.#video;
    if (!set || !w || !this.ready()) return;
    if (this.#busy) {
      this.missed++;
      return;
    }
    this.#busy = true;
    const place = fit(w, h, set.width, set.height, set.cover);
    try {
      if (this.#worker) await this.#hand(set, place);
      else this.#made(await this.#draw(set, place));
    } catch {
      this.#busy = false; // a camera that was taken away: its end is told elsewhere
    }
  }

  async #hand(set, { sx, sy, sw, sh, dx, dy, dw, dh }) {
    const size = { resizeWidth: dw, resizeHeight: dh, resizeQuality: 'medium' };
    const bitmap = await createImageBitmap(this.#video, sx, sy, sw, sh, size);
    if (this.#set !== set || !this.#worker) {
      bitmap.close();
      return;
    }
    const { width, height, quality } = set;
    this.#worker.postMessage({ bitmap, dx, dy, width, height, quality }, [bitmap]);
  }

  async #draw({ width, height, quality }, { sx, sy, sw, sh, dx, dy, dw, dh }) {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext('2d', { alpha: false }).drawImage(this.#video, sx, sy, sw, sh, dx, dy, dw, dh);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', quality));
    return blob?.arrayBuffer() ?? null;
  }

  #made(buffer) {
    this.#busy = false;
    if (buffer && this.#set) this.onpicture(buffer);
  }
}
