// The last minute in four small plots, one sample a second. What is not known is a gap.

const SECONDS = 60;
const NARROW = '(max-width: 640px), (max-height: 520px)'; // a phone, either way up

const PLOTS = [
  { name: 'age', least: 20, of: (s) => s.ageMs, digits: 0 },
  { name: 'mbps', least: 1, of: (s) => (s.young ? null : s.mbps), digits: 1 },
  { name: 'fps', least: 10, of: (s) => (s.young ? null : s.fps), digits: 0 },
  { name: 'quality', least: 100, of: (s) => s.quality || null, digits: 0 },
];

// History keeps the last minute's samples of one number, the newest last, NaN where none is known.
export class History {
  values = new Float32Array(SECONDS).fill(NaN);

  // add takes the sample of a moment that is so many seconds after the last one. A single second that was missed, on a
  // busy machine, is bridged; a longer time is a gap: nobody looked.
  add(value, seconds) {
    const steps = Math.min(seconds, SECONDS);
    this.values.copyWithin(0, steps);
    this.values.fill(steps > 2 ? NaN : value, SECONDS - steps);
    this.values[SECONDS - 1] = value;
  }

  // range is [least, most], null while nothing is known.
  range() {
    let [least, most] = [Infinity, -Infinity];
    for (const v of this.values) {
      if (v < least) least = v;
      if (v > most) most = v;
    }
    return least > most ? null : [least, most];
  }
}

export class Plots {
  #host;
  #head;
  #body;
  #plots;
  #second = 0;

  constructor(host) {
    this.#host = host;
    this.#head = host.querySelector('.plots-head');
    this.#body = host.querySelector('.plots-body');
    this.#plots = PLOTS.map((plot) => {
      const figure = host.querySelector(`[data-plot="${plot.name}"]`);
      const canvas = figure.querySelector('canvas');
      return {
        ...plot,
        history: new History(),
        canvas,
        pen: canvas.getContext('2d'),
        colour: getComputedStyle(figure).color,
        range: figure.querySelector('.range'),
      };
    });
    this.#show(wanted());
  }

  toggle() {
    this.#show(this.#body.hidden);
    try {
      localStorage.setItem('framebus.plots', this.#body.hidden ? 'off' : 'on');
    } catch {
      // Private windows may forbid it; the choice then lasts as long as the page.
    }
  }

  #show(on) {
    this.#body.hidden = !on;
    this.#head.setAttribute('aria-expanded', String(on));
    this.#draw();
  }

  // sample may be called as often as one likes: it takes one a second. stands: the numbers are of an old picture.
  sample(ms, numbers, stands) {
    const second = Math.floor(ms / 1000);
    const seconds = this.#second ? second - this.#second : 1;
    if (seconds <= 0) return;
    this.#second = second;
    for (const { of, name, history } of this.#plots) {
      const old = stands && (name === 'age' || name === 'quality');
      history.add(old ? NaN : (of(numbers) ?? NaN), seconds);
    }
    this.#draw();
  }

  // forget is for another stream.
  forget() {
    for (const { history } of this.#plots) history.values.fill(NaN);
    this.#draw();
  }

  #draw() {
    if (this.#body.hidden || !this.#host.offsetParent) return; // hidden, by itself or with the numbers
    // Measured first, drawn after: a layout once a second, not four.
    const boxes = this.#plots.map(({ canvas }) => [canvas.clientWidth, canvas.clientHeight]);
    this.#plots.forEach((plot, i) => draw(plot, boxes[i]));
  }
}

function wanted() {
  try {
    const kept = localStorage.getItem('framebus.plots');
    if (kept) return kept === 'on';
  } catch {
    // As if nothing was kept.
  }
  return !matchMedia(NARROW).matches;
}

function draw({ canvas, pen, history, least, digits, colour, range }, [width, height]) {
  const dots = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * dots), Math.round(height * dots)];
  if (!w || !h) return;
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const known = history.range();
  const words = known ? known.map((v) => v.toFixed(digits)) : [];
  const text = words[0] === words[1] ? (words[0] ?? '–') : words.join('–');
  if (range.textContent !== text) range.textContent = text;
  pen.clearRect(0, 0, w, h);
  if (!known) return;
  const top = Math.max(least, known[1] * 1.05);
  const line = 1.5 * dots;
  const x = (i) => (w * i) / (SECONDS - 1);
  const y = (v) => h - line - ((h - 2 * line) * Math.max(0, v)) / top;
  pen.lineWidth = line;
  pen.lineJoin = 'round';
  pen.strokeStyle = pen.fillStyle = colour;
  for (const [from, to] of runs(history.values)) {
    pen.beginPath();
    // A lone sample is as wide as a second.
    pen.moveTo(from === to ? x(from - 1) : x(from), y(history.values[from]));
    for (let i = from; i <= to; i++) pen.lineTo(x(i), y(history.values[i]));
    pen.stroke();
    pen.lineTo(x(to), h);
    pen.lineTo(from === to ? x(from - 1) : x(from), h);
    pen.globalAlpha = 0.14;
    pen.fill();
    pen.globalAlpha = 1;
  }
}

// runs are the [first, last] of what is known without a gap.
export function runs(values) {
  const found = [];
  let from = -1;
  for (let i = 0; i <= values.length; i++) {
    const known = i < values.length && !Number.isNaN(values[i]);
    if (known && from < 0) from = i;
    if (!known && from >= 0) {
      found.push([from, i - 1]);
      from = -1;
    }
  }
  return found;
}
