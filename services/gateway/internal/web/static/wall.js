// The wall: every stream that the gateway has, on one connection.

import { Grid } from './grid.js';
import { list } from './list.js';
import { Tiles, tile } from './tiles.js';

const POLL_MS = 2000;
const GONE_MS = 5000; // a stream that comes back within it keeps its tile

const $ = (id) => document.getElementById(id);
const grid = new Grid($('grid'));
const tiles = new Tiles($('grid'), (name) => tile(name, `./?stream=${encodeURIComponent(name)}`));
const gone = new Map(); // when each was first missed

let known = null; // the newest list
let phase = { phase: 'connecting' };

async function poll() {
  known = (await list()) ?? known;
  update();
}

function update() {
  if (!known) return say();
  const now = performance.now();
  const there = known.filter((s) => s.state !== 'gone').map((s) => s.name);
  for (const name of there) gone.delete(name);
  for (const name of tiles.names) if (!there.includes(name) && !gone.has(name)) gone.set(name, now);
  const staying = tiles.names.filter((name) => gone.has(name) && now - gone.get(name) < GONE_MS);
  const sizes = known.filter((s) => s.width && s.height).map((s) => s.width / s.height).sort((a, b) => a - b);
  if (sizes.length) grid.aspect = Math.min(16 / 9, Math.max(1, sizes[sizes.length >> 1]));
  tiles.show([...there, ...staying].sort());
  for (const name of gone.keys()) if (!tiles.names.includes(name)) gone.delete(name);
  say();
}

function say() {
  const n = tiles.names.length;
  const count = n === 1 ? '1 stream' : `${n} streams`;
  if ($('count').textContent !== count) $('count').textContent = count;
  let text = '';
  if (!known) text = 'The gateway does not answer. Trying again…';
  else if (!n) text = 'There is no stream yet. One that comes shows here by itself.';
  else if (phase.phase === 'waiting') text = `${phase.why}. Trying again…`;
  $('said').dataset.kind = text && (n || !known) ? 'bad' : 'calm';
  if ($('said').textContent !== text) $('said').textContent = text;
}

tiles.onstate = (state) => {
  phase = state;
  say();
};
tiles.onchange = () => grid.layout();
grid.onlayout = () => tiles.tell();

setInterval(() => {
  if (!document.hidden) void poll();
}, POLL_MS);
document.addEventListener('visibilitychange', () => !document.hidden && void poll());
void poll();

// For tests and for the curious: it reads and changes nothing.
window.framebus = Object.freeze({ stats: () => tiles.stats(), print: (name) => tiles.print(name) });
