// A sheet lies over a part of the page and tells more. Only one is open at a time; Escape or its cross closes it, and
// what had the keyboard gets it back.

let opened = null;

export class Sheet {
  onclose = () => {};
  #element;
  #before = null;

  constructor(element) {
    this.#element = element;
    element.querySelector('.sheet-close').addEventListener('click', () => this.toggle(false));
  }

  get isOpen() {
    return !this.#element.hidden;
  }

  // toggle tells whether that changed anything.
  toggle(open = this.#element.hidden) {
    if (this.isOpen === open) return false;
    if (open) {
      opened?.toggle(false);
      opened = this;
      this.#before = document.activeElement;
      this.#element.hidden = false;
      this.#element.focus({ preventScroll: true });
    } else {
      opened = null;
      const focused = this.#element.contains(document.activeElement);
      this.#element.hidden = true;
      if (focused) this.#before?.focus?.({ preventScroll: true });
      this.onclose();
    }
    return true;
  }
}

// closeSheet closes the one that is open, and tells whether there was one.
export function closeSheet() {
  return opened?.toggle(false) ?? false;
}
