// The wiring: socket → stats → painter → overlay. Every part is a module of its own; this one knows them all.

import { Banner, Help, Toast, fadeWhenIdle, keepAwake, toggleFullscreen } from './chrome.js';
import { eventMs, nowMs, nowUs } from './clock.js';
import { Connection } from './connection.js';
import { sentence } from './dom.js';
import { FLAG_UNSYNCED, FORMAT_JPEG, RUNGS, decode } from './envelope.js';
import { HOPS, HopsBar } from './hops.js';
import { bind } from './keys.js';
import { Ledger } from './ledger.js';
import { Overlay } from './overlay.js';
import { Painter } from './painter.js';
import { Plots } from './plots.js';
import { Recorder } from './recorder.js';
import { Reports } from './reports.js';
import { AUTO, Rung } from './rung.js';
import { closeSheet } from './sheet.js';
import { Stats } from './stats.js';
import { readStrip } from './strip.js';
import { Streams, chosenStream } from './streams.js';
import { Trace } from './trace.js';

const DRAW_MS = 250; // the overlay and `painted`: four times a second
const STALE_MS = 2500;
const RUNG_TOAST_MS = 1800;

const $ = (id) => document.getElementById(id);
const app = $('app');
const stats = new Stats();
const connection = new Connection();
const painter = new Painter($('screen'), new URLSearchParams(location.search).get('painter'));
const overlay = new Overlay($('overlay'), $('pill'));
const bar = new HopsBar($('hops'), 'Newest frame', () => bar.frame && trace.inspect(bar.frame));
const plots = new Plots($('plots'));
const streams = new Streams($('stream-button'), $('stream-menu'));
const rung = new Rung($('rung-button'), $('rung-menu'), { field: $('rung'), told: $('rung-why') });
const help = new Help($('help'));
const banner = new Banner($('banner'));
const toast = new Toast($('toast'));
const reports = new Reports(connection, stats);
const trace = new Trace($('trace'), {
  ask: () => connection.send({ traceNext: { stream } }),
  shown: stats.shown,
});
const recorder = new Recorder(document.querySelector('[data-action="record"]'), $('recording'));
const ledger = new Ledger($('ledger'), () => stream);

let hello = null;
let stream = chosenStream(); // the one that is asked for, then the one that is shown
let phase = { phase: 'connecting' };
let slate = ''; // why the source gives no pictures
let lastSelect = '';
let warned = false;
let fresh = false; // a picture of this connection is on the canvas
let wasStale = false;

connection.onstate = (state) => {
  phase = state;
  app.dataset.phase = state.phase;
  if (state.phase === 'open') {
    stats.restart(nowMs());
    hello = null;
    reports.restart();
    lastSelect = '';
    rung.forget();
    slate = '';
    fresh = false;
    updateStale(0);
  }
  say();
};

// updateStale dims the picture while it is none of this connection, or an old one.
function updateStale(silenceMs) {
  const stale = Boolean(stats.newest) && (!fresh || silenceMs > STALE_MS);
  if (stale === wasStale) return;
  wasStale = stale;
  app.classList.toggle('stale', stale);
  say();
}

function say() {
  if (phase.phase === 'waiting') banner.say(waiting(phase), phase.untilMs, phase.refused ? 'refused' : 'lost');
  else if (phase.phase === 'connecting') banner.say(phase.attempt > 1 ? 'Reconnecting…' : 'Connecting…');
  else if (slate) banner.say(slate, 0, 'slate');
  else if (!fresh || wasStale) banner.say('Waiting for a picture…');
  else banner.say('');
}

// waiting tells why there is no connection and, where that may lie in what this page asks for, what to do.
function waiting({ why, status }) {
  return status === 404 && stream ? `${why}. Choose another, or wait until it comes` : why;
}

connection.onpicture = (buffer, arrivedMs) => {
  let frame;
  try {
    frame = decode(buffer);
  } catch (err) {
    malformed(err);
    return;
  }
  if (frame.format !== FORMAT_JPEG || frame.bytes === 0) return;
  const name = channelName(frame.channel);
  if (stream && name && name !== stream) return;
  if (name && !stream) shows(name);
  const number = stats.take(frame, arrivedMs, buffer.byteLength);
  if (number) recorder.take(frame, buffer);
  // A hidden page takes pictures off the socket, so that nothing waits for it, and shows none.
  if (number && frame.stale) reports.passed(frame);
  else if (number && !document.hidden) painter.put({ number, buffer, start: frame.start });
};

function channelName(number) {
  return hello?.channels?.find((c) => (c.channel ?? 0) === number)?.stream ?? '';
}

function shows(name) {
  stream = name;
  streams.current(name);
  document.title = `${name} · framebus`;
  painter.label(`Live picture of ${name}`);
}

function malformed(err) {
  stats.totals.malformed++;
  if (!warned) console.warn('framebus: a message is not a picture:', err.message);
  warned = true;
}

painter.onpaint = (report) => {
  const frame = stats.paint(report, connection.clock.best(nowUs()));
  if (report.error && !warned) console.warn('framebus: a picture cannot be shown:', report.error);
  if (report.error) warned = true;
  if (!frame) return;
  if (!fresh || wasStale) {
    fresh = true;
    app.classList.add('shown');
    updateStale(0);
    painter.label(`Live picture of ${stream || 'the stream'}`);
    say();
  }
  reports.painted(frame);
  trace.painted(frame);
};

connection.onmessage = (message) => {
  if (message.hello) {
    hello = message.hello;
    trace.ui = hello.traceUi ?? '';
    trace.viewer = hello.viewer ?? '';
    stats.peers.gateway = hello.gateway ?? '';
    const known = hello.channels ?? [];
    if (!stream && known.length) shows(known[0].stream);
    else if (stream) shows(stream);
    tellSelect();
    streams.refresh();
  } else if (message.stats) {
    if (!message.stats.stream || message.stats.stream === stream) stats.hear(message.stats);
  } else if (message.notice) {
    notice(message.notice);
  } else if (message.echo) {
    connection.send({ echo: message.echo }); // a ping that no proxy answers
  } else if (message.bye) {
    banner.say(sentence(message.bye.reason || 'the gateway says goodbye'), 0, 'lost');
  }
};

function notice(said) {
  const { kind, text, state, stream: of } = said;
  if (of && stream && of !== stream) return;
  if (kind === 'paint') {
    reports.every = true;
  } else if (kind === 'state') {
    const out = state && state !== 'STREAM_STATE_LIVE';
    slate = out ? sentence(text || 'the source gives no pictures') : '';
    say();
  } else if (kind === 'rung' || kind === 'quality') {
    // The quality follows the connection all the time: a word over the picture for each change would be a nuisance.
    if (rung.hear(said)) toast.say(rung.why, RUNG_TOAST_MS);
  } else if (kind !== 'malformed' && text) {
    toast.say(text);
  }
}

// select tells the gateway the rung that was chosen, how large the picture is shown and whether anybody sees it: all of
// it every time, so that nothing hangs on what was said before.
function tellSelect() {
  if (!connection.isOpen || !hello) return;
  const hidden = document.hidden && !recorder.isOn;
  const select = { stream, rung: rung.chosen, ...viewport(), ...(hidden && { hidden }) };
  const text = JSON.stringify(select);
  if (text !== lastSelect && connection.send({ select })) lastSelect = text;
}

function viewport() {
  const box = $('screen').getBoundingClientRect();
  const dots = window.devicePixelRatio || 1;
  return { width: Math.max(1, Math.round(box.width * dots)), height: Math.max(1, Math.round(box.height * dots)) };
}

// room is how wide the picture could be drawn, in the screen's own dots.
function room() {
  const { width, height } = viewport();
  const { newest } = stats;
  return newest ? Math.min(width, (height * newest.width) / newest.height) : width;
}

function numbers() {
  const { totals } = stats;
  const now = stats.now(nowMs(), { open: connection.isOpen, room: room() });
  const rttUs = connection.clock.rttUs();
  return {
    ...now,
    open: connection.isOpen,
    rttMs: rttUs === null ? (stats.server?.rttMs ?? null) : rttUs / 1000,
    reconnects: connection.reconnects,
    skippedFrames: totals.skipped,
    superseded: totals.superseded,
    failed: totals.failed,
  };
}

setInterval(() => {
  if (document.hidden) return;
  reports.tell();
  const now = numbers();
  overlay.draw(now);
  rung.draw(stats.newest?.rung ?? null);
  plots.sample(nowMs(), now, !connection.isOpen || now.silenceMs > STALE_MS);
  bar.draw(stats.newest);
  recorder.draw();
  $('unsynced').hidden = !(stats.newest && stats.newest.flags & FLAG_UNSYNCED);
  banner.tick();
  updateStale(now.silenceMs);
}, DRAW_MS);

document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    painter.drop();
  } else {
    stats.resume(nowMs());
    connection.woke();
  }
  tellSelect();
});

let resized = 0;
new ResizeObserver(() => {
  clearTimeout(resized);
  resized = setTimeout(tellSelect, 300);
}).observe($('screen'));

streams.onlist = (list) => {
  document.querySelector('[data-action="next"]').hidden = list.length < 2;
};

streams.onchoose = (name) => {
  painter.drop();
  stats.restart(nowMs());
  stats.forget();
  closeSheet();
  recorder.stop();
  fresh = false;
  app.classList.remove('shown');
  rung.forget();
  plots.forget();
  shows(name);
  connection.open(name);
};

rung.onchoose = (name) => {
  connection.rung = name === AUTO ? '' : name;
  rung.draw(stats.newest?.rung ?? null);
  tellSelect();
};

async function snapshot() {
  const shown = await painter.jpeg();
  if (!shown) {
    toast.say('There is no picture yet');
    return;
  }
  const taken = stats.newest ? new Date(stats.newest.capturedUs / 1000) : new Date();
  save(shown.blob, `${stream || 'framebus'}-${taken.toISOString().replace(/:/g, '-')}.jpg`);
}

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  toast.say(`Saved ${name}`);
}

recorder.onend = ({ file, name }) => {
  tellSelect();
  if (file) save(file, name);
  else toast.say('Nothing was recorded: no picture came');
};

function showOverlay(on) {
  app.classList.toggle('bare', !on);
  for (const button of document.querySelectorAll('[data-action="overlay"]')) {
    button.setAttribute('aria-pressed', String(on));
  }
  try {
    localStorage.setItem('framebus.overlay', on ? 'on' : 'off');
  } catch {
    // Private windows may forbid it; the choice then lasts as long as the page.
  }
}

function overlayWanted() {
  try {
    return localStorage.getItem('framebus.overlay') !== 'off';
  } catch {
    return true;
  }
}

bind({
  overlay: () => showOverlay(app.classList.contains('bare')),
  fullscreen: () => void toggleFullscreen(app),
  snapshot: () => void snapshot(),
  record: () => (recorder.isOn ? recorder.stop() : recorder.start(stream)),
  next: () => streams.next(),
  plots: () => plots.toggle(),
  auto: () => rung.choose(AUTO),
  full: () => rung.choose('full'),
  half: () => rung.choose('half'),
  quarter: () => rung.choose('quarter'),
  help: () => void help.toggle(),
  retry: () => connection.now(),
  trace: () => trace.next(),
  ledger: () => void ledger.toggle(),
  close: () => help.toggle(false) || closeSheet() || streams.toggle(false) || rung.toggle(false),
});
// A click on the picture opens where its time went. One that only closes a menu does not.
let closing = false;
addEventListener('pointerdown', () => (closing = Boolean(document.querySelector('.menu:not([hidden])'))), true);
$('screen').addEventListener('click', (event) => {
  const frame = stats.shown.at(eventMs(event));
  if (frame && !closing) trace.inspect(frame);
});
showOverlay(overlayWanted());
fadeWhenIdle(app);
keepAwake(app);
streams.current(stream);
streams.refresh();
connection.rung = rung.chosen === AUTO ? '' : rung.chosen;
connection.open(stream);

// For tests and for the curious; docs/protocol.md describes it. It reads and changes nothing.
window.framebus = Object.freeze({
  get state() {
    return phase.phase;
  },
  get painter() {
    return painter.kind;
  },
  stats() {
    const now = numbers();
    const { newest, totals } = stats;
    const clock = connection.clock.best(nowUs());
    return {
      phase: phase.phase,
      why: phase.why ?? '',
      stream,
      viewer: hello?.viewer ?? '',
      gateway: hello?.gateway ?? '',
      ...now,
      rung: RUNGS[now.rung],
      chosenRung: rung.chosen,
      rungWhy: rung.why,
      totals: { ...totals },
      clock: clock && { offsetMs: clock.offsetUs / 1000, uncertaintyMs: clock.uncertaintyUs / 1000 },
      hops: newest?.line ? HOPS.map(({ name }, i) => ({ name, ms: newest.line.ms[i] })) : [],
      frame: newest && {
        epoch: newest.epoch,
        sequence: newest.sequence,
        capturedUs: newest.capturedUs,
        paintedUs: Math.round(1000 * newest.paintedMs),
        traceId: newest.traceId,
      },
      server: stats.server,
    };
  },
  // pixels resolves to { width, height, data } of the canvas, RGBA, or null before the first picture.
  async pixels() {
    const shown = await painter.pixels();
    return shown && { width: shown.image.width, height: shown.image.height, data: shown.image.data };
  },
  // readStrip decodes the latency strip from the canvas: { us, nowUs }, nowUs being this moment by the gateway's clock.
  // us is null where the picture has no strip; it resolves to null before the first picture.
  async readStrip() {
    const shown = await painter.pixels();
    if (!shown) return null;
    const now = nowUs() + (connection.clock.best(nowUs())?.offsetUs ?? 0);
    return { us: readStrip(shown.image, now), nowUs: Math.round(now) };
  },
});
