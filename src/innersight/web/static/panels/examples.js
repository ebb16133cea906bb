/** Examples: crops of scanned images that activate a unit most, to a medium degree, and least. */

import { barList } from "../bars.js";
import { choice, empty, h, hidden, select } from "../dom.js";
import { count, number, percent, plural } from "../format.js";
import { orders, sortUnits } from "../layer.js";
import { panel } from "../panel.js";
import { sheetButton } from "../save.js";
import { drawImage, drawMasked } from "../sheet.js";
import { missing, reason, urls } from "../study.js";
import { tile } from "../tiles.js";

const BANDS = [["top", "Highest"], ["middle", "Intermediate"], ["low", "Lowest"]];
const EXAMPLES = 6; // of a unit, in a saved sheet
const THOUSAND = 1000;

panel({
  name: "examples",
  title: "Examples",
  order: 90,
  lens: { show: examplesPanel },
  unit: [
    { column: "wide", title: "Examples", order: 10, show: exampleBands },
    { column: "half", title: "Classes it responds to", order: 20, show: classHistogram },
  ],
  table({ study, layers }, { each }) {
    const scanned = layers.filter((layer) => layer.scan);
    if (scanned.length) return { computed: `${plural(scanned.length, "layer")}, ${count(scanned[0].scan.images)} scanned images`, missing: null, done: scanned.length, left: 0 };
    const one = each("activations", study.images.length);
    return { computed: null, missing: `a scan of a data set (estimate for ${count(THOUSAND)} images)`, done: 0, left: 0, cost: one === null ? null : one * THOUSAND };
  },
});

/** The rows of a unit's examples with their tiles, by band. */
function unitExamples(layer, unit) {
  const rows = (layer.examples?.rows ?? []).map((row, i) => ({ ...row, i })).filter((row) => row.unit === unit);
  return new Map(BANDS.map(([band]) => [band, rows.filter((row) =>
    (band === "middle" ? typeof row.band === "number" : row.band === band))]));
}

/** The units that have examples. */
function exampleUnits(layer) {
  return [...new Set((layer.examples?.rows ?? []).map((row) => row.unit))];
}

/**
 * The crop of an example; `masked` darkens where the unit does not respond.
 * @param {LayerDocument} layer
 * @param {number} i
 * @param {{masked?: boolean, label?: string | null}} options
 */
function exampleTile(layer, i, { masked = true, label = null } = {}) {
  const { sheet, masks } = /** @type {{sheet: Sheet, masks: Sheet}} */ (layer.examples);
  return tile((canvas) => (masked ? drawMasked(canvas, sheet, masks, i) : drawImage(canvas, sheet, i)), sheet.tile, { label });
}

/** Why a layer or unit has no examples. */
function whyNoExamples(study, layer) {
  if (layer.examples?.why) return `No examples: ${layer.examples.why}.`;
  if (layer.scan) return "Examples are cut out of the scanned images when the study is run again, and only for units that have a pattern.";
  return reason(study, "examples", "No data set was scanned. Run `innersight scan MODEL IMAGES --out STUDY`, then run the study again.");
}

/** All examples of one unit: highest, in between, lowest. */
function exampleBands(study, layer, unit) {
  const bands = unitExamples(layer, unit);
  if (![...bands.values()].some((rows) => rows.length)) return empty(whyNoExamples(study, layer));
  const panel = h("div", { class: "bands" });
  const show = (masked) => panel.replaceChildren(...BANDS.filter(([band]) => bands.get(band).length).map(([band, title]) =>
    h("div", { class: "band" }, h("h3", {}, title), h("ul", { class: "examples" }, bands.get(band).map((row) =>
      h("li", {}, exampleTile(layer, row.i, { masked, label: exampleLabel(row) }), caption(row)))))));
  show(true);
  return [h("div", { class: "toolbar" }, choice("Crops", [["mask", "Darken the rest"], ["plain", "Whole crop"]], "mask",
    (view) => show(view === "mask"))), panel];
}

function caption(row) {
  const share = typeof row.band === "number" ? `, above ${percent(row.band)} of the images` : "";
  return [h("span", { class: "quiet tabular" }, number(row.value), share, row.copies ? `, ${plural(row.copies, "duplicate")}` : ""),
    h("span", { class: "quiet clip", title: row.name }, row.name)];
}

function exampleLabel(row) {
  return `crop of ${row.name}, activation ${number(row.value)}`;
}

/** Which classes activate a unit in the scan, and how selective it is. */
function classHistogram(study, layer, unit) {
  const { scan } = layer;
  if (!scan) return missing(study, "examples", "No data set was scanned. Run `innersight scan MODEL IMAGES --out STUDY`.");
  if (!scan.classes) return empty("The scanned images have no class labels. Put them into one folder per class, named after the classes.");
  const rows = scan.classes[unit] ?? [];
  const found = scan.selectivity;
  const { labels } = study.model;
  if (!rows.length) return empty("The activation maps of this unit are not finite on any scanned image.");
  const known = Number.isFinite(found?.index[unit]) && found.best[unit] >= 0;
  return [
    known ? h("p", { class: "quiet" }, `Most selective for ${labels[found.best[unit]]}: selectivity index ${number(found.index[unit], 2)}`
      + ` (95% interval ${number(found.low[unit], 2)} to ${number(found.high[unit], 2)}); class membership explains `
      + `${percent(found.share[unit])} of the variance of its peaks.`) : null,
    barList("Mean peak activation by class", rows.map(([label, mean, images]) => ({ name: label, value: mean,
      text: `mean ${number(mean)}, ${plural(images, "image")}`, href: urls.class(labels.indexOf(label)) }))),
    h("p", { class: "quiet" }, "Peak activation of the unit, averaged over the scanned images of each class, highest first. The selectivity index is "
      + "(a − b) / (a + b), where a is the highest class mean and b the mean of the other class means."),
  ];
}

function examplesPanel(study, layer, state, change) {
  const known = exampleUnits(layer);
  if (!known.length) return empty(whyNoExamples(study, layer));
  const units = sortUnits(layer, known, state.sort, state.image?.id, "examples");
  return [
    h("div", { class: "toolbar" },
      select("Sort", orders(layer, "examples"), state.sort, (next) => change({ sort: next })),
      sheetButton(() => units.flatMap((unit) => bestExamples(layer, unit)), `${layer.name} examples`, EXAMPLES)),
    h("p", { class: "quiet" }, `For ${count(known.length)} of ${plural(layer.units, "unit")}: crops of the images that activate the unit most, of `
      + `${count(layer.scan.images)} scanned. Dark: the activation is below half of its peak.`),
    h("ul", { class: "example-units" }, units.map((unit) => exampleRow(layer, unit))),
  ];
}

/** The highest examples of a unit as a row of a saved sheet. */
function bestExamples(layer, unit) {
  const rows = (unitExamples(layer, unit).get("top") ?? []).slice(0, EXAMPLES);
  return Array.from({ length: EXAMPLES }, (_, at) => (rows[at] ? { tile: exampleTile(layer, rows[at].i), name: `${unit}: ${number(rows[at].value)}` }
    : { tile: null, name: "" }));
}

function exampleRow(layer, unit) {
  const rows = unitExamples(layer, unit).get("top");
  const address = `${layer.name}:${unit}`;
  return h("li", {}, h("a", { class: "tile example-row", href: urls.unit(layer.name, unit), "data-address": address },
  h("span", { class: "caption" }, h("span", { class: "unit" }, String(unit)),
    rows[0] ? h("span", { class: "note" }, `up to ${number(rows[0].value)}`) : null),
  hidden(`examples of unit ${unit} of ${layer.name}`),
  h("span", { class: "example-tiles" }, rows.map((row) => exampleTile(layer, row.i)))));
}
