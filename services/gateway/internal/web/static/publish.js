// The page that publishes a camera or a screen: source → shutter → publisher, and the words and figures around them.

import { barred, close, open } from './camera.js';
import { Publisher } from './publisher.js';
import { Shutter } from './shutter.js';
import { recall, remember } from './token.js';

const LABELS = {
  connecting: 'Connecting…',
  open: 'Publishing. Whoever opens the viewer sees it.',
};

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const video = $('video');
const shutter = new Shutter(video);
const publisher = new Publisher();

let media = null;
let kind = ''; // camera or screen, once one is open
let told = { fps: 0, mbps: 0, sent: 0, skipped: {} }; // the gateway's newest figures

const wanted = () => {
  const [width, height] = $('size').value.split('x').map(Number);
  return { width, height, fps: Number($('rate').value), quality: Number($('quality').value) / 100 };
};

async function choose(what) {
  say('calm', what === 'screen' ? 'Choose what to show…' : 'Waiting for the camera…');
  let next;
  try {
    next = await open(what, wanted());
  } catch (err) {
    say('bad', err.message);
    return;
  }
  close(media);
  media = next;
  kind = what;
  video.srcObject = media;
  video.play().catch(() => {}); // autoplay does it too
  for (const track of media.getVideoTracks()) track.addEventListener('ended', () => track === current() && ended());
  $('empty').hidden = true;
  $('camera').setAttribute('aria-pressed', String(what === 'camera'));
  $('screen-source').setAttribute('aria-pressed', String(what === 'screen'));
  $('go').disabled = false;
  say('calm', publisher.phase === 'off' ? 'Ready. Nothing is sent yet.' : LABELS.open);
  reshape();
}

const current = () => media?.getVideoTracks()[0];

function ended() {
  publisher.close();
  close(media);
  media = null;
  video.srcObject = null;
  $('empty').hidden = false;
  $('go').disabled = true;
  $('camera').setAttribute('aria-pressed', 'false');
  $('screen-source').setAttribute('aria-pressed', 'false');
  say('bad', `The ${kind} has ended.`);
}

// reshape follows a change of size, rate or quality, also while pictures go out.
function reshape() {
  const set = { ...wanted(), cover: kind === 'camera' };
  $('rate-shown').textContent = $('rate').value;
  $('quality-shown').textContent = $('quality').value;
  video.parentElement.style.aspectRatio = `${set.width} / ${set.height}`;
  video.classList.toggle('cover', set.cover);
  if (publisher.phase !== 'off' && publisher.phase !== 'refused' && media) void shutter.start(set);
}

function say(how, text) {
  $('said').dataset.kind = how;
  if ($('said').textContent !== text) $('said').textContent = text;
  if (how === 'bad') $('said').scrollIntoView({ block: 'nearest' }); // on a phone the button is far below
}

shutter.ready = () => publisher.ready();
shutter.onpicture = (buffer) => publisher.send(buffer);

publisher.onstate = ({ phase, why, status }) => {
  const on = phase !== 'off' && phase !== 'refused';
  $('go').textContent = on ? 'Stop' : 'Publish';
  $('go').classList.toggle('stop', on);
  $('live').hidden = phase !== 'open';
  $('stream').readOnly = $('token').readOnly = on;
  $('watch').hidden = phase !== 'open';
  if (!on) shutter.stop();
  if (phase === 'refused' && status === 401) $('token').focus({ preventScroll: true });
  if (phase === 'waiting' || phase === 'refused') say('bad', phase === 'waiting' ? `${why}. Trying again…` : why);
  else say('calm', LABELS[phase] ?? (media ? 'Stopped. Nothing is sent.' : ''));
};

publisher.onstats = (stats) => {
  told = { fps: stats.fps ?? 0, mbps: stats.mbps ?? 0, sent: Number(stats.sent ?? 0), skipped: stats.skipped ?? {} };
  draw();
};

publisher.onnotice = ({ kind: what, text, state }) => {
  if (what === 'malformed') say('bad', `The gateway refused a picture: ${text}`);
  else if (what === 'state' && text) say(state === 'STREAM_STATE_LIVE' ? 'calm' : 'bad', text);
  else if (what === 'state') say('calm', LABELS.open);
};

function draw() {
  const refused = Object.entries(told.skipped).map(([why, n]) => [why, Number(n)]);
  const number = (id, text) => ($(id).textContent = text);
  number('fps', told.fps.toFixed(1));
  number('mbps', told.mbps.toFixed(2));
  number('taken', String(told.sent));
  number('held', String(publisher.held + shutter.missed));
  number('refused', String(refused.reduce((sum, [, n]) => sum + n, 0)));
  number('reconnects', String(publisher.reconnects));
  number('refusals', refused.map(([why, n]) => `${why}: ${n}`).join(', '));
}

$('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (publisher.phase !== 'off' && publisher.phase !== 'refused') {
    publisher.close();
    return;
  }
  const stream = $('stream').value;
  remember($('token').value);
  $('watch').href = `./?stream=${encodeURIComponent(stream)}`;
  told = { fps: 0, mbps: 0, sent: 0, skipped: {} };
  draw();
  publisher.open(stream, $('token').value);
  reshape();
});
for (const id of ['size', 'rate', 'quality']) $(id).addEventListener('change', reshape);
for (const id of ['rate', 'quality']) {
  $(id).addEventListener('input', () => ($(`${id}-shown`).textContent = $(id).value));
}
$('camera').addEventListener('click', () => void choose('camera'));
$('screen-source').addEventListener('click', () => void choose('screen'));
// A phone has no screen to give.
$('screen-source').hidden = !navigator.mediaDevices?.getDisplayMedia && !barred();
$('token').value = recall();
$('stream').value = query.get('stream') ?? `cam-${Math.random().toString(36).slice(2, 6)}`;
if (query.has('size')) $('size').value = query.get('size');
if (!$('size').value) $('size').value = '640x480';
if (query.has('fps')) $('rate').value = query.get('fps');
reshape();

const reason = barred();
if (reason) {
  say('bad', reason);
  $('camera').disabled = $('screen-source').disabled = true;
}

// For tests and for the curious: it reads and changes nothing.
window.framebus = Object.freeze({
  stats: () => ({
    phase: publisher.phase,
    said: $('said').textContent,
    sent: publisher.sent,
    held: publisher.held,
    unsent: publisher.unsent,
    missed: shutter.missed,
    reconnects: publisher.reconnects,
    taken: told,
  }),
});
