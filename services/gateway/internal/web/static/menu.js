// A button that opens a list beneath it. Choosing, Escape or a touch elsewhere closes it.

export class Menu {
  onopen = () => {};
  #button;
  #list;

  constructor(button, list) {
    this.#button = button;
    this.#list = list;
    button.addEventListener('click', () => this.toggle());
    document.addEventListener('pointerdown', ({ target }) => {
      if (!list.contains(target) && !button.contains(target)) this.toggle(false);
    });
  }

  // toggle tells whether that changed anything.
  toggle(open = this.#list.hidden) {
    if (this.#list.hidden === !open) return false;
    this.#list.hidden = !open;
    this.#button.setAttribute('aria-expanded', String(open));
    if (open) {
      this.onopen();
      const first = this.#list.querySelector('[aria-current]') ?? this.#list.querySelector('button');
      first?.focus({ preventScroll: true });
    } else if (this.#list.contains(document.activeElement)) {
      this.#button.focus({ preventScroll: true });
    }
    return true;
  }
}
