// The ledger: what became of every frame, line by line, from /api/v1/ledger. It is read once a second while it is open,
// so that what each line gained lately can be told beside what it has in all.

import { nowMs } from './clock.js';
import { element, sentence } from './dom.js';
import { Sheet } from './sheet.js';

const EVERY_MS = 1000;
const LATELY_US = 10e6; // what "lately" is

// What the words mean, told beneath for those that occur.
const MEANING = {
  superseded: 'a newer frame took its place in a queue',
  unwanted: 'nobody watched',
  undemanded: 'nobody watched any more when its turn came',
  unanswered: 'its encoder never answered: it ended or hung',
  open: 'with an encoder at this moment',
  corrupt: 'the picture was damaged',
  overwritten: 'its shared memory had another frame, or was gone, before it was read',
  memory: 'the shared memory that it lay in was cut',
  foreign: 'published by a client while a camera has the name',
  lost: 'encoded, and never received by a gateway that listened',
  unbooked: 'received, though its encoding was never reported',
  stale: 'came more than a second later than it should',
  malformed: 'was no picture with an envelope',
  queued: 'in the gateway at this moment',
  late: 'older than one already sent',
  hidden: 'the viewer’s page is not shown',
  max_fps: 'the viewer wants fewer',
  client: 'the viewer cannot show more',
  closed: 'the viewer went while it waited',
  'in flight': 'on its way to a viewer at this moment',
};
// What there is at a moment does not grow.
const MOMENTARY = new Set(['open', 'queued', 'in flight']);
// Those that are no loss: a frame that moves on, that nobody wanted, or that is still on its way.
const NO_LOSS = new Set(['published', 'encoded', 'received', 'taken', 'delivered', 'unwanted', 'undemanded', 'open',
  'queued', 'in flight', 'hidden', 'max_fps']);

// sections gives an epoch's lines: [{ title, lines: [{ key, name, atUs, total: [[name, n]], parts: [[name, n]],
// difference }] }]. The sum of the total is the sum of the parts, but for the difference.
export function sections(epoch) {
  const { captured: c, published: p, encoders: e } = epoch;
  const origin = [];
  const add = (list, line) => list.push({ key: `${epoch.epoch} ${line.key}`, ...line });
  const atUs = epoch.told_us;
  if (c) {
    const parts = [['published', c.published], ...Object.entries(c.dropped ?? {}), ['unwanted', c.unwanted]];
    add(origin, { key: 'captured', name: 'Source', atUs, total: [['captured', c.total]], parts, difference: c.difference });
  }
  if (p) {
    const parts = [...Object.entries(p.done ?? {}), ['unanswered', p.unanswered], ['open', p.open]];
    add(origin, { key: 'published', name: 'Encoders', atUs, total: [['published', p.total]], parts, difference: p.difference });
  }
  if (p && e) {
    const sum = (s) => Object.values(s.done ?? {}).reduce((a, n) => a + n, 0) + (s.unanswered ?? 0) + (s.open ?? 0);
    const parts = (e.shares ?? []).map((s) => [s.encoder || 'others', sum(s)]);
    add(origin, { key: 'shares', name: 'by encoder', atUs, total: [['published', p.total]], parts, names: true, difference: e.difference });
  }
  const gateways = (epoch.gateways ?? []).map((g) => {
    const lines = [];
    for (const { rung, bus: b, hub: h, viewers: v } of g.rungs ?? []) {
      const of = (what) => ({ key: `${g.gateway} ${rung} ${what}`, name: `${rung} · ${what}`, atUs: g.told_us });
      if (b) {
        const total = [['encoded', b.encoded], ['unbooked', b.unbooked]];
        add(lines, { ...of('bus'), total, parts: [['received', b.received], ['lost', b.lost]], difference: b.difference });
      }
      if (h) {
        const parts = ['taken', 'superseded', 'stale', 'malformed', 'queued'].map((name) => [name, h[name]]);
        add(lines, { ...of('gateway'), total: [['arrived', h.arrived]], parts, difference: h.difference });
      }
      if (v) {
        const parts = [['delivered', v.delivered], ...Object.entries(v.skipped ?? {}), ['in flight', v.in_flight]];
        add(lines, { ...of('viewers'), total: [['offered', v.offered]], parts, difference: v.difference });
      }
    }
    return { title: `Gateway ${g.gateway}`, lines };
  });
  return [{ title: `Origin ${epoch.owner ?? ''}`, lines: origin }, ...gateways].filter((s) => s.lines.length);
}

// Lately remembers the last seconds of each line's numbers.
export class Lately {
  #lines = new Map(); // by key: [{ atUs, numbers }], the oldest first

  // gains gives what each of a line's numbers gained a second, null where that is not known yet.
  gains({ key, atUs }, numbers) {
    const list = this.#lines.get(key) ?? [];
    this.#lines.set(key, list);
    if (!list.length || list.at(-1).atUs < atUs) list.push({ atUs, numbers });
    while (list.length > 1 && list[1].atUs <= atUs - LATELY_US) list.shift();
    const [first, last] = [list[0], list.at(-1)];
    const seconds = (last.atUs - first.atUs) / 1e6;
    if (seconds < 0.5) return null;
    return Object.fromEntries(Object.entries(last.numbers).map(([name, n]) => [name, (n - (first.numbers[name] ?? 0)) / seconds]));
  }

  forget() {
    this.#lines.clear();
  }
}

export class Ledger {
  #sheet;
  #host;
  #body;
  #verdict;
  #meanings;
  #timer = 0;
  #lately = new Lately();
  #folded = new Map(); // what was opened or closed by hand, by key
  #stream;

  // stream gives the name of the one that is shown.
  constructor(host, stream) {
    this.#host = host;
    this.#stream = stream;
    this.#sheet = new Sheet(host);
    this.#sheet.onclose = () => clearTimeout(this.#timer);
    this.#body = host.querySelector('.ledger-streams');
    this.#verdict = host.querySelector('.ledger-verdict');
    this.#meanings = host.querySelector('.ledger-meanings');
  }

  toggle(open) {
    if (!this.#sheet.toggle(open)) return false;
    if (this.#sheet.isOpen) {
      this.#lately.forget();
      this.#folded.clear();
      void this.#read();
    }
    return true;
  }

  async #read() {
    const atMs = nowMs();
    const answer = document.hidden ? {} : await fetched();
    if (!this.#sheet.isOpen) return;
    if (answer.error) this.#say(sentence(answer.error), false);
    if (answer.ledger) this.#draw(answer.ledger);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#read(), Math.max(100, EVERY_MS - (nowMs() - atMs)));
  }

  #say(text, good) {
    this.#verdict.textContent = text;
    this.#verdict.classList.toggle('bad', !good);
  }

  #draw(ledger) {
    const { streams = [] } = ledger;
    const good = ledger.explained !== false;
    this.#say(streams.length === 0 ? 'No stream has an account yet.' : good ? 'Every frame is explained.' :
      'Frames are missing that nobody can explain.', good);
    const words = new Set();
    const mine = this.#stream();
    const order = [...streams].sort((a, b) => (b.stream === mine) - (a.stream === mine));
    const focused = document.activeElement?.dataset?.key;
    this.#body.replaceChildren(...order.map((s, i) => {
      const epochs = (s.epochs ?? []).map((e, j) => this.#epoch(s.stream, e, j === 0, words));
      return this.#fold(s.stream, s.stream, s.explained, i === 0, epochs, 'ledger-stream');
    }));
    if (focused) this.#body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    const known = Object.entries(MEANING).filter(([word]) => words.has(word));
    this.#meanings.replaceChildren(...known.map(([word, meaning]) => {
      const item = element('span');
      item.append(element('b', '', word), ` ${meaning}. `);
      return item;
    }));
  }

  #epoch(stream, epoch, newest, words) {
    const table = element('table');
    for (const { title, lines } of sections(epoch)) {
      const body = element('tbody');
      const head = element('tr', 'ledger-head');
      const cell = element('th', '', title);
      cell.colSpan = 4;
      cell.scope = 'rowgroup';
      head.append(cell);
      body.append(head, ...lines.map((line) => this.#line(line, words)));
      table.append(body);
    }
    const began = new Date(Number(epoch.epoch) / 1000).toLocaleTimeString([], { hour12: false });
    const title = `${epoch.state === 'open' ? 'Since' : 'From'} ${began}${epoch.state === 'open' ? '' : `, ${epoch.state}`}`;
    return this.#fold(`${stream} ${epoch.epoch}`, title, epoch.explained, newest, [table], 'ledger-epoch');
  }

  #fold(key, title, explained, open, content, className) {
    const fold = element('details', className);
    fold.open = this.#folded.get(key) ?? (open || explained === false);
    const head = element('summary', '', title);
    head.dataset.key = key;
    head.addEventListener('click', () => this.#folded.set(key, !fold.open));
    if (explained === false) head.append(element('em', 'bad', 'not explained'));
    fold.append(head, ...content);
    return fold;
  }

  #line(line, words) {
    const numbers = Object.fromEntries([...line.total, ...line.parts].map(([name, n]) => [name, n ?? 0]));
    const gains = this.#lately.gains(line, numbers);
    const amount = ([name, n = 0], className) => {
      words.add(name);
      const item = element('span', `amount ${className}`);
      [item.dataset.name, item.dataset.n] = [name, n];
      item.append(element('b', '', grouped(n)), ` ${name.replace('_', ' ')}`);
      const gain = MOMENTARY.has(name) ? 0 : (gains?.[name] ?? 0);
      if (gain > 0.05) item.append(element('small', '', ` ${gain.toFixed(1)}/s`));
      return item;
    };
    const row = element('tr');
    row.dataset.line = line.key.slice(line.key.indexOf(' ') + 1);
    const name = element('th', '', line.name);
    name.scope = 'row';
    const total = element('td', 'ledger-total');
    total.append(...line.total.filter(([, n], i) => i === 0 || n).map((t) => amount(t, '')));
    const parts = element('td', 'ledger-parts');
    const shown = line.parts.filter(([, n], i) => i === 0 || n);
    parts.append(...shown.map((part) => amount(part, line.names || NO_LOSS.has(part[0]) ? '' : 'loss')));
    const check = element('td', 'ledger-check', line.difference ? `${signed(line.difference)} not explained` : '✓');
    check.classList.toggle('bad', Boolean(line.difference));
    if (!line.difference) check.setAttribute('aria-label', 'adds up');
    row.append(name, total, parts, check);
    return row;
  }
}
const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, '\u202f');
const signed = (n) => (n > 0 ? `+${grouped(n)}` : `−${grouped(-n)}`);

async function fetched() {
  try {
    const answer = await fetch(new URL('api/v1/ledger', document.baseURI), { cache: 'no-store' });
    const body = await answer.json();
    return answer.ok ? { ledger: body } : { error: [body.error, body.hint].filter(Boolean).join('. ') };
  } catch {
    return { error: 'The ledger could not be fetched.' };
  }
}
