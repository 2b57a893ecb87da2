// The list of streams: what the gateway has, and which one this page shows. The choice stands in the URL, so that a
// bookmark or a wall's start page keeps it.

import { element } from './dom.js';
import { list } from './list.js';
import { Menu } from './menu.js';

const EVERY_MS = 5000;
const PAGES = [
  ['wall.html', 'All streams on a wall'],
  ['call.html', 'A call, face to face'],
  ['publish.html', 'Publish a camera or screen'],
];

export function chosenStream() {
  return new URLSearchParams(location.search).get('stream') ?? '';
}

export class Streams {
  onchoose = () => {};
  onlist = () => {}; // takes the list when it has changed
  #list = [];
  #current = '';
  #items;
  #menu;
  #name;

  constructor(button, items) {
    this.#items = items;
    this.#name = button.querySelector('.stream-name');
    this.#menu = new Menu(button, items);
    this.#menu.onopen = () => this.refresh();
    setInterval(() => {
      if (!document.hidden) this.refresh();
    }, EVERY_MS);
  }

  // current tells which stream is shown, once the gateway has said so.
  current(name) {
    if (name === this.#current) return;
    this.#current = name;
    this.#name.textContent = name || 'no stream yet';
    this.#draw();
  }

  choose(name) {
    this.toggle(false);
    const url = new URL(location.href);
    url.searchParams.set('stream', name);
    history.replaceState(null, '', url);
    if (name === this.#current) return;
    this.current(name);
    this.onchoose(name);
  }

  next() {
    if (!this.#list.length) return;
    const at = this.#list.findIndex((s) => s.name === this.#current);
    this.choose(this.#list[(at + 1) % this.#list.length].name);
  }

  toggle(open) {
    return this.#menu.toggle(open);
  }

  async refresh() {
    const streams = (await list())?.map(entry);
    if (!streams) return; // the list waits for its next turn
    streams.sort((a, b) => a.name.localeCompare(b.name));
    if (JSON.stringify(streams) === JSON.stringify(this.#list)) return;
    this.#list = streams;
    this.onlist(streams);
    this.#draw();
  }

  #draw() {
    const focused = this.#items.contains(document.activeElement) ? document.activeElement.dataset.stream : null;
    const items = this.#list.map((stream) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.dataset.stream = stream.name;
      if (stream.name === this.#current) button.setAttribute('aria-current', 'true');
      button.addEventListener('click', () => this.choose(stream.name));
      const dot = document.createElement('i');
      dot.className = `dot ${stream.live ? 'live' : 'out'}`;
      const name = document.createElement('b');
      name.textContent = stream.name;
      const about = document.createElement('small');
      about.textContent = stream.about;
      button.append(dot, name, about);
      const item = document.createElement('li');
      item.append(button);
      return item;
    });
    if (!items.length) {
      const item = document.createElement('li');
      item.className = 'empty';
      item.textContent = 'No streams are known yet.';
      items.push(item);
    }
    this.#items.replaceChildren(...items, ...pages());
    if (focused) this.#items.querySelector(`[data-stream="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
}

// pages are the gateway's other pages.
function pages() {
  return PAGES.map(([href, text]) => {
    const link = element('a', '', text);
    link.href = href;
    const item = element('li', 'elsewhere');
    item.append(link);
    return item;
  });
}

function entry({ name, state, cause, width, height, fps, viewers }) {
  const live = state === 'live';
  const about = [];
  if (!live) about.push(cause || state);
  if (width && height) about.push(`${width}×${height}`);
  if (live && fps) about.push(`${Math.round(fps)} fps`);
  if (viewers) about.push(viewers === 1 ? '1 viewer' : `${viewers} viewers`);
  return { name, live, about: about.join(' · ') };
}
