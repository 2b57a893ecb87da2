// The hops of a frame, from the source to the screen: capture → bus → encode → bus → gateway → network → paint.

import { element } from './dom.js';

// station is the moment that ends a hop. The first five stand in the envelope.
export const HOPS = [
  { name: 'capture', station: 'published', title: 'Capture: from the source handing the frame over until it was published' },
  { name: 'bus', station: 'taken', title: 'Bus: from the capture service to an encoder, waiting for a worker included' },
  { name: 'encode', station: 'encoded', title: 'Encode: making the JPEG' },
  { name: 'bus', station: 'received', title: 'Bus: from the encoder to the gateway' },
  { name: 'gateway', station: 'handed', title: 'Gateway: until the frame was handed to its viewers' },
  { name: 'network', station: 'arrived', title: 'Network: until this page had the whole picture, waiting for credit included' },
  { name: 'paint', station: 'painted', title: 'Paint: decoding and drawing here' },
];

// timeline gives, a hop each: ms, null where not known; us, the same as the envelope has it, null for what is ours; and
// uncertaintyMs, null where both ends are of one clock. ageMs ± ageUncertaintyMs is all of it. Every station's time is
// brought to the gateway's clock, ours by the clock's best sample and the others' by the corrections in `stats`.
export function timeline(frame, clock, peers) {
  const o = correction(peers.origin, peers.gateway);
  const e = correction(peers.encoder, peers.gateway);
  const own = clock ?? { offsetUs: 0, uncertaintyUs: Infinity };
  const at = (us, by) => (us === null ? null : us + by);
  const { hops } = frame;
  const ours = (ms) => (clock ? Math.round(1000 * ms + own.offsetUs - frame.capturedUs) : null);
  const told = [0, hops.published, hops.taken, hops.encoded, hops.received, hops.handed, null, null];
  const stations = [
    o.us,
    at(told[1], o.us),
    at(told[2], e.us),
    at(told[3], e.us),
    told[4],
    told[5],
    ours(frame.arrivedMs),
    ours(frame.paintedMs),
  ];
  const difference = (times) =>
    HOPS.map((_, i) => (times[i] === null || times[i + 1] === null ? null : times[i + 1] - times[i]));
  const painted = stations[7];
  return {
    ms: difference(stations).map((us) => (us === null ? null : us / 1000)),
    us: difference(told),
    at: told.slice(1),
    uncertaintyMs: [
      null,
      o.apart || e.apart ? Math.max(0, e.uncertaintyUs - o.uncertaintyUs) / 1000 : null, // the encoder's includes the origin's
      null,
      e.apart ? e.uncertaintyUs / 1000 : null,
      null,
      clock && !sameHost ? own.uncertaintyUs / 1000 : null,
      null,
    ],
    ageMs: painted === null ? null : (painted - o.us) / 1000,
    ageUncertaintyMs: painted === null ? null : (own.uncertaintyUs + o.uncertaintyUs) / 1000,
  };
}

const sameHost = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);

// correction is what is to be added to a peer's times. One that is not greater than its own uncertainty says nothing:
// then the envelope's times stand as they are. apart: the peer's clock is another than the gateway's.
function correction(offset, gateway) {
  const uncertaintyUs = Number(offset?.uncertaintyUs ?? 0);
  const us = Number(offset?.offsetUs ?? 0);
  const tells = Math.abs(us) > uncertaintyUs;
  return { us: tells ? us : 0, uncertaintyUs, apart: tells || !sharesHost(offset?.instance, gateway) };
}

// sharesHost goes by the instances' names: the host's, and 8 hex digits of the run. Who is not known is taken for near.
function sharesHost(one, other) {
  const host = (instance) => instance.replace(/-[0-9a-f]{8}$/, '');
  return !one || !other || host(one) === host(other);
}

// HopsBar draws a frame's timeline as one bar, each hop as wide as its share, with its milliseconds beneath. What the
// envelope says stands in data attributes, in microseconds.
export class HopsBar {
  #host;
  #what;
  #parts = [];
  #bar;
  #total;

  frame = null; // the one that is drawn

  // what is what the frame is called; open, where it is given, is called when the bar is chosen.
  constructor(host, what, open) {
    this.#host = host;
    this.#what = what;
    const head = element('p', 'hops-head');
    this.#total = element('span', 'hops-total');
    head.append(element('span', '', what), this.#total);
    this.#bar = element('div', 'hops-bar');
    this.#bar.setAttribute('role', open ? 'button' : 'img');
    if (open) this.#opens(open);
    const legend = element('ol', 'hops-legend');
    HOPS.forEach(({ name, station, title }, i) => {
      const part = element('span', `hop hop-${i}`);
      part.hidden = true;
      part.title = title;
      this.#bar.append(part);
      const item = element('li', `hop-${i}`);
      item.dataset.station = station;
      item.title = title;
      const value = element('b', '', '–');
      const uncertainty = element('small');
      const time = element('span', 'hop-time');
      time.append(value, uncertainty);
      item.append(element('span', 'hop-name', name), time);
      legend.append(item);
      this.#parts.push({ part, item, value, uncertainty });
    });
    host.replaceChildren(head, this.#bar, legend);
    this.draw(null);
  }

  #opens(open) {
    this.#host.addEventListener('click', open);
    this.#host.title = 'Open this frame’s trace';
    this.#bar.tabIndex = 0;
    this.#bar.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      open(event);
    });
  }

  // draw takes a frame that was painted, null where there is none.
  draw(frame) {
    this.frame = frame;
    const line = frame?.line ?? null;
    const { dataset } = this.#host;
    [dataset.epoch, dataset.sequence, dataset.trace] = [frame?.epoch ?? '', frame?.sequence ?? '', frame?.traceId ?? ''];
    this.#parts.forEach(({ part, item, value, uncertainty }, i) => {
      const ms = line?.ms[i] ?? null;
      part.hidden = ms === null;
      // Less than nothing is the clocks' uncertainty: the true time is nearer to nothing.
      part.style.flexGrow = String(Math.max(0, ms ?? 0));
      item.dataset.us = line?.us[i] ?? '';
      item.dataset.atUs = line?.at[i] ?? '';
      value.textContent = ms === null ? '–' : shortMs(Math.max(0, ms));
      const wrong = line?.uncertaintyMs[i] ?? null;
      uncertainty.textContent = ms === null || wrong === null ? '' : `±${shortMs(wrong)}`;
    });
    const age = line?.ageMs ?? null;
    this.#total.textContent = age === null ? '' : `${shortMs(Math.max(0, age))} ms from source to screen`;
    const words = HOPS.map(({ name }, i) => {
      const ms = line?.ms[i] ?? null;
      return ms === null ? '' : `${name} ${shortMs(Math.max(0, ms))} ms`;
    });
    this.#bar.setAttribute('aria-label', `${this.#what}: ${words.filter(Boolean).join(', ') || 'none yet'}`);
  }
}

// shortMs keeps a tenth while it says something.
export function shortMs(ms) {
  return Math.abs(ms) < 9.95 ? ms.toFixed(1) : ms.toFixed(0);
}
