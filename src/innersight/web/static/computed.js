/** What a study contains, what was not computed, and estimates of the time from the times measured; dead units by layer. */

import { bothEnds, h } from "./dom.js";
import { count, plural, seconds, size } from "./format.js";
import { mapTile, patternIndex, imageTile, unitScale, unitsOf } from "./layer.js";
import { roughly } from "./offering.js";
import { allPanels } from "./panel.js";
import { scroller } from "./scroller.js";
import { urls } from "./study.js";

/** The main layers: the pattern of the best unit, and how many units are dead or always active. */
export function layerStrip(study, layers) {
  return h("ol", { class: "layer-strip", "aria-label": "Main layers" }, [...layers.values()].map((layer) =>
    h("li", {}, h("a", { href: urls.layer(layer.name) }, h("span", { class: "layer-thumb" }, thumb(study, layer)),
      h("strong", { class: "clip", title: layer.name }, bothEnds(layer.name)),
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
    found.push({ text: `${count(layer.scan.dead.length)} dead, ${count(layer.scan.always_active.length)} always active in `
      + `${count(layer.scan.images)} scanned images`, bad: layer.scan.dead.length > 0 });
  } else {
    const maps = Object.values(layer.activations);
    const inactive = maps.length ? maps[0].hi.filter((_, unit) => maps.every((of) => !(of.hi[unit] > 0))).length : 0;
    if (maps.length) found.push({ text: `${count(inactive)} inactive on ${plural(maps.length, "image")}`, bad: inactive > 0 });
  }
  for (const flag of ["dead", "saturated"]) {
    const flagged = (layer.patterns?.score ?? []).filter((score) => score.flags.includes(flag)).length;
    if (flagged) found.push({ text: `${plural(flagged, "pattern")} flagged ${flag}`, bad: true });
  }
  return found;
}

/** A table of everything a study can hold; `shown` is {study, layers, documents} as the story's panels are given it. */
export function computedTable({ study, layers, documents }) {
  const spent = (kind) => study.timing.find(({ what }) => what === kind)?.seconds ?? null;
  const each = (kind, amount) => (amount && spent(kind) !== null ? spent(kind) / amount : null);
  const shown = { study, layers: [...layers.values()], documents };
  const rows = allPanels().flatMap((own) => (own.table ? [{ own, row: own.table(shown, { each }) }] : []));
  return scroller(h("table", { class: "computed" },
    h("thead", {}, h("tr", {}, ["Panel", "Computed", "Time taken", "Not computed", "Estimated time"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map(({ own, row }) => {
      const took = spent(own.name);
      const one = each(own.name, row.done);
      const cost = row.cost ?? (one === null || !row.left ? null : one * row.left);
      return h("tr", { "data-what": own.name },
        h("th", { scope: "row" }, row.title ?? own.title), h("td", {}, row.computed ?? "none"),
        h("td", { class: "tabular" }, took === null ? "" : seconds(took)), h("td", {}, row.missing ?? "nothing"),
        h("td", { class: "tabular" }, cost === null ? "" : `${roughly(cost)} for all`,
          row.left > 0 && own.offer ? h("span", { class: "in-table", "data-missing": own.name }) : null));
    }))), "What this study contains");
}
