// The connection that publishes: one JPEG a message over /publish, dialled again for as long as it is wanted. It keeps
// no picture: what cannot be sent now is not sent.

import { nowMs } from './clock.js';
import { Link } from './link.js';

const HIDDEN_SILENCE_MS = 30000; // a page behind others may be slow to hear the gateway
// What trying again does not change, as long as the name was never ours: no name, no token, not allowed, in use.
const FINAL = [400, 401, 403, 409];
const QUEUE_MS = 150; // how much longer than over a free line a picture may be on its way before none follows
const UNDERWAY = 256; // pictures whose way is watched, at most; only a gateway that never answers lets so many be

export class Publisher {
  // onstate gets the link's states. onstats gets the gateway's figures, onnotice its words.
  onstate = () => {};
  onstats = () => {};
  onnotice = () => {};

  sent = 0;
  held = 0; // pictures that were not sent because others were still on their way
  #stream = '';
  #token = '';
  #link = new Link({
    where: () => this.#url(), token: () => this.#token, final: FINAL, hiddenMs: HIDDEN_SILENCE_MS,
  });
  #lastBytes = 0;
  #underway = []; // when each picture left that the gateway has not read yet, ms, the oldest first
  #leastMs = Infinity; // the least way of a picture and of the answer to it

  constructor() {
    this.#link.onstate = (state) => {
      if (state.phase === 'open') [this.#lastBytes, this.#underway, this.#leastMs] = [0, [], Infinity];
      const ask = state.phase === 'refused' && state.status === 401;
      this.onstate(ask ? { ...state, why: `${state.why}. Enter it under Token` } : state);
    };
    this.#link.onmessage = (data, ms) => this.#hear(data, ms);
    addEventListener('pagehide', () => this.close());
  }

  open(stream, token = '') {
    [this.#stream, this.#token] = [stream, token];
    [this.sent, this.held, this.#link.reconnects] = [0, 0, 0];
    this.#link.open();
  }

  close() {
    this.#link.close();
  }

  get phase() {
    return this.#link.phase;
  }

  get reconnects() {
    return this.#link.reconnects;
  }

  // unsent is how many bytes wait in the page.
  get unsent() {
    return this.#link.unsent;
  }

  // ready tells whether a picture would go out now. While more than one waits in the page none does, nor while the
  // oldest on its way is late: the network's own queues, and the system's, hold seconds of pictures on a slow line.
  ready() {
    if (!this.#link.isOpen) return false;
    const late = this.#underway.length > 1 && nowMs() - this.#underway[0] > this.#leastMs + QUEUE_MS;
    if (this.unsent <= this.#lastBytes && !late) return true;
    this.held++;
    return false;
  }

  send(buffer) {
    const leftMs = nowMs();
    if (!this.#link.send(buffer)) return;
    this.#lastBytes = buffer.byteLength;
    this.sent++;
    // The gateway answers what comes after a picture once it has read that.
    this.#link.send(JSON.stringify({ clock: { t1Us: String(Math.round(1000 * leftMs)) } }));
    if (this.#underway.length < UNDERWAY) this.#underway.push(leftMs);
  }

  #url() {
    const url = new URL('publish', document.baseURI);
    url.searchParams.set('stream', this.#stream);
    return url;
  }

  #hear(data, ms) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.clock) this.#read(Number(message.clock.t1Us) / 1000, ms);
    else if (message.stats) this.onstats(message.stats);
    else if (message.notice) this.onnotice(message.notice);
  }

  // read notes that the gateway has read the picture that left then, and all before it.
  #read(leftMs, ms) {
    this.#leastMs = Math.min(this.#leastMs, ms - leftMs);
    while (this.#underway.length && this.#underway[0] <= leftMs + 0.001) this.#underway.shift();
  }
}
