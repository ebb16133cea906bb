/** One position of an image in many maps at once: its value, and the receptive field of each layer there. */

import { h } from "./dom.js";
import { boxText, fieldBox, cellBox, putBox } from "./field.js";
import { number, signed } from "./format.js";
import { unitMap } from "./layer.js";

/**
 * Return {cell, image, readout}: makers of the elements that follow the pointer together.
 * @param {Study} study
 */
export function crosshair(study) {
  const cells = [];
  const heads = [];
  let turn = 0;
  const readout = h("p", { class: "readout matrix-readout", role: "status" });

  /** Show the shares [x, y] of `active`'s image in all cells of that image. */
  async function show(active, /** @type {Position} */ share) {
    const own = ++turn;
    const shown = cells.filter((cell) => cell.image.id === active.image.id);
    await Promise.all(shown.map((cell) => cell.read()));
    // The pointer may be elsewhere by now, or gone.
    if (own !== turn) return;
    for (const cell of cells) if (cell.image.id !== active.image.id) cell.clear();
    const values = new Map(shown.map((cell) => [cell, cell.show(share)]));
    const position = positionAt(active.layer, share);
    const whole = fieldBox(active.layer, position, study.model.input);
    const effective = fieldBox(active.layer, position, study.model.input, "effective");
    for (const head of heads) head.show(head.image.id === active.image.id ? [whole, effective] : [null, null]);
    const fieldText = whole && effective ? `; receptive field ${boxText(whole, active.image)}, effective ${boxText(effective, active.image)}` : "";
    readout.textContent = `${active.address} over ${active.image.name}: ${valueText(active.layer, values.get(active))} at `
      + `${boxText(cellBox(active.layer, position), active.image)}${fieldText}`;
  }

  function leave() {
    turn++;
    for (const cell of cells) cell.clear();
    for (const head of heads) head.show([null, null]);
    readout.textContent = "";
  }

  return {
    readout,
    image(image, tile) {
      const boxes = ["whole", "effective"].map((kind) => h("span", { class: `field-box ${kind}`, hidden: true }));
      heads.push({ image, show: (fields) => fields.forEach((field, i) => putBox(boxes[i], field)) });
      return h("div", { class: "crossed" }, tile, boxes);
    },
    cell(entry, tile, label) {
      const made = makeCell(study, entry, tile, label, { show, leave });
      cells.push(made.cell);
      return made.element;
    },
  };
}

function makeCell(study, { address, layer, unit, image }, tile, label, { show, leave }) {
  const marks = ["whole", "effective"].map((kind) => h("span", { class: `field-box ${kind}`, hidden: true }));
  const highlight = h("span", { class: "cell", hidden: true });
  const output = h("span", { class: "matrix-value tabular", "aria-hidden": "true" });
  let map = /** @type {CellMap | null} */ (null);
  let position = /** @type {Position | null} */ (null);
  const cell = {
    address, layer, image,
    async read() {
      map ??= await unitMap(layer, unit, image.id);
    },
    /** Once it was read. */
    show(/** @type {Position} */ share) {
      const { width, values } = /** @type {CellMap} */ (map);
      position = positionAt(layer, share);
      putBox(highlight, cellBox(layer, position));
      putBox(marks[0], fieldBox(layer, position, study.model.input));
      putBox(marks[1], fieldBox(layer, position, study.model.input, "effective"));
      const value = values[position[1] * width + position[0]];
      output.textContent = valueText(layer, value);
      return value;
    },
    clear() {
      position = null;
      for (const mark of [highlight, ...marks]) mark.hidden = true;
      output.textContent = "";
    },
  };
  const area = h("div", { class: "crossed probe", tabindex: "0", role: "application", "aria-roledescription": "map",
    "aria-label": label,
    onpointermove: (event) => {
      const bounds = area.getBoundingClientRect();
      show(cell, [(event.clientX - bounds.left) / bounds.width, (event.clientY - bounds.top) / bounds.height]);
    },
    onpointerleave: leave,
    onblur: leave,
    onkeydown: (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [height, width] = layer.grid;
      const [x, y] = position ? [position[0] + step[0], position[1] + step[1]] : [Math.floor(width / 2), Math.floor(height / 2)];
      show(cell, [(x + 0.5) / width, (y + 0.5) / height]);
    } }, tile, highlight, marks);
  return { cell, element: [area, output] };
}

/**
 * The position [x, y] of the layer's grid at these shares of the image.
 * @param {LayerDocument} layer
 * @param {Position} shares
 * @returns {Position}
 */
function positionAt({ grid: [height, width] }, [x, y]) {
  const inside = (share, length) => Math.max(0, Math.min(length - 1, Math.floor(share * length)));
  return [inside(x, width), inside(y, height)];
}

function valueText(layer, value) {
  return layer.signed ? signed(value) : number(value);
}
