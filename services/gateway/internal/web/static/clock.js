// The viewer's clock against the gateway's, from NTP's four timestamps.

const origin = performance.timeOrigin || Date.now() - performance.now();

// nowMs is this thread's clock: ms since 1970, monotonic. Page and worker share its base.
export const nowMs = () => origin + performance.now();
export const nowUs = () => Math.round(1000 * nowMs());
// eventMs is when an event happened, which may be some time before it is heard.
export const eventMs = (event) => origin + event.timeStamp;

const KEPT = 16;
// What two quartz clocks drift apart at worst, µs a second: it makes an old sample slowly worth less than a new one.
const DRIFT = 50;

// ClockSync keeps the newest samples and believes the one with the least round trip: its offset is wrong by half of
// that at most.
export class ClockSync {
  #samples = [];

  reset() {
    this.#samples = [];
  }

  // add takes when the question left (t1), arrived (t2), the answer left (t3) and arrived (t4), in µs.
  add(t1, t2, t3, t4) {
    const rtt = t4 - t1 - (t3 - t2);
    if (!(rtt >= 0) || !(t3 >= t2)) return;
    this.#samples.push({ at: t4, rtt, offset: (t2 - t1 + (t3 - t4)) / 2 });
    if (this.#samples.length > KEPT) this.#samples.shift();
  }

  // best is null before the first answer. Adding offsetUs to a time of this clock makes it the gateway's.
  best(now) {
    let best = null;
    for (const s of this.#samples) {
      const uncertaintyUs = s.rtt / 2 + (DRIFT * Math.max(0, now - s.at)) / 1e6;
      if (!best || uncertaintyUs < best.uncertaintyUs) best = { offsetUs: s.offset, uncertaintyUs };
    }
    return best;
  }

  // rttUs is the median round trip of the newest five.
  rttUs() {
    const newest = this.#samples.slice(-5).map((s) => s.rtt).sort((a, b) => a - b);
    return newest.length ? newest[newest.length >> 1] : null;
  }
}
