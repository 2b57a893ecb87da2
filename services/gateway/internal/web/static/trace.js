// The trace of a frame: opened where traces are kept, which the gateway's hello tells, or drawn here. Only one frame a
// second is traced; where the one that somebody saw is not, the newest before it is, or else the next one is asked for.

import { nowMs } from './clock.js';
import { HopsBar } from './hops.js';
import { Sheet } from './sheet.js';
import { isTraced } from './shown.js';
import { Waterfall } from './waterfall.js';

const ASK_EVERY_MS = 1100; // the gateway hears one a second from a viewer
const ASKS = 5;
const LOOK_EVERY_MS = 400;
const LOOK_MS = 3000; // the last span of a frame ends a second after it, and is told of a moment later

export class Trace {
  // hello.trace_ui: a URL of elsewhere, or a path of the gateway's with the spans as JSON; '' where traces are not kept.
  ui = '';
  viewer = ''; // hello.viewer
  #ask;
  #shown;
  #sheet;
  #host;
  #title;
  #about;
  #said;
  #link;
  #bar;
  #waterfall;
  #seen = null; // the frame that was clicked, null where the next one was asked for
  #waits = null; // { asked, timer } while a traced frame is waited for
  #opened = ''; // the id of the trace that is shown

  // ask has the next frame traced; shown knows what was painted.
  constructor(host, { ask, shown }) {
    this.#ask = ask;
    this.#shown = shown;
    this.#host = host;
    this.#sheet = new Sheet(host);
    this.#sheet.onclose = () => this.#forget();
    this.#title = host.querySelector('h2');
    this.#about = host.querySelector('.trace-about');
    this.#said = host.querySelector('.trace-said');
    this.#link = host.querySelector('.trace-link');
    this.#bar = new HopsBar(host.querySelector('.sheet-hops'), 'Where its time went');
    this.#waterfall = new Waterfall(host);
  }

  // inspect shows where a frame's time went and opens its trace, or the nearest.
  inspect(frame) {
    this.#forget();
    this.#seen = frame;
    this.#head(frame);
    this.#sheet.toggle(true);
    const traced = this.#shown.traced(frame);
    if (traced) this.#open(traced);
    else if (this.ui) this.#wait('This frame is not traced, and none of the two seconds before it.');
    else this.#say('This frame is not traced. Ask for the next one (t).');
  }

  // next has the next frame traced and opens it.
  next() {
    this.#forget();
    this.#title.textContent = 'The next frame';
    this.#about.textContent = '';
    this.#bar.draw(null);
    this.#sheet.toggle(true);
    this.#wait('');
  }

  // painted is told of every frame that is on the screen now.
  painted(frame) {
    if (!this.#waits || !isTraced(frame)) return;
    this.#stopWaiting();
    if (!this.#seen) this.#head(frame);
    this.#open(frame);
  }

  #head(frame) {
    this.#title.textContent = `Frame ${frame.sequence}`;
    const time = new Date(frame.capturedUs / 1000);
    const of = `${frame.width}×${frame.height} Q${frame.quality}`;
    this.#about.textContent = `captured ${time.toLocaleTimeString([], { hour12: false })}.` +
      `${String(time.getMilliseconds()).padStart(3, '0')} · ${of}`;
    this.#bar.draw(frame);
    this.#host.dataset.seen = frame.sequence;
  }

  #open(traced) {
    const id = traced.traceId;
    this.#opened = id;
    [this.#host.dataset.trace, this.#host.dataset.traced] = [id, traced.sequence];
    this.#say(which(this.#seen, traced));
    if (this.ui.startsWith('/api/')) {
      void this.#load(new URL(this.ui.slice(1).replaceAll('{trace_id}', id), document.baseURI), id);
    } else if (/^https?:/.test(this.ui)) {
      const url = this.ui.replaceAll('{trace_id}', id);
      this.#link.href = url;
      this.#link.hidden = false;
      // A browser may forbid it, after a long wait for one: the link is there.
      const tab = window.open(url, '_blank');
      if (tab) tab.opener = null;
    } else {
      this.#say(`${which(this.#seen, traced)} Its trace is ${id}; FRAMEBUS_TRACE_UI would open it here.`);
    }
  }

  #wait(why) {
    this.#say(`${why} Waiting for the next one…`.trim());
    const waits = { asked: 0 };
    const ask = () => {
      if (waits.asked++ < ASKS) {
        this.#ask();
        return;
      }
      clearInterval(waits.timer);
      this.#say('No traced frame has come. Does the capture trace? OTEL_EXPORTER_OTLP_ENDPOINT switches it on, ' +
        'and OTEL_TRACES_SAMPLER may overrule what is asked for here.');
    };
    waits.timer = setInterval(ask, ASK_EVERY_MS);
    this.#waits = waits; // one that comes after we gave up is shown all the same
    ask();
  }

  #stopWaiting() {
    clearInterval(this.#waits?.timer);
    this.#waits = null;
  }

  async #load(url, id) {
    const untilMs = nowMs() + LOOK_MS;
    let known = false;
    for (;;) {
      const answer = await look(url);
      if (id !== this.#opened) return; // another one is shown by now, or none
      if (answer.trace) {
        this.#waterfall.viewer = this.viewer;
        this.#waterfall.draw(answer.trace);
        this.#host.classList.add('with-spans');
        known = true;
      }
      if (nowMs() > untilMs) {
        if (!known) this.#say(answer.error);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  #say(text) {
    this.#said.textContent = text;
  }

  #forget() {
    this.#stopWaiting();
    this.#seen = null;
    this.#opened = '';
    this.#link.hidden = true;
    this.#host.classList.remove('with-spans');
    this.#waterfall.clear();
    for (const name of ['seen', 'trace', 'traced']) delete this.#host.dataset[name];
  }
}

// which says what is shown of a frame that was seen, null where none was.
export function which(seen, traced) {
  if (!seen || seen === traced) return 'This very frame is traced.';
  const apart = `${(Math.abs(traced.paintedMs - seen.paintedMs) / 1000).toFixed(1)} s`;
  return traced.paintedMs <= seen.paintedMs
    ? `This frame is not traced: the trace is of frame ${traced.sequence}, ${apart} before.`
    : `This frame is not traced: the trace is of frame ${traced.sequence}, ${apart} after.`;
}

async function look(url) {
  try {
    const answer = await fetch(url, { cache: 'no-store' });
    const body = await answer.json();
    return answer.ok ? { trace: body } : { error: [body.error, body.hint].filter(Boolean).join('. ') };
  } catch {
    return { error: 'The trace could not be fetched.' };
  }
}
