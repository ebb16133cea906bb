/** <ins-tile>: one small picture, drawn when it comes near the window and freed when it is far away. */

import { h } from "./dom.js";

const watcher = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) target.near = isIntersecting;
}, { rootMargin: "500px" });

class InsTile extends HTMLElement {
  #painter = null;
  #near = false;
  #turn = 0;

  connectedCallback() {
    watcher.observe(this);
  }

  disconnectedCallback() {
    watcher.unobserve(this);
  }

  /** `painter(canvas, width)` draws for a tile of that many CSS pixels; setting it again draws again. */
  set painter(painter) {
    this.#painter = painter;
    if (this.#near) this.#paint();
  }

  set near(near) {
    if (near === this.#near) return;
    this.#near = near;
    if (near) {
      this.#paint();
    } else {
      this.#turn++;
      this.replaceChildren();
      this.dataset.state = "waiting";
    }
  }

  async #paint() {
    const turn = ++this.#turn;
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
      if (turn !== this.#turn) canvas.remove();
    }
    if (turn !== this.#turn) return;
    canvas.hidden = false;
    for (const other of this.querySelectorAll("canvas")) if (other !== canvas) other.remove();
    this.dataset.state = "drawn";
  }
}

customElements.define("ins-tile", InsTile);

/** A tile of the shape [width, height]; `crisp` keeps the cells of a small map square. */
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
 * A sheet of tiles. Each item is {tile, name, note, label, href | onopen}; `name` is the small text below,
 * `note` a value beside it, `label` what a screen reader says.
 */
export function tileGrid(items, { label, small = false } = {}) {
  return h("ul", { class: small ? "tiles small" : "tiles", "aria-label": label }, items.map((item) =>
    h("li", {}, tileButton(item))));
}

function tileButton(item) {
  const content = [
    item.tile,
    h("span", { class: "caption" }, h("span", { class: "unit" }, item.name),
      item.note ? h("span", { class: item.warn ? "note warn" : "note" }, item.note) : null),
  ];
  return item.href
    ? h("a", { class: "tile", href: item.href, "aria-label": item.label, title: item.label }, content)
    : h("button", { class: "tile", type: "button", onclick: item.onopen, "aria-label": item.label, title: item.label },
      content);
}
