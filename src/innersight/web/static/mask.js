/** A brush over what the network sees: cells that are hidden. */

import { choice, h } from "./dom.js";
import { pen } from "./sheet.js";

const CELLS = 32; // on the longer side
const SIZES = [["1", "Small"], ["3", "Medium"], ["6", "Large"]];

/**
 * The cells over a tile. `rows()` gives them as texts of 0 and 1, none where nothing is hidden; `onchange` is called with every change.
 * @param {{height: number, width: number}} input
 * @param {HTMLElement} below
 * @param {() => void} onchange
 */
export function mask({ height, width }, below, onchange) {
  const longer = Math.max(height, width);
  const [down, across] = [height, width].map((side) => Math.max(1, Math.round((CELLS * side) / longer)));
  const hidden = new Uint8Array(down * across);
  const canvas = h("canvas", { width: String(across), height: String(down), "aria-hidden": "true" });
  const cursor = h("span", { class: "cell", hidden: true });
  let size = 3;
  let erasing = false;
  let at = /** @type {Position | null} */ (null);

  function draw() {
    const brush = pen(canvas);
    brush.clearRect(0, 0, across, down);
    brush.fillStyle = "rgb(20 20 30 / 82%)";
    hidden.forEach((value, i) => value && brush.fillRect(i % across, Math.floor(i / across), 1, 1));
  }

  /** Hide, or show again, the square of the brush's size around a cell. */
  function paint(x, y) {
    const before = (size - 1) / 2;
    let any = false;
    for (let row = Math.max(0, Math.ceil(y - before)); row <= Math.min(down - 1, y + before); row++) {
      for (let column = Math.max(0, Math.ceil(x - before)); column <= Math.min(across - 1, x + before); column++) {
        const i = row * across + column;
        any ||= hidden[i] === Number(erasing);
        hidden[i] = Number(!erasing);
      }
    }
    if (!any) return;
    draw();
    onchange();
  }

  function point(event) {
    const { left, top, width: wide, height: high } = area.getBoundingClientRect();
    const clamp = (value, count) => Math.max(0, Math.min(count - 1, Math.floor(value * count)));
    paint(clamp((event.clientX - left) / wide, across), clamp((event.clientY - top) / high, down));
  }

  function move(x, y) {
    at = [Math.max(0, Math.min(across - 1, x)), Math.max(0, Math.min(down - 1, y))];
    cursor.hidden = false;
    cursor.style.setProperty("left", `${(100 * at[0]) / across}%`);
    cursor.style.setProperty("top", `${(100 * at[1]) / down}%`);
    cursor.style.setProperty("width", `${100 / across}%`);
    cursor.style.setProperty("height", `${100 / down}%`);
  }

  const area = h("div", { class: "brush", tabindex: "0", role: "application", "aria-roledescription": "brush",
    "aria-label": "Brush over what the network sees: the arrow keys move it, space hides",
    onpointerdown: (event) => {
      area.setPointerCapture(event.pointerId);
      point(event);
    },
    onpointermove: (event) => event.buttons && point(event),
    onblur: () => {
      cursor.hidden = true;
    },
    onkeydown: (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      const [x, y] = at ?? [Math.floor(across / 2), Math.floor(down / 2)];
      if (step) move(x + step[0] * size, y + step[1] * size);
      else {
        move(x, y);
        paint(x, y);
      }
    } }, below, canvas, cursor);
  return {
    element: area,
    tools: [h("span", { class: "quiet" }, "brush"), choice("Brush", SIZES, String(size), (next) => {
      size = Number(next);
    }), choice("Brush does", [["hide", "Hide"], ["show", "Show again"]], "hide", (next) => {
      erasing = next === "show";
    })],
    clear() {
      hidden.fill(0);
      draw();
    },
    rows: () => (hidden.some(Boolean) ? Array.from({ length: down }, (_, row) => [...hidden.subarray(row * across, (row + 1) * across)].join("")) : []),
  };
}
