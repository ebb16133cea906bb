/** What there is, what is missing and what it would cost, from the times that the study took; dead units by layer. */

import { h } from "../dom.js";
import { count, plural, seconds, size } from "../format.js";
import { mapTile, patternIndex, imageTile, unitScale, unitsOf } from "../layer.js";
import { reason, shownLayers, urls } from "../study.js";

const THOUSAND = 1000;
/** What an app can compute from here. */
const OFFERED = new Set(["activations", "patterns", "class", "negatives", "connections", "ablation"]);

/** A strip of the story's layers: what its best unit looks like, and how many units say nothing or too much. */
export function layerStrip(study, layers) {
  return h("ol", { class: "layer-strip", "aria-label": "Layers of the story" }, [...layers.values()].map((layer) =>
    h("li", {}, h("a", { href: urls.layer(layer.name) }, h("span", { class: "layer-thumb" }, thumb(study, layer)),
      h("strong", { class: "clip" }, layer.name),
      h("span", { class: "quiet" }, `${plural(layer.units, "unit")}, ${size(layer.grid)}`)),
    health(study, layer).map(({ text, bad }) => h("span", { class: bad ? "quiet bad-text" : "quiet" }, text)))));
}

function thumb(study, layer) {
  const first = study.images.find((image) => layer.activations[image.id]);
  const best = layer.compare?.rank[0]?.unit ?? layer.patterns?.units[0] ?? unitsOf(layer)[0];
  const at = patternIndex(layer, best);
  if (at >= 0) return imageTile(layer.patterns.sheet, at);
  return first ? mapTile(study, layer, best, first.id, { scale: unitScale(layer, best, [first.id]) }) : null;
}

/** Dead and saturated units, from the scan where there is one, else from the images and patterns of the study. */
function health(study, layer) {
  const found = [];
  if (layer.scan) {
    found.push({ text: `${count(layer.scan.dead.length)} dead, ${count(layer.scan.always_on.length)} always on, in `
      + `${count(layer.scan.images)} images`, bad: layer.scan.dead.length > 0 });
  } else {
    const maps = Object.values(layer.activations);
    const silent = maps.length ? maps[0].hi.filter((_, unit) => maps.every((of) => !(of.hi[unit] > 0))).length : 0;
    if (maps.length) found.push({ text: `${count(silent)} silent on ${plural(maps.length, "image")}`, bad: silent > 0 });
  }
  for (const flag of ["dead", "saturated"]) {
    const flagged = (layer.patterns?.score ?? []).filter((score) => score.flags.includes(flag)).length;
    if (flagged) found.push({ text: `${plural(flagged, "pattern")} ${flag}`, bad: true });
  }
  return found;
}

/** A table of everything a study can hold; `documents` are those of the study that are no layers: heatmaps, train, classes, trust. */
export function computedTable(study, layers, documents) {
  const rows = holdings(study, [...layers.values()], documents);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What is computed" }, h("table", { class: "computed" },
    h("thead", {}, h("tr", {}, ["", "There is", "It took", "Missing", "It would take about"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map(({ what, title, there, took, missing, cost }) => h("tr", { "data-what": what },
      h("th", { scope: "row" }, title), h("td", {}, there), h("td", { class: "tabular" }, took === null ? "" : seconds(took)),
      h("td", {}, missing),
      h("td", { class: "tabular" }, cost === null ? "" : seconds(cost),
        missing === "nothing" || !OFFERED.has(what) ? null : h("span", { class: "in-table", "data-missing": what })))))));
}

function holdings(study, layers, { heatmaps, train, classes, trust }) {
  const spent = (kind) => {
    const parts = study.timing.filter(({ what }) => what === kind || what.startsWith(`${kind}/`));
    return parts.length ? parts.reduce((sum, part) => sum + (part.seconds ?? 0), 0) : null;
  };
  const each = (kind, amount) => (amount && spent(kind) !== null ? spent(kind) / amount : null);
  const times = (one, amount) => (one === null || !amount ? null : one * amount);
  const shown = shownLayers(study).length;
  const others = study.layers.length - shown;
  const drawn = layers.reduce((sum, layer) => sum + (layer.patterns?.units.length ?? 0), 0);
  const undrawn = layers.reduce((sum, layer) => sum + layer.units, 0) - drawn;
  const compared = layers.filter((layer) => layer.compare).length;
  const ablated = layers.filter((layer) => layer.ablation).length;
  const scanned = layers.filter((layer) => layer.scan);
  const gridded = layers.filter((layer) => layer.grid[0] * layer.grid[1] > 1).length;
  const methods = Object.keys(heatmaps?.methods ?? {}).length;
  const told = classes?.patterns?.classes.length ?? 0;
  const untold = study.model.labels.length - told;
  const negated = layers.reduce((sum, layer) => sum + (layer.patterns?.negatives?.units.length ?? 0), 0);
  const linked = layers.reduce((sum, layer) => sum + (layer.connections?.units.length ?? 0), 0);
  const units = layers.reduce((sum, layer) => sum + layer.units, 0);
  return [
    { what: "activations", title: "Activation maps", there: shown ? `${plural(shown, "layer")}, ${plural(study.images.length, "image")}` : "none",
      took: spent("activations"), missing: others ? `${plural(others, "layer")}` : "nothing", cost: times(each("activations", shown), others) },
    { what: "compare", title: "Comparison", there: compared ? plural(compared, "layer") : "none", took: spent("compare"),
      missing: compared ? "nothing" : reason(study, "compare", "It takes two images."), cost: null },
    { what: "patterns", title: "Patterns", there: drawn ? plural(drawn, "unit") : "none", took: spent("patterns"),
      missing: undrawn ? `${plural(undrawn, "unit")} of these layers` : "nothing", cost: times(each("patterns", drawn), undrawn) },
    { what: "heatmaps", title: "Heatmaps", there: methods ? `${plural(methods, "method")}` : "none", took: spent("heatmaps"),
      missing: methods ? `${plural(Object.keys(study.methods ?? {}).length - methods, "other method")}, each from an image's page` : reason(study, "heatmaps", "None were asked for."),
      cost: null },
    { what: "class", title: "Patterns of classes", there: told ? plural(told, "class", "classes") : "none", took: spent("classes"),
      missing: untold ? plural(untold, "class", "classes") : "nothing", cost: times(each("classes", told), untold) },
    { what: "negatives", title: "What switches units off", there: negated ? plural(negated, "unit") : "none", took: spent("negatives"),
      missing: negated < units ? `${plural(units - negated, "unit")} of these layers` : "nothing", cost: times(each("negatives", negated), units - negated) },
    { what: "ablation", title: "Switching units off", there: ablated ? plural(ablated, "layer") : "none", took: spent("ablation"),
      missing: gridded > ablated ? plural(gridded - ablated, "layer") : "nothing", cost: times(each("ablation", ablated), gridded - ablated) },
    { what: "connections", title: "Connections", there: linked ? plural(linked, "unit") : "none", took: spent("connections"),
      missing: linked < units ? `${plural(units - linked, "unit")} of these layers` : "nothing", cost: times(each("connections", linked), units - linked) },
    { what: "trust", title: "Trust in heatmaps", there: trust ? `${plural(trust.images, "image")}` : "none", took: spent("trust"),
      missing: trust ? "nothing" : reason(study, "trust", "It was not measured."), cost: null },
    { what: "examples", title: "Examples", there: scanned.length ? `${plural(scanned.length, "layer")} over ${count(scanned[0].scan.images)} images` : "none",
      took: spent("examples"), missing: scanned.length ? "nothing" : `a scan of a data set, for ${count(THOUSAND)} images`,
      cost: scanned.length ? null : times(each("activations", study.images.length), THOUSAND) },
    { what: "training", title: "Training", there: train ? "its record" : "none", took: null,
      missing: train ? "nothing" : reason(study, "train", "No record of it."), cost: null },
  ];
}
