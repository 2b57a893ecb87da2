// Many streams on one connection, a tile each. Pictures find their tile by the channel in their envelope; each tile asks
// for pictures as large as it is drawn.

import { nowMs } from './clock.js';
import { Connection } from './connection.js';
import { element } from './dom.js';
import { FORMAT_JPEG, decode } from './envelope.js';
import { Painter } from './painter.js';

const STALE_MS = 2500;
const TICK_MS = 500;

export class Tiles {
  // onstate is the connection's; ongone is told the name of a stream whose owner has gone; onchange that a tile came or
  // went.
  onstate = () => {};
  ongone = () => {};
  onchange = () => {};

  #host;
  #make;
  #tiles = new Map(); // by stream
  #channels = new Map(); // stream by channel
  #connection = null;
  #main = ''; // the stream that the connection was opened with
  #greeted = false;
  #phase = { phase: 'off' };

  // make gives the element of a stream's tile: it has a .tile-picture and a .tile-about.
  constructor(host, make) {
    this.#host = host;
    this.#make = make;
    setInterval(() => this.#tick(), TICK_MS);
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) for (const tile of this.#tiles.values()) tile.painter.drop();
      else this.#connection?.woke();
      this.tell();
    });
  }

  get phase() {
    return this.#phase.phase;
  }

  get names() {
    return [...this.#tiles.keys()];
  }

  // show makes the tiles those of these streams, in this order.
  show(names) {
    const before = this.names.join();
    for (const name of this.names) if (!names.includes(name)) this.#remove(name);
    for (const name of names) if (!this.#tiles.has(name)) this.#add(name);
    if (this.names.join() === before) return;
    this.#connect(names);
    this.tell();
    this.onchange();
  }

  // close leaves every stream, and the gateway.
  close() {
    this.show([]);
    this.#connection?.close();
    this.#main = '';
  }

  #add(name) {
    const tile = this.#make(name);
    tile.classList.add('empty');
    const entry = {
      name,
      element: tile,
      about: tile.querySelector('.tile-about'),
      painter: new Painter(tile.querySelector('.tile-picture'), 'main'),
      epoch: 0,
      sequence: 0,
      number: 0,
      painted: 0,
      counted: 0, // painted at the last tick
      fps: 0,
      size: '',
      bytes: 0,
      atMs: 0, // of the newest picture
      state: '', // why there is none, in the gateway's words
      asked: '', // the last select
    };
    entry.painter.onpaint = (report) => this.#painted(entry, report);
    entry.painter.label(`Live picture of ${name}`);
    this.#tiles.set(name, entry);
    const next = [...this.#host.querySelectorAll('[data-stream]')].find((e) => e.dataset.stream > name);
    tile.dataset.stream = name;
    this.#host.insertBefore(tile, next ?? null);
  }

  #remove(name) {
    const tile = this.#tiles.get(name);
    this.#tiles.delete(name);
    tile.element.remove();
    if (this.#greeted) this.#connection.send({ select: { stream: name, rung: 'off' } });
  }

  // connect opens the connection once there is a stream to open it with, and another where that one is not there to
  // come back to.
  #connect(names) {
    if (!names.length) return;
    if (!this.#connection) {
      this.#connection = new Connection();
      this.#connection.onstate = (state) => this.#turned(state);
      this.#connection.onpicture = (buffer) => this.#take(buffer);
      this.#connection.onmessage = (message) => this.#hear(message);
    }
    const lost = !this.#connection.isOpen && this.phase !== 'connecting';
    if (this.#main && !(lost && !names.includes(this.#main))) return;
    this.#main = names[0];
    this.#connection.open(this.#main);
  }

  #turned(state) {
    this.#phase = state;
    if (state.phase !== 'open') this.#greeted = false;
    if (state.phase === 'open') this.#channels.clear();
    for (const tile of this.#tiles.values()) tile.asked = '';
    if (state.phase === 'waiting' && !this.#tiles.has(this.#main)) this.#connect(this.names);
    this.onstate(state);
  }

  #hear(message) {
    const said = message.notice ?? message.stats;
    if (said?.stream && said.channel) this.#channels.set(said.channel, said.stream);
    if (message.hello) {
      for (const { channel, stream } of message.hello.channels ?? []) this.#channels.set(channel, stream);
      this.#greeted = true;
      if (!this.#tiles.has(this.#main)) this.#connection.send({ select: { stream: this.#main, rung: 'off' } });
      this.tell();
    } else if (message.notice?.kind === 'state') {
      this.#told(message.notice);
    } else if (message.echo) {
      this.#connection.send({ echo: message.echo });
    }
  }

  #told({ stream, state, text }) {
    const tile = this.#tiles.get(stream);
    if (!tile) return;
    const live = !state || state === 'STREAM_STATE_LIVE';
    tile.state = live ? '' : text || 'gives no pictures';
    this.#draw(tile);
    if (state === 'STREAM_STATE_GONE') this.ongone(stream);
  }

  #take(buffer) {
    let frame;
    try {
      frame = decode(buffer);
    } catch {
      return;
    }
    const tile = this.#tiles.get(this.#channels.get(frame.channel));
    if (!tile || frame.format !== FORMAT_JPEG || !frame.bytes) return;
    if (frame.epoch === tile.epoch && frame.sequence <= tile.sequence) return; // overtaken
    [tile.epoch, tile.sequence] = [frame.epoch, frame.sequence];
    tile.atMs = nowMs();
    tile.bytes += buffer.byteLength;
    if (!document.hidden) tile.painter.put({ number: ++tile.number, buffer, start: frame.start });
  }

  #painted(tile, { number, width, height }) {
    if (number === null) return;
    tile.painted++;
    tile.size = `${width}×${height}`;
    if (tile.painted === 1) this.#draw(tile);
  }

  // tell asks for each stream's pictures as large as its tile, in the screen's own dots.
  tell() {
    if (!this.#greeted) return;
    const dots = window.devicePixelRatio || 1;
    for (const tile of this.#tiles.values()) {
      const box = tile.element.querySelector('.tile-picture').getBoundingClientRect();
      const [width, height] = [box.width, box.height].map((side) => Math.max(1, Math.round(side * dots)));
      const select = { stream: tile.name, rung: 'auto', width, height, ...(document.hidden && { hidden: true }) };
      const text = JSON.stringify(select);
      if (text !== tile.asked && this.#connection.send({ select })) tile.asked = text;
    }
  }

  #tick() {
    for (const tile of this.#tiles.values()) {
      const now = ((tile.painted - tile.counted) * 1000) / TICK_MS;
      tile.counted = tile.painted;
      tile.fps = tile.fps ? 0.7 * tile.fps + 0.3 * now : now;
      this.#draw(tile);
    }
    this.tell(); // whoever could not be told before
  }

  #draw(tile) {
    const stale = tile.painted > 0 && (this.phase !== 'open' || nowMs() - tile.atMs > STALE_MS);
    tile.element.classList.toggle('empty', tile.painted === 0);
    tile.element.classList.toggle('stale', stale || (tile.state !== '' && tile.painted > 0));
    const figures = `${tile.fps.toFixed(0)} fps · ${tile.size}`;
    const text = tile.state || (stale ? 'no picture' : tile.painted ? figures : 'waiting…');
    if (tile.about.textContent !== text) tile.about.textContent = text;
  }

  // stats and pixels are for tests and for the curious.
  stats() {
    return [...this.#tiles.values()].map(({ name, painted, size, bytes, state, sequence }) => {
      return { name, painted, size, bytes, state, sequence };
    });
  }

  // print is a sum over the picture that a tile shows, which another picture hardly has; null before the first.
  async print(name) {
    const shown = await this.#tiles.get(name)?.painter.pixels();
    return shown ? shown.image.data.reduce((sum, v, i) => (sum * 31 + v * ((i % 251) + 1)) % 2147483647, 7) : null;
  }
}

// tile makes a plain tile; href is where a click on it leads, '' for nowhere.
export function tile(title, href) {
  const made = element(href ? 'a' : 'figure', 'tile');
  if (href) made.href = href;
  made.append(element('span', 'tile-picture'));
  const caption = element(href ? 'span' : 'figcaption', 'tile-caption');
  caption.append(element('b', '', title), element('span', 'tile-about'));
  made.append(caption);
  return made;
}
