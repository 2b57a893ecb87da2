// The connection of a page that watches: framebus.v1, reconnected for ever, and the gateway's clock over it.

import { ClockSync, nowMs, nowUs } from './clock.js';
import { Link } from './link.js';

const TICK_MS = 100;
const CLOCK_FIRST = 8; // quick questions after the start: a page that loads answers late at first,
const CLOCK_FIRST_MS = 100;
const CLOCK_MS = 2000; // then one every 2 s
const SEND_QUEUE_BYTES = 65536; // above it reports are skipped: they are worth nothing late

export class Connection {
  // Replaced by whoever listens. onstate gets the link's states but `refused`; onpicture a message that is a picture
  // and when it came; onmessage any other but the clock's.
  onstate = () => {};
  onpicture = () => {};
  onmessage = () => {};

  clock = new ClockSync();
  rung = ''; // asked for from the start; '' leaves it to the gateway
  #link = new Link({ where: () => this.#url() });
  #stream = '';
  #clockSent = 0;
  #clockAtMs = 0;

  constructor() {
    this.#link.onstate = (state) => this.#turned(state);
    this.#link.onmessage = (data, ms) => {
      if (data instanceof ArrayBuffer) this.onpicture(data, ms);
      else this.#control(data);
    };
    setInterval(() => this.#tick(), TICK_MS);
  }

  // open connects to a stream, '' for the gateway's default, and leaves the one before.
  open(stream) {
    this.#stream = stream;
    this.#link.open();
  }

  // close leaves the gateway until open is called again.
  close() {
    this.#link.close();
  }

  // now tries at once where an attempt is being waited for.
  now() {
    this.#link.now();
  }

  // woke is for a tab that is shown again.
  woke() {
    this.#link.woke();
  }

  get isOpen() {
    return this.#link.isOpen;
  }

  get reconnects() {
    return this.#link.reconnects;
  }

  // send gives up where the connection is not open or its queue is long; nothing that a viewer says is worth keeping.
  send(message) {
    return this.#link.unsent <= SEND_QUEUE_BYTES && this.#link.send(JSON.stringify(message));
  }

  #url() {
    const url = new URL('ws', document.baseURI);
    if (this.#stream) url.searchParams.set('stream', this.#stream);
    if (this.rung) url.searchParams.set('rung', this.rung);
    return url;
  }

  #turned(state) {
    if (state.phase === 'open') {
      this.clock.reset();
      this.#clockSent = 0;
    }
    this.onstate(state);
    if (state.phase === 'open') this.#askClock();
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
    if (message.bye) this.#link.bye(message.bye);
    this.onmessage(message);
  }

  #tick() {
    const due = this.#clockSent < CLOCK_FIRST ? CLOCK_FIRST_MS : CLOCK_MS;
    if (this.isOpen && nowMs() - this.#clockAtMs >= due) this.#askClock();
  }

  #askClock() {
    this.#clockAtMs = nowMs();
    if (this.send({ clock: { t1Us: String(nowUs()) } })) this.#clockSent++;
  }
}
