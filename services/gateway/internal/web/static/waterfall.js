// The spans of a trace, one a row: indented beneath its parent, its bar where and as long as it was. What a span knows
// is told beneath while it has the pointer or the keyboard.

import { element } from './dom.js';

const SERVICES = ['capture', 'encoder', 'gateway']; // each has its colour; who comes besides shares the last

// inOrder gives [span, depth], children beneath their parent by their start. Whose parent is not there stands for itself.
export function inOrder(spans) {
  const ids = new Set(spans.map((s) => s.span_id));
  const children = new Map();
  for (const s of spans) {
    const parent = ids.has(s.parent_id) ? s.parent_id : '';
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(s);
  }
  const found = [];
  const walk = (id, depth) => {
    const list = (children.get(id) ?? []).sort((a, b) => a.start_us - b.start_us);
    children.delete(id); // whatever was sent, this ends
    for (const span of list) {
      found.push([span, depth]);
      walk(span.span_id, depth + 1);
    }
  };
  walk('', 0);
  return found;
}

export class Waterfall {
  viewer = ''; // this page's name at its gateway
  #list;
  #about;
  #end;
  #drawn = '';
  #told = null;

  constructor(host) {
    this.#list = host.querySelector('.spans');
    this.#about = host.querySelector('.span-about');
    this.#end = host.querySelector('.spans-end');
    this.#list.addEventListener('keydown', (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const row = event.target.closest?.('li');
      if (!step || !row) return;
      event.preventDefault();
      (step > 0 ? row.nextElementSibling : row.previousElementSibling)?.querySelector('button').focus();
    });
  }

  clear() {
    this.#drawn = '';
    this.#told = null;
    this.#list.replaceChildren();
    this.#about.replaceChildren();
    this.#end.textContent = '';
  }

  // draw takes a trace of /api/v1/traces, again where spans have been added.
  draw(trace) {
    const spans = trace.spans ?? [];
    const text = JSON.stringify(spans);
    if (text === this.#drawn) return;
    this.#drawn = text;
    const from = Math.min(...spans.map((s) => s.start_us));
    const whole = Math.max(1, ...spans.map((s) => s.start_us + s.duration_us - from));
    this.#end.textContent = spanTime(whole);
    const focused = document.activeElement?.dataset?.span;
    this.#list.replaceChildren(...inOrder(spans).map(([span, depth]) => this.#row(span, depth, from, whole)));
    if (focused) this.#list.querySelector(`[data-span="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    const told = spans.find((s) => s.span_id === this.#told);
    if (told) this.#tell(told, from);
  }

  #row(span, depth, from, whole) {
    const row = element('li', `of-${Math.max(0, SERVICES.indexOf(span.service))}`);
    const button = element('button');
    button.type = 'button';
    button.dataset.span = span.span_id;
    button.dataset.service = span.service;
    button.style.setProperty('--depth', String(Math.min(depth, 8)));
    const start = span.start_us - from;
    button.setAttribute('aria-label', `${span.service}: ${span.name}, ${spanTime(span.duration_us)}, ` +
      `from ${spanTime(start)} on${span.error ? `, failed: ${span.error}` : ''}`);
    const lane = element('span', 'lane');
    const bar = element('i', span.error ? 'bar failed' : 'bar');
    bar.style.left = `${(100 * start) / whole}%`;
    bar.style.width = `${(100 * span.duration_us) / whole}%`;
    lane.append(bar);
    for (const { at_us: at } of span.events ?? []) {
      const tick = element('i', 'tick');
      tick.style.left = `${Math.min(100, Math.max(0, (100 * (at - from)) / whole))}%`;
      lane.append(tick);
    }
    const viewer = span.attributes?.['framebus.viewer'];
    const whose = viewer ? ` · ${viewer === this.viewer ? 'this page' : viewer}` : '';
    const name = element('span', 'span-name', short(span.name) + whose);
    name.title = span.name;
    button.append(name, lane, element('b', '', spanTime(span.duration_us)));
    for (const name of ['pointerenter', 'focus', 'click']) button.addEventListener(name, () => this.#tell(span, from));
    row.append(button);
    return row;
  }

  #tell(span, from) {
    this.#told = span.span_id;
    for (const button of this.#list.querySelectorAll('button')) {
      button.classList.toggle('told', button.dataset.span === span.span_id);
    }
    const facts = element('dl');
    const fact = (name, value) => {
      const row = element('div');
      row.append(element('dt', '', name), element('dd', '', String(value)));
      facts.append(row);
    };
    if (span.error) fact('error', span.error);
    fact('from', `${spanTime(span.start_us - from)} to ${spanTime(span.start_us - from + span.duration_us)}`);
    for (const [name, value] of Object.entries(span.attributes ?? {})) fact(name, value);
    for (const event of span.events ?? []) {
      const more = Object.entries(event.attributes ?? {}).map(([name, value]) => ` ${name}=${value}`);
      fact(event.name, `at ${spanTime(event.at_us - from)}${more.join('')}`);
    }
    const head = element('p');
    const kind = span.kind && span.kind !== 'internal' ? ` · ${span.kind}` : '';
    head.append(element('b', '', span.name), ` ${span.service}${kind} · ${spanTime(span.duration_us)}`);
    this.#about.replaceChildren(head, facts);
  }
}

// short leaves out what every subject begins with and what stands for its names.
const short = (name) => name.replace('framebus.v1.', '').replace(/\.\{\w+\}/g, '');

// spanTime keeps three digits.
export function spanTime(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  const ms = us / 1000;
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}
