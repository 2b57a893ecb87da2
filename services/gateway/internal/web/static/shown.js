// What was on the screen in the last seconds, so that a click can tell which frame somebody saw.

import { FLAG_SAMPLED } from './envelope.js';

const KEPT_MS = 3000;
const KEPT = 1024; // the oldest go first
// A traced frame that was painted at most so long before the one that was clicked is the next best.
const NEAR_MS = 2000;

export const isTraced = (frame) => Boolean(frame.flags & FLAG_SAMPLED && frame.traceId);

export class Shown {
  #frames = []; // painted, the newest last

  add(frame) {
    const list = this.#frames;
    list.push(frame);
    while (list.length > KEPT || list[0].paintedMs < frame.paintedMs - KEPT_MS) list.shift();
  }

  forget() {
    this.#frames = [];
  }

  // at is the frame that was on the screen at a moment, null where there was none yet.
  at(ms) {
    return this.#frames.findLast((f) => f.paintedMs <= ms) ?? this.#frames[0] ?? null;
  }

  // traced is a frame itself where it is traced, else the newest before it that is, null where none is near.
  traced(frame) {
    const near = (f) => f.paintedMs <= frame.paintedMs && f.paintedMs >= frame.paintedMs - NEAR_MS;
    return this.#frames.findLast((f) => near(f) && isTraced(f)) ?? null;
  }
}
