// What the page counts and how it judges the connection. Rates are over the last two seconds, ages the median of the
// last second.

import { Delay } from './delay.js';
import { timeline } from './hops.js';
import { Shown } from './shown.js';

const WINDOW_MS = 2000;
const AGE_WINDOW_MS = 1000;
const JUDGED_MS = 4000;
const MEMORY = 1024; // newest events kept: four seconds at 250 a second

// The rule of the connection's quality (docs/clients.md; the page's help tells it too):
//   good  ≥ 95 % of the source's frames shown, at an age of at most 200 ms, connected for 4 s without a break
//   fair  ≥ 70 % shown, at most 600 ms; or a lower rung than the window has room for
//   poor  anything less, or no picture for 2 s, or not connected
// over the last 4 s. The age is taken at its best, less its uncertainty: a clock that is not known is nobody's network.
export const RULE = {
  good: { share: 0.95, ageMs: 200 },
  fair: { share: 0.7, ageMs: 600 },
  silenceMs: 2000,
};

export function connectionQuality({ open, sinceOpenMs, silenceMs, share, ageMs, small }) {
  if (!open || silenceMs > RULE.silenceMs) return 'poor';
  const meets = (rule) => share >= rule.share && (ageMs === null || ageMs <= rule.ageMs);
  if (meets(RULE.good) && sinceOpenMs >= JUDGED_MS && !small) return 'good';
  return meets(RULE.fair) ? 'fair' : 'poor';
}

export class Stats {
  #received = []; // { ms, bytes }
  #painted = []; // { ms, gap, ageMs, uncertaintyMs }
  #given = new Map(); // number → frame, between the socket and the canvas; at most what MEMORY allows
  #numbers = 0;
  #base = { painted: 0, superseded: 0, failed: 0 };
  #last = null; // the newest frame received of this connection
  #delay = new Delay();
  #since = 0;
  totals = { received: 0, painted: 0, skipped: 0, superseded: 0, failed: 0, late: 0, malformed: 0 };
  newest = null; // the newest frame painted, with its timeline
  shown = new Shown(); // and those before it
  server = null; // the newest `stats` of the gateway
  peers = { origin: null, encoder: null, gateway: '' }; // the clocks of others against the gateway's, and its name

  // restart begins a connection: what was missed without one is no drop of a connection.
  restart(ms) {
    this.#received = [];
    this.#painted = [];
    this.#given.clear();
    this.#last = null;
    this.#since = ms;
    this.server = null;
  }

  // forget is for another stream.
  forget() {
    this.newest = null;
    this.shown.forget();
    this.peers = { ...this.peers, origin: null, encoder: null };
  }

  // resume is a restart of the counting by sequence: the tab was hidden.
  resume(ms) {
    this.#given.clear();
    this.#last = null;
    this.#since = ms;
  }

  // take counts a frame that came and gives it a number for the painter, 0 where it is late: not to be shown.
  take(frame, ms, messageBytes) {
    keep(this.#received, { ms, bytes: messageBytes });
    this.totals.received++;
    const last = this.#last;
    if (last && last.epoch === frame.epoch && frame.sequence <= last.sequence) {
      this.totals.late++;
      return 0;
    }
    frame.stale = this.#delay.stale(frame, ms);
    frame.gap = last && last.epoch === frame.epoch ? frame.sequence - last.sequence - 1 : 0;
    this.totals.skipped += frame.gap;
    this.#last = frame;
    frame.arrivedMs = ms;
    this.#given.set(++this.#numbers, frame);
    if (this.#given.size > MEMORY) this.#given.delete(this.#given.keys().next().value);
    return this.#numbers;
  }

  // paint takes the painter's report and returns the frame that is on the canvas now, null where it is not of this
  // connection.
  paint(report, clock) {
    const before = this.#base;
    this.#base = { painted: report.painted, superseded: report.superseded, failed: report.failed };
    for (const key of Object.keys(before)) this.totals[key] += this.#base[key] - before[key];
    if (report.number === null) return null;
    const frame = this.#given.get(report.number);
    let gap = 0;
    for (const [number, given] of this.#given) {
      if (number > report.number) break;
      gap += given.gap + (number === report.number ? 0 : 1);
      this.#given.delete(number);
    }
    if (!frame) return null;
    frame.paintedMs = report.paintedMs;
    frame.line = timeline(frame, clock, this.peers);
    const { ageMs, ageUncertaintyMs: uncertaintyMs } = frame.line;
    keep(this.#painted, { ms: report.paintedMs, gap, ageMs, uncertaintyMs });
    this.newest = frame;
    this.shown.add(frame);
    return frame;
  }

  // hear takes the gateway's `stats`.
  hear(server) {
    this.server = server;
    if (server.origin) this.peers.origin = server.origin;
    if (server.encoder) this.peers.encoder = server.encoder;
  }

  // now is what the overlay shows.
  now(ms, { open, room }) {
    const rateMs = Math.max(500, Math.min(WINDOW_MS, ms - this.#since));
    const from = (list, span) => list.filter((x) => x.ms > ms - span);
    const painted = from(this.#painted, rateMs);
    const bytes = from(this.#received, rateMs).reduce((sum, x) => sum + x.bytes, 0);
    const aged = from(this.#painted, AGE_WINDOW_MS).filter((x) => x.ageMs !== null);
    const aging = aged.length ? aged : this.#painted.slice(-1).filter((x) => x.ageMs !== null);
    const ageMs = median(aging.map((x) => x.ageMs));
    const uncertaintyMs = median(aging.map((x) => x.uncertaintyMs));
    const judged = from(this.#painted, JUDGED_MS);
    const missed = judged.reduce((sum, x) => sum + x.gap, 0);
    const { newest, totals } = this;
    const silenceMs = ms - Math.max(this.#painted.at(-1)?.ms ?? 0, this.#since);
    return {
      fps: rate(painted, rateMs, ms),
      mbps: (8 * bytes) / rateMs / 1000,
      ageMs: ageMs === null ? null : Math.max(0, ageMs), // nothing is painted before it was captured
      uncertaintyMs,
      width: newest?.width ?? 0,
      height: newest?.height ?? 0,
      quality: newest?.quality ?? 0,
      rung: newest?.rung ?? 0,
      young: ms - this.#since < WINDOW_MS, // rates are not steady yet
      drops: totals.skipped + totals.superseded + totals.failed,
      silenceMs,
      // Before a stream's first picture there is nothing to judge.
      connection: !newest ? 'none' : connectionQuality({
        open,
        sinceOpenMs: ms - this.#since,
        silenceMs,
        share: judged.length ? judged.length / (judged.length + missed) : 0,
        ageMs: ageMs === null ? null : ageMs - uncertaintyMs,
        small: Boolean(newest?.rung) && newest.width < 0.9 * room,
      }),
    };
  }
}

// rate counts intervals rather than events, so that a steady stream reads the same whenever it is looked at.
function rate(events, spanMs, ms) {
  if (events.length < 2) return (1000 * events.length) / spanMs;
  const covered = events.at(-1).ms - events[0].ms;
  const steady = covered / (events.length - 1);
  // Since the last event longer than usual: the stream slows down or stands.
  const idle = ms - events.at(-1).ms;
  if (idle > 2 * steady + 100) return (1000 * events.length) / (ms - events[0].ms);
  return 1000 / steady;
}

function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function keep(list, event) {
  list.push(event);
  if (list.length > MEMORY) list.splice(0, MEMORY / 2);
}
