// The overlay's numbers.

import { shortMs } from './hops.js';

const WORDS = { good: 'Good', fair: 'Fair', poor: 'Poor' };

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
    set('age', s.ageMs === null ? '–' : shortMs(s.ageMs));
    set('uncertainty', s.ageMs === null ? '' : `± ${shortMs(s.uncertaintyMs)}`);
    set('mbps', s.mbps.toFixed(2));
    set('size', s.width ? `${s.width}×${s.height}` : '–');
    set('quality', s.quality ? `Q${s.quality}` : '–');
    set('drops', String(s.drops));
    this.#fields.drops.title =
      `${s.skippedFrames} never came, ${s.superseded} overtaken here before they were drawn, ${s.failed} not decodable`;
    set('reconnects', String(s.reconnects));
    set('rtt', s.rttMs === null ? '–' : shortMs(s.rttMs));
    const { connection } = s;
    if (this.#pill.dataset.quality !== connection) {
      this.#pill.dataset.quality = connection;
      this.#pill.querySelector('.pill-text').textContent = WORDS[connection];
      this.#pill.setAttribute('aria-label', `Connection quality: ${connection}`);
    }
  }
}
