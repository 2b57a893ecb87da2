// The connection to the gateway: framebus.v1 over a WebSocket, reconnected for ever. It hands every message on at once
// and keeps none.

import { ClockSync, nowMs, nowUs } from './clock.js';
import { closeWords, refusal, sentence } from './refusal.js';

const PROTOCOL = 'framebus.v1';
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 1400; // times a jitter of up to 1.25: a gateway that is back shows video within 2 s
const SHUT_OUT_WAIT_MS = 10000; // where the gateway said not to come back
const DIAL_MS = 6000;
const SILENCE_MS = 6000; // stats come once a second, so this is a dead connection
const CLOCK_FIRST = 8; // quick questions after the start: a page that loads answers late at first,
const CLOCK_FIRST_MS = 100;
const CLOCK_MS = 2000; // then one every 2 s
const SEND_QUEUE_BYTES = 65536; // above it reports are skipped: they are worth nothing late

// backoff is the wait before the n-th attempt in a row, n from 1.
export function backoff(n, random = Math.random()) {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (n - 1)) * (0.75 + 0.5 * random);
}

export class Connection {
  // Replaced by whoever listens. onstate gets { phase: 'connecting' | 'open' | 'waiting' | 'off', ... }.
  onstate = () => {};
  onpicture = () => {};
  onmessage = () => {};

  clock = new ClockSync();
  rung = ''; // asked for from the start; '' leaves it to the gateway
  reconnects = 0;
  #socket = null;
  #stream = '';
  #attempt = 0;
  #opened = false; // whether this stream's connection was ever open
  #bye = null;
  #dead = '';
  #why = ''; // the gateway's newest refusal in its own words
  #retry = 0;
  #timer = 0;
  #heardMs = 0;
  #clockSent = 0;
  #clockAtMs = 0;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), 100);
    addEventListener('online', () => this.now());
    addEventListener('offline', () => this.#check());
  }

  // open connects to a stream, '' for the gateway's default, and leaves the one before.
  open(stream) {
    this.#stream = stream;
    this.#attempt = 0;
    this.#opened = false;
    this.#why = '';
    this.#dial();
  }

  // close leaves the gateway until open is called again.
  close() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#abandon();
    this.onstate({ phase: 'off' });
  }

  // now tries at once where an attempt is being waited for.
  now() {
    if (!this.#socket && this.#retry) this.#dial();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  // send gives up where the connection is not open or its queue is long; nothing that a viewer says is worth keeping.
  send(message) {
    if (!this.isOpen || this.#socket.bufferedAmount > SEND_QUEUE_BYTES) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #url() {
    const url = new URL('ws', document.baseURI);
    if (this.#stream) url.searchParams.set('stream', this.#stream);
    if (this.rung) url.searchParams.set('rung', this.rung);
    return url;
  }

  #dial() {
    this.#abandon();
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#bye = null;
    this.#dead = '';
    this.#attempt++;
    this.onstate({ phase: 'connecting', attempt: this.#attempt });
    const url = this.#url();
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url, PROTOCOL);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#heardMs = nowMs();
    let opened = false;
    socket.onopen = () => {
      opened = true;
      if (this.#opened) this.reconnects++;
      this.#opened = true;
      this.#why = '';
      this.#heardMs = nowMs();
      this.clock.reset();
      this.#clockSent = 0;
      this.onstate({ phase: 'open' });
      this.#askClock();
    };
    socket.onmessage = ({ data }) => {
      this.#heardMs = nowMs();
      this.#attempt = 0; // only a gateway that speaks counts as back
      if (data instanceof ArrayBuffer) this.onpicture(data, this.#heardMs);
      else this.#control(data);
    };
    socket.onclose = (event) => this.#closed(socket, opened, event);
  }

  // abandon forgets a socket without waiting for its closing handshake, which a dead peer never ends.
  #abandon() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #control(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message.clock) {
      const { t1Us, t2Us, t3Us } = message.clock;
      this.clock.add(Number(t1Us), Number(t2Us), Number(t3Us), nowUs());
      return;
    }
    if (message.bye) this.#bye = message.bye;
    this.onmessage(message);
  }

  #closed(socket, opened, event) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    let why = this.#dead;
    let wait = backoff(Math.max(1, this.#attempt));
    if (this.#bye) {
      why = sentence(this.#bye.reason || 'the gateway said goodbye');
      if (!this.#bye.comeBack) wait = SHUT_OUT_WAIT_MS;
    } else if (opened) {
      why ||= closeWords(event);
    } else {
      // The wait runs while the reason is fetched: it must not delay the next attempt.
      refusal(this.#url()).then(({ words }) => this.#refused(words, untilMs));
      why ||= 'The gateway cannot be reached';
    }
    const untilMs = nowMs() + wait;
    this.#retry = setTimeout(() => this.#dial(), wait);
    // Said once: an answer that repeats itself does not flicker with every attempt.
    const known = !opened && this.#why;
    this.onstate({ phase: 'waiting', why: known || why, refused: Boolean(known), untilMs, attempt: this.#attempt });
  }

  #refused(why, untilMs) {
    this.#why = why;
    if (!why || this.#socket || !this.#retry) return;
    this.onstate({ phase: 'waiting', why, refused: true, untilMs, attempt: this.#attempt });
  }

  #tick() {
    this.#check();
    const due = this.#clockSent < CLOCK_FIRST ? CLOCK_FIRST_MS : CLOCK_MS;
    if (this.isOpen && nowMs() - this.#clockAtMs >= due) this.#askClock();
  }

  #askClock() {
    this.#clockAtMs = nowMs();
    if (this.send({ clock: { t1Us: String(nowUs()) } })) this.#clockSent++;
  }

  // check gives up a connection that is silent. A hidden tab's timers are slowed down, so it is left alone.
  #check() {
    const socket = this.#socket;
    if (!socket || document.hidden) return;
    const limit = socket.readyState === WebSocket.OPEN ? SILENCE_MS : DIAL_MS;
    if (nowMs() - this.#heardMs < limit) return;
    this.#dead = socket.readyState === WebSocket.OPEN ? 'The gateway fell silent' : 'The gateway does not answer';
    const opened = socket.readyState === WebSocket.OPEN;
    const close = socket.onclose;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
    if (close) this.#closed(socket, opened, {});
  }

  // woke is for a tab that is shown again: what was silent meanwhile says nothing.
  woke() {
    this.#heardMs = nowMs();
    this.now();
  }
}
