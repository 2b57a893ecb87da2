// One canvas and the loop that decodes onto it. It runs in the paint worker, or on the page's thread where a browser
// cannot do that. At most one picture is being decoded and one waits; a newer one takes the waiting one's place, so
// that a slow canvas shows fewer pictures and never older ones.

import { nowMs } from './clock.js';

export class Screen {
  #canvas;
  #context;
  #decode;
  #report;
  #waiting = null; // at most one; the newest wins
  #busy = false;
  #shown = null; // the picture on the canvas, its bytes included
  #painted = 0;
  #superseded = 0;
  #failed = 0;

  // report is called after each paint or failure with the picture's number and the totals so far.
  constructor(canvas, decode, report) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d', { alpha: false });
    if (!this.#context) throw new Error('no 2d context');
    this.#decode = decode;
    this.#report = report;
  }

  put(picture) {
    if (this.#waiting) this.#superseded++;
    this.#waiting = picture;
    if (!this.#busy) this.#run();
  }

  // drop forgets what waits: the tab was hidden, or another stream was chosen.
  drop() {
    this.#waiting = null;
  }

  async #run() {
    this.#busy = true;
    while (this.#waiting) {
      const picture = this.#waiting;
      this.#waiting = null;
      try {
        await this.#paint(picture);
      } catch (err) {
        this.#failed++;
        this.#report({ number: null, paintedMs: nowMs(), error: String(err), ...this.#totals() });
      }
    }
    this.#busy = false;
  }

  async #paint(picture) {
    const blob = new Blob([new Uint8Array(picture.buffer, picture.start)], { type: 'image/jpeg' });
    const image = await this.#decode(blob);
    const [width, height] = [image.width, image.height];
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    this.#context.drawImage(image, 0, 0);
    image.close?.();
    this.#shown = { number: picture.number, blob };
    this.#painted++;
    this.#report({ number: picture.number, paintedMs: nowMs(), width, height, ...this.#totals() });
  }

  #totals() {
    return { painted: this.#painted, superseded: this.#superseded, failed: this.#failed };
  }

  // jpeg is the picture on the canvas as it came, null before the first.
  jpeg() {
    return this.#shown;
  }

  // bitmap is a copy of what the canvas shows, { number, bitmap }, null before the first picture. Reading pixels from
  // this canvas itself would take it off the GPU.
  async bitmap() {
    if (!this.#shown) return null;
    const { number } = this.#shown;
    return { number, bitmap: await createImageBitmap(this.#canvas) };
  }
}

// decoder picks how JPEGs are decoded here: createImageBitmap decodes off the thread; <img> is for browsers without it.
export function decoder(imgOnly) {
  if (!imgOnly && typeof createImageBitmap === 'function') return (blob) => createImageBitmap(blob);
  return async (blob) => {
    const url = URL.createObjectURL(blob);
    const img = new Image();
    try {
      await new Promise((resolve, reject) => {
        img.onload = resolve;
        img.onerror = () => reject(new Error('not a picture'));
        img.src = url;
      });
      return img;
    } finally {
      URL.revokeObjectURL(url);
    }
  };
}
