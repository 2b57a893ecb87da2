// The hops of a frame, from the source to the screen: capture → bus → encode → bus → gateway → network → paint.

export const HOPS = [
  { name: 'capture', title: 'Capture: from the source handing the frame over until it was published' },
  { name: 'bus', title: 'Bus: from the capture service to an encoder' },
  { name: 'encode', title: 'Encode: waiting for a worker and making the JPEG' },
  { name: 'bus', title: 'Bus: from the encoder to the gateway' },
  { name: 'gateway', title: 'Gateway: until the frame was handed to its viewers' },
  { name: 'network', title: 'Network: until this page had the whole picture, waiting for credit included' },
  { name: 'paint', title: 'Paint: decoding and drawing here' },
];

// timeline gives { ms: [7 durations, null where not known], ageMs, uncertaintyMs }. Every station's time is brought to
// the gateway's clock: the origin's and the encoder's by the corrections in `stats`, ours by the clock's best sample.
export function timeline(frame, clock, origin, encoder) {
  const o = correction(origin);
  const e = correction(encoder);
  const own = clock ?? { offsetUs: 0, uncertaintyUs: Infinity };
  const at = (us, by) => (us === null ? null : us + by);
  const { hops } = frame;
  const stations = [
    o.us,
    at(hops.published, o.us),
    at(hops.taken, e.us),
    at(hops.encoded, e.us),
    at(hops.received, 0),
    at(hops.handed, 0),
    clock ? 1000 * frame.arrivedMs + own.offsetUs - frame.capturedUs : null,
    clock ? 1000 * frame.paintedMs + own.offsetUs - frame.capturedUs : null,
  ];
  const ms = HOPS.map((_, i) => {
    const [from, to] = [stations[i], stations[i + 1]];
    return from === null || to === null ? null : (to - from) / 1000;
  });
  const painted = stations[7];
  return {
    ms,
    ageMs: painted === null ? null : (painted - o.us) / 1000,
    uncertaintyMs: painted === null ? null : (own.uncertaintyUs + o.uncertaintyUs) / 1000,
  };
}

function correction(offset) {
  return { us: Number(offset?.offsetUs ?? 0), uncertaintyUs: Number(offset?.uncertaintyUs ?? 0) };
}

// HopsBar draws a timeline as one bar, each hop as wide as its share, with its milliseconds beneath.
export class HopsBar {
  #parts = [];
  #bar;
  #total;

  constructor(host) {
    this.#bar = host.querySelector('.hops-bar');
    this.#total = host.querySelector('.hops-total');
    const legend = host.querySelector('.hops-legend');
    HOPS.forEach(({ name, title }, i) => {
      const part = document.createElement('span');
      part.className = `hop hop-${i}`;
      part.hidden = true;
      part.title = title;
      this.#bar.append(part);
      const item = document.createElement('li');
      item.className = `hop-${i}`;
      item.title = title;
      const label = document.createElement('span');
      label.textContent = name;
      const value = document.createElement('b');
      value.textContent = '–';
      item.append(label, value);
      legend.append(item);
      this.#parts.push({ part, value });
    });
  }

  draw(line) {
    this.#parts.forEach(({ part, value }, i) => {
      const ms = line?.ms[i] ?? null;
      part.hidden = ms === null;
      // Less than nothing is the clocks' uncertainty: the true time is nearer to nothing.
      part.style.flexGrow = String(Math.max(0, ms ?? 0));
      value.textContent = ms === null ? '–' : shortMs(Math.max(0, ms));
    });
    const age = line?.ageMs ?? null;
    this.#total.textContent = age === null ? '' : `${shortMs(Math.max(0, age))} ms from source to screen`;
    const words = HOPS.map(({ name }, i) => {
      const ms = line?.ms[i] ?? null;
      return ms === null ? '' : `${name} ${shortMs(Math.max(0, ms))} ms`;
    });
    this.#bar.setAttribute('aria-label', `Newest frame: ${words.filter(Boolean).join(', ') || 'none yet'}`);
  }
}

// shortMs keeps a tenth while it says something.
export function shortMs(ms) {
  return Math.abs(ms) < 9.95 ? ms.toFixed(1) : ms.toFixed(0);
}
