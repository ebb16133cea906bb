/** <ins-tile>: one small image, drawn when it comes near the window and freed when it is far away. */

import { h, hidden } from "./dom.js";
import { pinButton } from "./pins.js";
import { turn } from "./turns.js";

const FEW = 240; // tiles that are all in the page at once

const watcher = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) /** @type {Tile} */ (target).near = isIntersecting;
}, { rootMargin: "500px" });

class InsTile extends HTMLElement {
  #painter = /** @type {(canvas: HTMLCanvasElement, width: number) => unknown} */ (() => {});
  #near = false;
  #held = false;
  #turn = 0;
  #painting = Promise.resolve();

  connectedCallback() {
    watcher.observe(this);
  }

  disconnectedCallback() {
    watcher.unobserve(this);
    this.near = false;
  }

  /** `painter(canvas, width)` draws for a tile of that many CSS pixels; setting it again draws again. */
  set painter(painter) {
    this.#painter = painter;
    if (this.#near || this.#held) this.#painting = this.#paint();
  }

  /** Draw the tile wherever it is and keep it drawn; `release` ends that. */
  async hold() {
    this.#held = true;
    if (!this.#near && this.dataset.state !== "drawn") this.#painting = this.#paint();
    // It may have begun anew meanwhile, because the tile came near.
    for (let last = /** @type {Promise<void> | null} */ (null); last !== this.#painting;) await (last = this.#painting);
  }

  release() {
    this.#held = false;
    if (!this.#near) this.#free();
  }

  /** Draw the same on a canvas of its own, whether or not the tile is near. */
  async drawn(width) {
    const canvas = h("canvas", {});
    await this.#painter(canvas, width);
    return canvas;
  }

  set near(near) {
    if (near === this.#near) return;
    this.#near = near;
    if (near && this.dataset.state !== "drawn") this.#painting = this.#paint();
    if (!near && !this.#held) this.#free();
  }

  #free() {
    this.#turn++;
    this.replaceChildren();
    this.dataset.state = "waiting";
  }

  async #paint() {
    const own = ++this.#turn;
    await turn();
    if (own !== this.#turn || !this.isConnected) return;
    const canvas = h("canvas", { "aria-hidden": "true" });
    const old = this.querySelector("canvas");
    canvas.hidden = Boolean(old);
    this.append(canvas);
    try {
      await this.#painter(canvas, this.clientWidth);
    } catch (error) {
      this.dataset.state = "failed";
      this.title = error.message;
      throw error;
    } finally {
      if (own !== this.#turn) canvas.remove();
    }
    if (own !== this.#turn) return;
    canvas.hidden = false;
    for (const other of this.querySelectorAll("canvas")) if (other !== canvas) other.remove();
    this.dataset.state = "drawn";
  }
}

customElements.define("ins-tile", InsTile);

let whole = false; // whether long grids hold all their tiles

/** Draw every tile of the page, also those that are not in it yet, and keep them until `letGo`; `progress(done, all)`. */
export async function drawEverything(progress) {
  whole = true;
  dispatchEvent(new Event("whole"));
  const tiles = /** @type {InsTile[]} */ ([...document.querySelectorAll("main ins-tile")]);
  let done = 0;
  progress(done, tiles.length);
  await Promise.all(tiles.map(async (one) => {
    await one.hold();
    progress(++done, tiles.length);
  }));
}

/** Keep only what is near the window again. */
export function letGo() {
  whole = false;
  dispatchEvent(new Event("whole"));
  for (const one of /** @type {NodeListOf<InsTile>} */ (document.querySelectorAll("main ins-tile"))) one.release();
}

/**
 * A tile of the shape [width, height]; `crisp` keeps the cells of a small map square.
 * @param {(canvas: HTMLCanvasElement, width: number) => unknown} painter
 * @param {number[]} shape
 * @param {{crisp?: boolean, label?: string | null}} options
 */
export function tile(painter, [width, height], { crisp = false, label = null } = {}) {
  const element = h("ins-tile", {
    class: crisp ? "crisp" : null,
    style: { "aspect-ratio": `${width} / ${height}` },
    role: label ? "img" : null,
    "aria-label": label,
  });
  element.painter = painter;
  return element;
}

/**
 * A sheet of tiles. Each item is {tile, name, note, label, address, href | onopen}; `name` is the small text below,
 * `note` a value beside it, `label` the text for screen readers, `address` what its pin pins.
 */
export function tileGrid(items, options) {
  return longGrid(items.length, (i) => items[i], options);
}

/**
 * The same for any number of tiles: `make(i)` gives item `i`, and only those near the window are in the page.
 * @param {number} count
 * @param {(i: number) => any} make
 * @param {{label?: string, small?: boolean}} options
 */
export function longGrid(count, make, { label, small = false } = {}) {
  const list = h("ul", { class: small ? "tiles small" : "tiles", "aria-label": label });
  const entry = (i) => {
    const item = make(i);
    return h("li", count > FEW ? { "aria-setsize": String(count), "aria-posinset": String(i + 1) } : {}, tileButton(item),
      item.address ? pinButton(item.address, item.address) : null);
  };
  if (count <= FEW) list.append(...Array.from({ length: count }, (_, i) => entry(i)));
  else keepNear(list, count, entry);
  return list;
}

/** Keep only the rows near the window in the list. Tiles are positioned one by one, so that a new one moves no other. */
function keepNear(list, count, entry) {
  const shown = new Map();
  let scheduled = false;
  let tracks = "";
  let pitch = 0;

  function arrange() {
    scheduled = false;
    if (!list.isConnected) return;
    const style = getComputedStyle(list);
    const widths = style.gridTemplateColumns.split(" ").map(parseFloat);
    const step = widths[0] + parseFloat(style.columnGap);
    const put = (element, i) => {
      element.style.setProperty("width", `${widths[0]}px`);
      element.style.setProperty("left", `${(i % widths.length) * step}px`);
      element.style.setProperty("top", `${Math.floor(i / widths.length) * pitch}px`);
    };
    if (tracks !== style.gridTemplateColumns) {
      tracks = style.gridTemplateColumns;
      if (!shown.size) show(0, null);
      const first = list.firstElementChild;
      put(first, 0);
      pitch = first.offsetHeight + parseFloat(style.rowGap);
      list.style.setProperty("height", `${Math.ceil(count / widths.length) * pitch}px`);
      for (const [i, element] of shown) put(element, i);
    }
    const { top } = list.getBoundingClientRect();
    const rows = Math.ceil(count / widths.length);
    const from = whole ? 0 : clamp(Math.floor((-innerHeight / 2 - top) / pitch), rows) * widths.length;
    const to = whole ? count : Math.min(count, (clamp(Math.ceil((1.5 * innerHeight - top) / pitch), rows) + 1) * widths.length);
    for (const [i, element] of shown) {
      if (i >= from && i < to) continue;
      element.remove();
      shown.delete(i);
    }
    let before = null;
    for (let i = to - 1; i >= from; i--) {
      if (!shown.has(i)) put(show(i, before), i);
      before = shown.get(i);
    }
  }

  function show(i, before) {
    const element = entry(i);
    shown.set(i, element);
    list.insertBefore(element, before);
    return element;
  }

  const schedule = () => {
    if (!scheduled) requestAnimationFrame(arrange);
    scheduled = true;
  };
  list.classList.add("placed");
  const life = new AbortController();
  const watching = new ResizeObserver(() => {
    if (list.isConnected) schedule();
    else {
      life.abort();
      watching.disconnect();
    }
  });
  watching.observe(list);
  addEventListener("scroll", schedule, { passive: true, signal: life.signal });
  addEventListener("whole", arrange, { signal: life.signal });
}

function clamp(row, rows) {
  return Math.max(0, Math.min(rows - 1, row));
}

function tileButton(item) {
  const content = [
    item.tile,
    h("span", { class: "caption" }, h("span", { class: "unit" }, item.name),
      item.note ? h("span", { class: item.warn ? "note warn" : "note" }, item.note) : null),
    hidden(item.label),
  ];
  return item.href
    ? h("a", { class: "tile", href: item.href, title: item.label }, content)
    : h("button", { class: "tile", type: "button", onclick: item.onopen, title: item.label }, content);
}
