// The page around the picture: full screen, the controls that fade on a wall, the help, the words over the picture.

import { nowMs } from './clock.js';

const IDLE_MS = 4000;

// toggleFullscreen fills the screen; where a browser has no full screen for pages (iPhones), the page fills itself.
export async function toggleFullscreen(app) {
  const root = document.documentElement;
  const current = document.fullscreenElement ?? document.webkitFullscreenElement;
  try {
    if (current) {
      await (document.exitFullscreen ?? document.webkitExitFullscreen).call(document);
    } else if (root.requestFullscreen) {
      await root.requestFullscreen({ navigationUI: 'hide' });
    } else if (root.webkitRequestFullscreen) {
      root.webkitRequestFullscreen();
    } else {
      app.classList.toggle('immersive');
    }
  } catch {
    app.classList.toggle('immersive');
  }
}

// keepAwake holds a wall's screen on while the picture fills it.
export function keepAwake(app) {
  let lock = null;
  const update = async () => {
    const want = document.fullscreenElement || document.webkitFullscreenElement || app.classList.contains('immersive');
    try {
      if (want && !lock && !document.hidden) {
        lock = await navigator.wakeLock?.request('screen');
        lock?.addEventListener('release', () => (lock = null));
      } else if (!want && lock) {
        await lock.release();
      }
    } catch {
      // Power saving may forbid it; the picture is shown all the same.
    }
  };
  for (const name of ['fullscreenchange', 'webkitfullscreenchange', 'visibilitychange']) {
    document.addEventListener(name, update);
  }
}

// fadeWhenIdle marks the app idle while nobody moves, so that a wall shows the picture alone.
export function fadeWhenIdle(app) {
  let last = nowMs();
  const wake = () => {
    last = nowMs();
    app.classList.remove('idle');
  };
  for (const name of ['pointermove', 'pointerdown', 'keydown', 'focusin', 'wheel']) {
    addEventListener(name, wake, { passive: true });
  }
  setInterval(() => {
    const busy = app.querySelector('.menu:not([hidden])') || app.querySelector(':is(.help, .sheet):not([hidden])');
    if (!busy && nowMs() - last > IDLE_MS) app.classList.add('idle');
  }, 500);
}

export class Help {
  #element;
  #before = null;

  constructor(element) {
    this.#element = element;
    element.addEventListener('click', ({ target }) => {
      if (target === element) this.toggle(false);
    });
    // The rest of the page is inert to the keyboard while the help is open: Tab stays on its one button.
    element.addEventListener('keydown', (event) => {
      if (event.key !== 'Tab') return;
      event.preventDefault();
      element.querySelector('button').focus();
    });
  }

  toggle(open = this.#element.hidden) {
    if (this.#element.hidden === !open) return false;
    this.#element.hidden = !open;
    if (open) {
      this.#before = document.activeElement;
      this.#element.querySelector('button').focus();
    } else {
      this.#before?.focus?.({ preventScroll: true });
    }
    return true;
  }
}

// Banner says over the picture what is wrong with the connection. The seconds that count down are not read aloud.
export class Banner {
  #element;
  #text;
  #count;
  #until = 0;

  constructor(element) {
    this.#element = element;
    this.#text = element.querySelector('.banner-text');
    this.#count = element.querySelector('.banner-count');
  }

  say(text, untilMs = 0, kind = 'wait') {
    this.#element.dataset.kind = kind;
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#until = untilMs;
    this.#element.hidden = !text;
    this.tick();
  }

  tick() {
    const left = this.#until - nowMs();
    this.#count.textContent = this.#until && left > 0 ? `Trying again in ${(left / 1000).toFixed(1)} s` : '';
  }
}

// Toast says a short word that goes by itself.
export class Toast {
  #element;
  #timer = 0;

  constructor(element) {
    this.#element = element;
  }

  say(text, forMs = 3500) {
    this.#element.textContent = text;
    this.#element.hidden = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.#element.hidden = true), forMs);
  }
}
