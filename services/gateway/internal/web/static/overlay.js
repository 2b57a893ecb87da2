// The overlay's numbers.

import { shortMs } from './hops.js';
import { RULE } from './stats.js';

const WORDS = { good: 'Good', fair: 'Fair', poor: 'Poor', connecting: 'Connecting', none: 'No picture' };

export class Overlay {
  #fields = {};
  #pill;

  constructor(host, pill) {
    for (const element of host.querySelectorAll('[data-field]')) this.#fields[element.dataset.field] = element;
    this.#pill = pill;
  }

  draw(s) {
    const set = (field, text) => {
      const element = this.#fields[field];
      if (element && element.textContent !== text) element.textContent = text;
    };
    set('fps', s.fps.toFixed(1));
    const aged = s.ageMs !== null && s.silenceMs <= RULE.silenceMs; // a picture that stands grows older all the time
    set('age', aged ? shortMs(s.ageMs) : '–');
    set('uncertainty', aged ? `± ${shortMs(s.uncertaintyMs)}` : '');
    set('mbps', s.mbps.toFixed(2));
    set('size', s.width ? `${s.width}×${s.height}` : '–');
    set('quality', s.quality ? `Q${s.quality}` : '–');
    set('drops', String(s.drops));
    this.#fields.drops.title =
      `${s.skippedFrames} never came, ${s.superseded} overtaken here before they were drawn, ${s.failed} not decodable`;
    set('reconnects', String(s.reconnects));
    set('rtt', s.rttMs === null ? '–' : shortMs(s.rttMs));
    // The first picture may be a moment behind the connection.
    const waits = !s.open || s.silenceMs <= RULE.silenceMs;
    const judged = s.connection === 'none' && waits ? 'connecting' : s.connection;
    if (this.#pill.dataset.quality !== judged) {
      this.#pill.dataset.quality = judged;
      this.#pill.querySelector('.pill-text').textContent = WORDS[judged];
      this.#pill.setAttribute('aria-label', `Connection quality: ${WORDS[judged].toLowerCase()}`);
    }
  }
}
