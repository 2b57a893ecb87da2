// A call: this page publishes its camera as call-ROOM-xxxx and shows all others of the room on one connection.

import { barred, close, open } from './camera.js';
import { Grid } from './grid.js';
import { list } from './list.js';
import { Publisher } from './publisher.js';
import { MOST, ROOM, members, newName, suffix } from './room.js';
import { Shutter } from './shutter.js';
import { Tiles, tile } from './tiles.js';
import { recall, remember } from './token.js';

const POLL_MS = 1000;
const QUALITY = 0.75;

const $ = (id) => document.getElementById(id);
const full = (room) => `The room ${room} is full: ${MOST} are in it. Try again when somebody has left.`;
const grid = new Grid($('grid'));
const tiles = new Tiles($('grid'), (name) => tile(suffix(name, room), ''));
const publisher = new Publisher();
const shutter = new Shutter($('video'));

let room = '';
let me = ''; // this page's stream, '' while it is in no room
let media = null;
let set = null; // of the shutter
let watching = { phase: 'off' };
let publishing = { phase: 'off', why: '' };

async function join() {
  room = $('room').value;
  if (me || !ROOM.test(room)) return;
  $('join').disabled = true;
  refuse('');
  try {
    const [width, height, fps] = $('picture').value.split('x').map(Number);
    const there = await list();
    if (!there) throw new Error('The gateway does not answer.');
    if (members(there, room).length >= MOST) throw new Error(full(room));
    set = { width, height, fps, quality: QUALITY, cover: true };
    media = await open('camera', set);
  } catch (err) {
    refuse(err.message);
    return;
  } finally {
    $('join').disabled = false;
  }
  media.getVideoTracks()[0].addEventListener('ended', () => leave('The camera has ended.'));
  $('video').srcObject = media;
  $('video').play().catch(() => {}); // autoplay does it too
  me = newName(room);
  remember($('token').value);
  const url = new URL(location.href);
  url.searchParams.set('room', room);
  history.replaceState(null, '', url);
  inside(true);
  publisher.open(me, $('token').value);
  void shutter.start(set);
  await poll();
}

// leave goes back to the lobby and says why, where there is a reason.
function leave(why = '') {
  if (!me) return;
  me = '';
  publisher.close();
  shutter.stop();
  close(media);
  media = null;
  $('video').srcObject = null;
  tiles.close();
  inside(false);
  refuse(why);
}

function inside(on) {
  $('lobby').hidden = on;
  $('grid').hidden = $('leave').hidden = $('copy').hidden = !on;
  $('elsewhere').hidden = on; // a wrong touch would end the call
  $('title').textContent = on ? room : 'Call';
  document.title = on ? `${room} · framebus` : 'Call · framebus';
  grid.layout();
  say();
}

function refuse(text) {
  $('lobby-said').textContent = text;
}

async function poll() {
  if (!me) return;
  const there = await list();
  if (!me || !there) return;
  const all = members(there, room);
  if (all.indexOf(me) >= MOST) {
    leave(full(room)); // several came at once, and this one was the last
    return;
  }
  tiles.show(all.filter((name) => name !== me).slice(0, MOST));
  say();
}

function say() {
  const others = tiles.names.length;
  $('count').textContent = me ? `${others + 1} of ${MOST}` : '';
  let text = '';
  if (!me) text = '';
  else if (publishing.phase === 'waiting') text = `The others do not see you. ${publishing.why}. Trying again…`;
  else if (watching.phase === 'waiting' && others) text = `${watching.why}. Trying again…`;
  else if (!others) text = 'Nobody else is here yet. Give them the link of this page.';
  $('said').dataset.kind = publishing.phase === 'waiting' || watching.phase === 'waiting' ? 'bad' : 'calm';
  if ($('said').textContent !== text) $('said').textContent = text;
}

shutter.ready = () => publisher.ready();
shutter.onpicture = (buffer) => publisher.send(buffer);
publisher.onstate = (state) => {
  publishing = state;
  if (state.phase === 'refused') leave(state.why);
  if (state.phase === 'refused' && state.status === 401) $('token').focus();
  $('self-about').textContent = state.phase === 'open' ? '' : 'not sent yet';
  say();
};
publisher.onstats = ({ fps }) => ($('self-about').textContent = `${(fps ?? 0).toFixed(0)} fps`);
tiles.onstate = (state) => {
  watching = state;
  say();
};
tiles.ongone = (stream) => {
  tiles.show(tiles.names.filter((name) => name !== stream));
  say();
};
tiles.onchange = () => grid.layout();
grid.onlayout = () => tiles.tell();

$('lobby').addEventListener('submit', (event) => {
  event.preventDefault();
  void join();
});
$('leave').addEventListener('click', () => leave());
addEventListener('pagehide', () => leave()); // a page that is come back to begins in the lobby
$('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    $('copy').textContent = 'Copied';
  } catch {
    $('copy').textContent = 'Copy it above'; // the address bar has it
  }
  setTimeout(() => ($('copy').textContent = 'Copy link'), 2000);
});
setInterval(() => void poll(), POLL_MS);

$('room').value = (new URLSearchParams(location.search).get('room') ?? '').toLowerCase();
$('token').value = recall();
refuse(barred());
$('join').disabled = barred() !== '';

// For tests and for the curious: it reads and changes nothing.
window.framebus = Object.freeze({
  stats: () => ({ me, room, phase: publisher.phase, sent: publisher.sent, others: tiles.stats() }),
  print: (name) => tiles.print(name),
});
