// The rung: which of the picture's sizes this page is on and why, and the one that was chosen instead. The choice
// stands in the URL, as the stream does.

import { sentence } from './dom.js';
import { RUNGS } from './envelope.js';
import { Menu } from './menu.js';

export const AUTO = 'auto';
const CHOICES = [
  { name: AUTO, about: 'the best that the connection carries' },
  { name: 'full', about: 'as the source gives it' },
  { name: 'half', about: 'half of each side' },
  { name: 'quarter', about: 'a quarter of each side' },
];

// chosenRung is auto where the URL says nothing that is known: the gateway would refuse it.
export function chosenRung() {
  const name = new URLSearchParams(location.search).get('rung');
  return CHOICES.some((c) => c.name === name) ? name : AUTO;
}

// named is a Rung of protojson, which leaves out the first.
export function named(rung = 'RUNG_FULL') {
  const name = String(rung).replace('RUNG_', '').toLowerCase();
  return RUNGS.includes(name) ? name : '';
}

export class Rung {
  onchoose = () => {};
  chosen = chosenRung();
  why = ''; // the newest notice's words, '' where none came since the choice or the connection
  quality = ''; // the same of quality
  #menu;
  #button;
  #items;
  #field;
  #told;

  constructor(button, list, { field, told }) {
    this.#button = button;
    this.#field = field;
    this.#told = told;
    this.#menu = new Menu(button, list);
    this.#items = CHOICES.map(({ name, about }, i) => {
      const item = document.createElement('button');
      item.type = 'button';
      item.dataset.rung = name;
      item.addEventListener('click', () => this.choose(name));
      const title = document.createElement('b');
      title.textContent = sentence(name);
      const key = document.createElement('kbd');
      key.textContent = String(i);
      const words = document.createElement('small');
      words.textContent = about;
      item.append(title, key, words);
      const row = document.createElement('li');
      row.append(item);
      list.append(row);
      return item;
    });
    this.draw(null);
  }

  choose(name) {
    this.#menu.toggle(false);
    if (name === this.chosen) return;
    this.chosen = name;
    this.why = '';
    const url = new URL(location.href);
    if (name === AUTO) url.searchParams.delete('rung');
    else url.searchParams.set('rung', name);
    history.replaceState(null, '', url);
    this.onchoose(name);
  }

  toggle(open) {
    return this.#menu.toggle(open);
  }

  forget() {
    this.why = '';
    this.quality = '';
  }

  // hear takes a notice and tells whether it is news: a gateway that is connected to again repeats itself.
  hear({ kind, text, rung, quality }) {
    if (kind === 'quality') {
      this.quality = text || `quality ${quality ?? 0}`;
      return false;
    }
    const why = text || `${named(rung)} size`;
    const news = why !== this.why;
    this.why = why;
    return news;
  }

  // draw takes the rung of the picture that is shown, null where there is none.
  draw(rung) {
    const shown = RUNGS[rung] ?? '';
    const auto = this.chosen === AUTO;
    set(this.#button.querySelector('.rung-chosen'), sentence(this.chosen));
    set(this.#button.querySelector('.rung-shown'), shown === this.chosen ? '' : shown);
    set(this.#field, shown ? `${sentence(shown)}${auto ? ', automatic' : ', chosen here'}` : '–');
    const waits = shown && !auto && shown !== this.chosen ? `waiting for ${this.chosen} size` : '';
    set(this.#told, [this.why || waits, this.quality].filter(Boolean).map(sentence).join('. '));
    this.#items.forEach((item) => {
      if (item.dataset.rung === this.chosen) item.setAttribute('aria-current', 'true');
      else item.removeAttribute('aria-current');
    });
  }
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
