// The painter puts the newest picture on the page: off the main thread where the browser can (OffscreenCanvas and
// module workers), else here. Pictures are numbered so that what was painted can be told from what was given.

import { Screen, decoder } from './screen.js';
import { startWorker } from './worker.js';

export class Painter {
  onpaint = () => {};
  #host;
  #worker = null;
  #screen = null;
  #early = null; // the newest picture that came before a painter was ready
  #asked = new Map();
  #asks = 0;

  // how: 'worker' (where it can), 'main' or 'img', the last two to try the fall-backs.
  constructor(host, how) {
    this.#host = host;
    this.ready = this.#start(how);
  }

  // kind says how pictures get onto the page: worker, main or img.
  kind = 'starting';

  async #start(how) {
    const able = how !== 'main' && how !== 'img' && 'transferControlToOffscreen' in HTMLCanvasElement.prototype;
    const worker = able ? await startWorker('paint-worker.js', { type: 'module' }) : null;
    const canvas = document.createElement('canvas');
    canvas.width = 640;
    canvas.height = 480;
    canvas.setAttribute('role', 'img');
    this.#host.replaceChildren(canvas);
    if (worker) {
      const offscreen = canvas.transferControlToOffscreen();
      worker.onmessage = ({ data }) => this.#hear(data);
      worker.postMessage({ canvas: offscreen }, [offscreen]);
      this.#worker = worker;
      this.kind = 'worker';
    } else {
      const img = how === 'img' || typeof createImageBitmap !== 'function';
      this.#screen = new Screen(canvas, decoder(img), (report) => this.onpaint(report));
      this.kind = img ? 'img' : 'main';
    }
    this.canvas = canvas;
    if (this.#early) this.put(this.#early);
    this.#early = null;
  }

  // put takes { number, buffer, start } and the buffer with it.
  put(picture) {
    if (this.#worker) this.#worker.postMessage({ picture }, [picture.buffer]);
    else if (this.#screen) this.#screen.put(picture);
    else this.#early = picture;
  }

  drop() {
    this.#early = null;
    this.#worker?.postMessage({ drop: true });
    this.#screen?.drop();
  }

  label(text) {
    this.canvas?.setAttribute('aria-label', text);
  }

  // jpeg resolves to { number, blob } of the picture that is shown, or null.
  async jpeg() {
    await this.ready;
    return this.#worker ? this.#ask('jpeg') : this.#screen.jpeg();
  }

  // pixels resolves to { number, image: ImageData } of the picture that is shown, or null.
  async pixels() {
    await this.ready;
    const copy = await (this.#worker ? this.#ask('bitmap') : this.#screen.bitmap());
    if (!copy) return null;
    const canvas = document.createElement('canvas');
    canvas.width = copy.bitmap.width;
    canvas.height = copy.bitmap.height;
    const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
    context.drawImage(copy.bitmap, 0, 0);
    copy.bitmap.close();
    return { number: copy.number, image: context.getImageData(0, 0, canvas.width, canvas.height) };
  }

  #ask(what) {
    const id = ++this.#asks;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#worker.postMessage({ ask: what, id });
    });
  }

  #hear(data) {
    if (data.report) {
      this.onpaint(data.report);
      return;
    }
    const asked = this.#asked.get(data.id);
    this.#asked.delete(data.id);
    if (data.error) asked?.reject(new Error(data.error));
    else asked?.resolve(data.answer);
  }
}
