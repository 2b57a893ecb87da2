// Recording what comes, as it comes, into a file: every picture of the connection, whether it was drawn or not.

import { nowMs } from './clock.js';
import { Matroska } from './matroska.js';

const MOST_BYTES = 2 ** 30; // what a page may hold; then the file is saved and the recording ends

export class Recorder {
  // onend takes { file, name, frames } of a recording that ended by itself or was stopped.
  onend = () => {};
  #button;
  #badge;
  #film = null;
  #stream = '';

  constructor(button, badge) {
    this.#button = button;
    this.#badge = badge;
    addEventListener('beforeunload', (event) => {
      if (this.#film?.frames) event.preventDefault(); // the browser asks whether to lose it
    });
    this.#show();
  }

  get isOn() {
    return this.#film !== null;
  }

  start(stream) {
    this.#film = new Matroska();
    this.#stream = stream;
    this.#show();
  }

  stop() {
    const film = this.#film;
    if (!film) return;
    this.#film = null;
    this.#show();
    const frames = film.frames;
    const name = `${this.#stream || 'framebus'}-${new Date(nowMs()).toISOString().replace(/:/g, '-')}.mkv`;
    this.onend({ file: frames ? film.file(this.#stream) : null, name, frames });
  }

  // take copies a picture out of its message, before the painter takes that away.
  take(frame, buffer) {
    if (!this.#film) return;
    this.#film.add(new Uint8Array(buffer.slice(frame.start)), frame.capturedUs, frame.width, frame.height);
    if (this.#film.bytes > MOST_BYTES) this.stop();
  }

  // draw tells how long and how large it is by now.
  draw() {
    if (!this.#film) return;
    const seconds = Math.floor(this.#film.durationMs / 1000);
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    const text = `${time} · ${(this.#film.bytes / 1e6).toFixed(1)} MB`;
    if (this.#badge.textContent !== text) this.#badge.textContent = text;
  }

  #show() {
    this.#badge.hidden = !this.isOn;
    this.#button.setAttribute('aria-pressed', String(this.isOn));
    this.#button.title = this.isOn ? 'Stop recording (r)' : 'Record (r)';
    this.draw();
  }
}
