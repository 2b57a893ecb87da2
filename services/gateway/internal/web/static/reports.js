// What the page tells the gateway of the frames that it painted: four times a second, and at once of each one whose trace
// waits for it or that the gateway asks for.

import { nowMs, nowUs } from './clock.js';
import { isTraced } from './shown.js';

// The gateway closes a connection that sends it more than 50 messages a second for long.
const RATE = 40;
const BURST = 20;
const PASSED_MS = 250;

export class Reports {
  every = false; // a `notice` asked to be told of every frame
  #connection;
  #stats;
  #told = { painted: 0, dropped: 0, epoch: 0, sequence: 0 };
  #left = BURST;
  #atMs = 0;
  #passedMs = 0;

  constructor(connection, stats) {
    this.#connection = connection;
    this.#stats = stats;
  }

  // restart begins a connection: what was painted before is no news to it.
  restart() {
    this.every = false;
    const { newest } = this.#stats;
    if (newest) [this.#told.epoch, this.#told.sequence] = [newest.epoch, newest.sequence];
  }

  // painted is told of each frame that is on the canvas now.
  painted(frame) {
    if (!this.every && !isTraced(frame)) return;
    const now = nowMs();
    this.#left = Math.min(BURST, this.#left + (RATE * (now - this.#atMs)) / 1000);
    this.#atMs = now;
    if (this.#left < 1) return;
    this.#left--;
    this.tell();
  }

  // passed is told of each frame that is too old to be painted: the gateway need not wait for it.
  passed(frame) {
    const now = nowMs();
    if (!this.every && now - this.#passedMs < PASSED_MS) return;
    this.#passedMs = now;
    const { channel, epoch, sequence } = frame;
    const painted = { channel, epoch: String(epoch), sequence: String(sequence), decoded: 0, dropped: 1 };
    this.#connection.send({ painted });
  }

  // tell tells of the newest frame, once.
  tell() {
    const { newest: frame, totals } = this.#stats;
    if (!frame || document.hidden) return;
    if (frame.epoch === this.#told.epoch && frame.sequence === this.#told.sequence) return;
    const dropped = totals.superseded + totals.failed;
    const clock = this.#connection.clock.best(nowUs());
    const painted = {
      channel: frame.channel,
      epoch: String(frame.epoch),
      sequence: String(frame.sequence),
      paintedUs: String(Math.round(1000 * frame.paintedMs + (clock?.offsetUs ?? 0))),
      decoded: totals.painted - this.#told.painted,
      dropped: dropped - this.#told.dropped,
    };
    if (!this.#connection.send({ painted })) return;
    this.#told = { painted: totals.painted, dropped, epoch: frame.epoch, sequence: frame.sequence };
  }
}
