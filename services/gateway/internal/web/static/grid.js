// A grid that makes the most of its room: as many columns as give the largest tiles that all fit; where they would get
// too small, fewer, and it scrolls.

const LEAST = 150; // px a tile is wide at least

// columns is how many make the largest tiles of an aspect (width ÷ height) in a room.
export function columns(tiles, width, height, aspect, gap) {
  let best = { columns: 1, tile: 0 };
  for (let n = 1; n <= tiles; n++) {
    const rows = Math.ceil(tiles / n);
    const tile = Math.min((width - gap * (n - 1)) / n, ((height - gap * (rows - 1)) / rows) * aspect);
    if (tile > best.tile) best = { columns: n, tile };
  }
  if (best.tile >= LEAST) return best;
  const most = Math.max(1, Math.min(tiles, Math.floor((width + gap) / (LEAST + gap))));
  return { columns: most, tile: Math.floor((width - gap * (most - 1)) / most) };
}

export class Grid {
  onlayout = () => {};
  aspect = 4 / 3;
  #element;
  #timer = 0;

  constructor(element) {
    this.#element = element;
    new ResizeObserver(() => this.layout()).observe(element.parentElement);
  }

  // layout places the tiles at once, and tells when they have been left alone for a moment.
  layout() {
    const box = this.#element.parentElement;
    const style = getComputedStyle(box);
    const inner = (total, a, b) => total - parseFloat(style[a]) - parseFloat(style[b]);
    const width = inner(box.clientWidth, 'paddingLeft', 'paddingRight');
    const height = inner(box.clientHeight, 'paddingTop', 'paddingBottom');
    const gap = parseFloat(getComputedStyle(this.#element).columnGap) || 0;
    const best = columns(this.#element.childElementCount, width, height, this.aspect, gap);
    this.#element.style.gridTemplateColumns = `repeat(${best.columns}, ${Math.max(1, Math.floor(best.tile))}px)`;
    this.#element.style.setProperty('--aspect', String(this.aspect));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.onlayout(), 150);
  }
}
