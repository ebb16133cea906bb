/** Examples: what units see of the images of a scan that excite them most, by degrees, and least. */

import { choice, empty, h } from "./dom.js";
import { number, percent } from "./format.js";
import { drawImage, pen, readMap } from "./sheet.js";
import { reason } from "./study.js";
import { tile } from "./tiles.js";

const BANDS = [["top", "Highest"], ["middle", "In between"], ["low", "Lowest"]];

/** The rows of a unit's examples with their tiles, by band. */
export function unitExamples(layer, unit) {
  const rows = (layer.examples?.rows ?? []).map((row, i) => ({ ...row, i })).filter((row) => row.unit === unit);
  return new Map(BANDS.map(([band]) => [band, rows.filter((row) =>
    (band === "middle" ? typeof row.band === "number" : row.band === band))]));
}

/** The units that have examples. */
export function exampleUnits(layer) {
  return [...new Set((layer.examples?.rows ?? []).map((row) => row.unit))];
}

/**
 * The crop of an example; `masked` darkens what the unit does not answer to.
 * @param {LayerDocument} layer
 * @param {number} i
 * @param {{masked?: boolean, label?: string | null}} options
 */
export function exampleTile(layer, i, { masked = true, label = null } = {}) {
  const { sheet, masks } = /** @type {{sheet: Sheet, masks: Sheet}} */ (layer.examples);
  return tile(async (canvas) => {
    const mask = masked ? await readMap(masks, i, 0, 1) : null;
    await drawImage(canvas, sheet, i);
    if (mask) darken(canvas, mask);
  }, sheet.tile, { label });
}

/** Why a layer or unit has no examples. */
export function whyNoExamples(study, layer) {
  if (layer.examples?.why) return `No examples: ${layer.examples.why}.`;
  if (layer.scan) return "The scan's examples are cut out when the study runs again: only for units whose pattern is drawn.";
  return reason(study, "examples", "No data set was scanned: `innersight scan MODEL IMAGES --out STUDY`, then run the study again.");
}

/** All examples of one unit: highest, in between, lowest. */
export function exampleBands(study, layer, unit) {
  const bands = unitExamples(layer, unit);
  if (![...bands.values()].some((rows) => rows.length)) return empty(whyNoExamples(study, layer));
  const panel = h("div", { class: "bands" });
  const show = (masked) => panel.replaceChildren(...BANDS.filter(([band]) => bands.get(band).length).map(([band, title]) =>
    h("div", { class: "band" }, h("h3", {}, title), h("ul", { class: "examples" }, bands.get(band).map((row) =>
      h("li", {}, exampleTile(layer, row.i, { masked, label: exampleLabel(row) }), caption(row)))))));
  show(true);
  return [h("div", { class: "toolbar" }, choice("Crops", [["mask", "Where it answers"], ["plain", "Plain"]], "mask",
    (view) => show(view === "mask"))), panel];
}

function caption(row) {
  const share = typeof row.band === "number" ? `, ${percent(row.band)} are lower` : "";
  return [h("span", { class: "quiet tabular" }, number(row.value), share, row.copies ? `, ${row.copies} alike` : ""),
    h("span", { class: "quiet clip", title: row.name }, row.name)];
}

function exampleLabel(row) {
  return `part of ${row.name} on which the unit reaches ${number(row.value)}`;
}

/** Below half of the peak the crop fades into the dark. */
function darken(canvas, mask) {
  const shade = new ImageData(mask.width, mask.height);
  mask.values.forEach((value, i) => {
    shade.data[4 * i + 3] = 178 * (1 - Math.min(1, value / 0.5));
  });
  const cells = document.createElement("canvas");
  cells.width = mask.width;
  cells.height = mask.height;
  pen(cells).putImageData(shade, 0, 0);
  pen(canvas).drawImage(cells, 0, 0, canvas.width, canvas.height);
}
