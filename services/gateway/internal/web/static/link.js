// A WebSocket to the gateway that is dialled again for as long as it is wanted: what a page that watches and one that
// publishes have in common. It hands every message on at once and keeps none.

import { nowMs } from './clock.js';
import { sentence } from './dom.js';
import { closeWords, refusal } from './refusal.js';

const PROTOCOL = 'framebus.v1';
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 1400; // times a jitter of up to 1.25: a gateway that is back shows video within 2 s
const SHUT_OUT_WAIT_MS = 10000; // where the gateway said not to come back
const SILENCE_MS = 6000; // stats come once a second, so this is a dead connection
const CHECK_MS = 250;

// backoff is the wait before the n-th attempt in a row, n from 1.
export function backoff(n, random = Math.random()) {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (n - 1)) * (0.75 + 0.5 * random);
}

export class Link {
  // Replaced by whoever holds it. onstate gets { phase, ... }:
  //   connecting  attempt, from 1
  //   open
  //   waiting     why, status of a refusal, whether that is what the gateway said (refused), untilMs, attempt
  //   refused     why and its status: trying again does not change it
  //   off
  // onmessage gets what a message holds and when it came.
  onstate = () => {};
  onmessage = () => {};

  phase = 'off';
  reconnects = 0;
  #where;
  #token;
  #final;
  #hiddenMs;
  #socket = null;
  #attempt = 0;
  #opened = false; // whether it was ever open since open was called
  #bye = null;
  #no = { status: 0, words: '' }; // the gateway's newest refusal
  #retry = 0;
  #heardMs = 0;

  // where gives the URL over HTTP, token what is to be shown there. A refusal of a status in final ends the attempts,
  // as long as none was ever let in. hiddenMs is how long a page that nobody sees may hear nothing: its timers are slow.
  constructor({ where, token = () => '', final = [], hiddenMs = Infinity }) {
    this.#where = where;
    this.#token = token;
    this.#final = final;
    this.#hiddenMs = hiddenMs;
    setInterval(() => this.#check(), CHECK_MS);
    addEventListener('online', () => this.now());
    addEventListener('offline', () => this.#check());
  }

  // open connects to where there is to connect to now, and leaves what was before.
  open() {
    this.#attempt = 0;
    this.#opened = false;
    this.#no = { status: 0, words: '' };
    this.#dial();
  }

  // close leaves the gateway until open is called again.
  close() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#abandon();
    this.#say({ phase: 'off' });
  }

  // now tries at once where an attempt is being waited for.
  now() {
    if (!this.#socket && this.#retry) this.#dial();
  }

  // woke is for a tab that is shown again: what was silent meanwhile says nothing.
  woke() {
    this.#heardMs = nowMs();
    this.now();
  }

  // bye is the gateway's word for the end that comes: { reason, comeBack }.
  bye(said) {
    this.#bye = said;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  // unsent is how many bytes of what was sent are still here.
  get unsent() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  // send tells whether the connection was open.
  send(data) {
    if (!this.isOpen) return false;
    this.#socket.send(data);
    return true;
  }

  #say(state) {
    this.phase = state.phase;
    this.onstate(state);
  }

  #dial() {
    this.#abandon();
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#bye = null;
    this.#attempt++;
    this.#say({ phase: 'connecting', attempt: this.#attempt });
    const url = this.#where();
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    if (this.#token()) url.searchParams.set('token', this.#token()); // a page cannot set a handshake's headers
    const socket = new WebSocket(url, PROTOCOL);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#heardMs = nowMs();
    let opened = false;
    socket.onopen = () => {
      opened = true;
      if (this.#opened) this.reconnects++;
      this.#opened = true;
      this.#no = { status: 0, words: '' };
      this.#heardMs = nowMs();
      this.#say({ phase: 'open' });
    };
    socket.onmessage = ({ data }) => {
      this.#heardMs = nowMs();
      this.#attempt = 0; // only a gateway that speaks counts as back
      this.onmessage(data, this.#heardMs);
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#closed(opened, opened ? closeWords(event) : '');
    };
  }

  // abandon forgets a socket without waiting for its closing handshake, which a dead peer never ends.
  #abandon() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #closed(opened, why) {
    this.#socket = null;
    const bye = this.#bye;
    const wait = bye && !bye.comeBack ? SHUT_OUT_WAIT_MS : backoff(Math.max(1, this.#attempt));
    const untilMs = nowMs() + wait;
    this.#retry = setTimeout(() => this.#dial(), wait);
    if (bye) why = sentence(bye.reason || 'the gateway said goodbye');
    if (!opened && !bye) {
      // The wait runs while the reason is fetched: it must not delay the next attempt.
      const head = this.#token() ? { authorization: `Bearer ${this.#token()}` } : {};
      refusal(this.#where(), head).then((no) => this.#refused(no, untilMs, this.#attempt));
      // What may be the end is not told as a wait.
      if (!why && this.#final.length && !this.#opened) return;
    }
    // Said once: an answer that repeats itself does not flicker with every attempt.
    const known = !opened && Boolean(this.#no.words);
    this.#wait(known ? this.#no : { status: 0, words: why || 'The gateway cannot be reached' }, known, untilMs);
  }

  #refused(no, untilMs, attempt) {
    if (this.isOpen) return;
    this.#no = no;
    if (this.#socket || !this.#retry || attempt !== this.#attempt) return; // it was tried again meanwhile, or given up
    if (this.#final.includes(no.status) && !this.#opened) {
      clearTimeout(this.#retry);
      this.#retry = 0;
      this.#say({ phase: 'refused', why: no.words, status: no.status });
    } else if (no.words) {
      this.#wait(no, true, untilMs);
    } else if (this.phase !== 'waiting') {
      this.#wait({ status: 0, words: 'The gateway cannot be reached' }, false, untilMs);
    }
  }

  #wait({ status, words }, refused, untilMs) {
    this.#say({ phase: 'waiting', why: words, status, refused, untilMs, attempt: this.#attempt });
  }

  // check gives up a connection that is silent.
  #check() {
    if (!this.#socket || nowMs() - this.#heardMs < (document.hidden ? this.#hiddenMs : SILENCE_MS)) return;
    const opened = this.isOpen;
    this.#abandon();
    this.#closed(opened, opened ? 'The gateway fell silent' : 'The gateway does not answer');
  }
}
