// The connection that publishes: one JPEG a message over /publish, dialled again for as long as it is wanted. It keeps
// no picture: what cannot be sent now is not sent.

import { nowMs } from './clock.js';
import { backoff } from './connection.js';
import { closeWords, refusal, sentence } from './refusal.js';

const PROTOCOL = 'framebus.v1';
const SILENCE_MS = 6000; // stats come once a second, so this is a dead connection
const HIDDEN_SILENCE_MS = 30000; // a page behind others may be slow to hear them
// What trying again does not change, as long as the name was never ours: no name, no token, not allowed, in use.
const FINAL = new Set([400, 401, 403, 409]);

export class Publisher {
  // onstate gets { phase: 'connecting' | 'open' | 'waiting' | 'refused' | 'off', why }. onstats gets the gateway's
  // figures, onnotice its words.
  onstate = () => {};
  onstats = () => {};
  onnotice = () => {};

  phase = 'off';
  sent = 0;
  held = 0; // pictures that were not sent because others were still on their way
  reconnects = 0;
  #socket = null;
  #stream = '';
  #token = '';
  #attempt = 0;
  #opened = false; // whether the name was ours since open was called
  #retry = 0;
  #heardMs = 0;
  #lastBytes = 0;

  constructor() {
    setInterval(() => this.#check(), 500);
    addEventListener('online', () => this.#retry && this.#dial());
    addEventListener('pagehide', () => this.close());
  }

  open(stream, token = '') {
    this.close();
    [this.#stream, this.#token] = [stream, token];
    [this.#attempt, this.#opened, this.sent, this.held, this.reconnects] = [0, false, 0, 0, 0];
    this.#dial();
  }

  close() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#abandon();
    this.#say('off');
  }

  // ready tells whether a picture would go out now. While more than one is unsent none is: the newest then goes later.
  ready() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return false;
    if (socket.bufferedAmount <= this.#lastBytes) return true;
    this.held++;
    return false;
  }

  send(buffer) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(buffer);
    this.#lastBytes = buffer.byteLength;
    this.sent++;
  }

  #url() {
    const url = new URL('publish', document.baseURI);
    url.searchParams.set('stream', this.#stream);
    return url;
  }

  #say(phase, why = '') {
    this.phase = phase;
    this.onstate({ phase, why });
  }

  #dial() {
    this.#abandon();
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#attempt++;
    this.#say('connecting');
    const url = this.#url();
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    if (this.#token) url.searchParams.set('token', this.#token); // a page cannot set a handshake's headers
    const socket = new WebSocket(url, PROTOCOL);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#heardMs = nowMs();
    let opened = false;
    socket.onopen = () => {
      opened = true;
      if (this.#opened) this.reconnects++;
      this.#opened = true;
      this.#lastBytes = 0;
      this.#heardMs = nowMs();
      this.#say('open');
    };
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      if (opened) this.#again(closeWords(event));
      else void this.#unopened();
    };
  }

  #hear(data) {
    this.#heardMs = nowMs();
    this.#attempt = 0;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.stats) this.onstats(message.stats);
    else if (message.notice) this.onnotice(message.notice);
  }

  // unopened finds out why a handshake failed, and whether trying again may help.
  async #unopened() {
    const attempt = this.#attempt;
    const { status, words } = await refusal(this.#url(), this.#token ? { authorization: `Bearer ${this.#token}` } : {});
    if (this.phase !== 'connecting' || attempt !== this.#attempt || this.#socket) return; // closed or opened meanwhile
    if (FINAL.has(status) && !this.#opened) this.#say('refused', words);
    else this.#again(words || (status ? 'The connection was refused' : 'The gateway cannot be reached'));
  }

  #again(why) {
    this.#retry = setTimeout(() => this.#dial(), backoff(Math.max(1, this.#attempt)));
    this.#say('waiting', sentence(why));
  }

  // abandon forgets a socket without waiting for its closing handshake, which a dead peer never ends.
  #abandon() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #check() {
    const limit = document.hidden ? HIDDEN_SILENCE_MS : SILENCE_MS;
    if (!this.#socket || nowMs() - this.#heardMs < limit) return;
    this.#abandon();
    this.#again('The gateway does not answer');
  }
}
