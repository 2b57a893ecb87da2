// The overlay's numbers.

import { RUNGS } from './envelope.js';
import { shortMs } from './hops.js';

const TREND = 60; // points of the age's curve: 15 s at four a second
const WORDS = { good: 'Good', fair: 'Fair', poor: 'Poor' };

export class Overlay {
  #fields = {};
  #pill;
  #trend;
  #ages = [];

  constructor(host, pill) {
    for (const element of host.querySelectorAll('[data-field]')) this.#fields[element.dataset.field] = element;
    this.#trend = host.querySelector('.trend polyline');
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
    set('rung', s.rung ? RUNGS[s.rung] ?? '' : '');
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
    this.#curve(s.ageMs);
  }

  // curve draws the age over time; its height is the largest of the last 15 s, 20 ms at least.
  #curve(ageMs) {
    this.#ages.push(ageMs);
    if (this.#ages.length > TREND) this.#ages.shift();
    const top = Math.max(20, ...this.#ages.map((a) => a ?? 0)) * 1.1;
    const points = [];
    this.#ages.forEach((age, i) => {
      if (age === null) return;
      const x = (100 * (i + TREND - this.#ages.length)) / (TREND - 1);
      points.push(`${x.toFixed(1)},${(28 - (26 * Math.max(0, age)) / top).toFixed(1)}`);
    });
    this.#trend.setAttribute('points', points.join(' '));
  }
}
