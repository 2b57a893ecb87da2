// Pictures that lay in a network that was dead: they come later by a second than any did lately, others follow, and none
// of them is shown. The client library goes by the same rule.

const TOO_OLD_US = 1e6;
const OVER_US = 10e6; // of the stream's own time, so that an outage, however long, does not make it forget

export class Delay {
  #epoch = null;
  #fromUs = 0;
  #now = 0; // the least since then, and the least before
  #then = 0;

  // stale tells whether a frame that arrived at that time lay somewhere. The clocks' offset does not matter.
  stale(frame, arrivedMs) {
    const delayUs = 1000 * arrivedMs - frame.capturedUs;
    if (frame.epoch !== this.#epoch) {
      this.#epoch = frame.epoch;
      this.#fromUs = frame.capturedUs;
      this.#now = this.#then = delayUs;
    } else if (frame.capturedUs - this.#fromUs > OVER_US) {
      this.#fromUs = frame.capturedUs;
      this.#then = this.#now;
      this.#now = delayUs;
    } else {
      this.#now = Math.min(this.#now, delayUs);
    }
    return delayUs > Math.min(this.#now, this.#then) + TOO_OLD_US;
  }
}
