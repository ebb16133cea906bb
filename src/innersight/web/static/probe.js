/** Read a map under the pointer or with the arrow keys: the value of a cell and its region of the image. */

import { h } from "./dom.js";
import { number, signed } from "./format.js";

/**
 * Make `host` (an element that covers exactly the map) readable.
 * `read()` gives the map; `image` is the study's entry whose box the map covers; `unit` names the values.
 */
export function probe(host, { read, image, unit, isSigned, label }) {
  const cell = h("span", { class: "cell", hidden: true, "aria-hidden": "true" });
  const output = h("p", { class: "readout", role: "status" });
  let position = /** @type {Position | null} */ (null);

  async function show(next) {
    const map = await read();
    position = [clamp(next[0], map.width), clamp(next[1], map.height)];
    const [x, y] = position;
    const value = map.values[y * map.width + x];
    const percent = (share) => `${100 * share}%`;
    for (const [name, share] of [["left", x / map.width], ["top", y / map.height],
      ["width", 1 / map.width], ["height", 1 / map.height]]) cell.style.setProperty(name, percent(share));
    cell.hidden = false;
    output.textContent = `${(isSigned ? signed : number)(value)} ${unit} at ${regionText(image, map, x, y)}`;
  }

  function leave() {
    position = null;
    cell.hidden = true;
    output.textContent = "";
  }

  const area = h("div", {
    class: "probe", tabindex: "0", role: "application", "aria-roledescription": "map", "aria-label": label,
    onpointermove: async (event) => {
      const bounds = area.getBoundingClientRect();
      const map = await read();
      await show([Math.floor(((event.clientX - bounds.left) / bounds.width) * map.width),
        Math.floor(((event.clientY - bounds.top) / bounds.height) * map.height)]);
    },
    onpointerleave: leave,
    onblur: leave,
    onkeydown: async (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const map = await read();
      const from = position ?? [Math.floor(map.width / 2), Math.floor(map.height / 2)];
      await show(position ? [from[0] + step[0], from[1] + step[1]] : from);
    },
  }, host, cell);
  return { area, output };
}

function regionText(image, map, x, y) {
  const [left, top, right, bottom] = image.box;
  const [w, h] = [(right - left) / map.width, (bottom - top) / map.height];
  const span = (start, length) => `${Math.round(start)}–${Math.round(start + length)}`;
  return `x ${span(left + x * w, w)}, y ${span(top + y * h, h)} px`;
}

function clamp(value, length) {
  return Math.max(0, Math.min(length - 1, value));
}

/** How to read values: shown once per page. */
export function probeHint() {
  return h("span", { class: "quiet" }, "Hover over a map, or focus it and press the arrow keys, to read its values.");
}
