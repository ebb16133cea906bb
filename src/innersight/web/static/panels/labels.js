/** Labels of units by a dissection: on their pages, and in the search. */

import { called } from "../annotations.js";
import { h } from "../dom.js";
import { number, plural } from "../format.js";
import { panel } from "../panel.js";
import { getDocument } from "../source.js";
import { lacking, reason, urls } from "../study.js";

panel({
  name: "labels",
  title: "Labels",
  order: 96,
  document: "labels",
  unit: { column: "left", title: "Labels", heading: "h3", order: 55, show: labelsOfUnit },
  table({ study, documents: { labels } }) {
    const sets = labels?.sets ?? [];
    return { computed: sets.length ? sets.map(({ layer, by, rows }) => `${plural(rows.length, "unit")} of ${layer} by ${by}`).join(", ") : null,
      missing: sets.length ? null : reason(study, "labels", "no dissection"), done: 0, left: 0 };
  },
  async found() {
    const sets = /** @type {LabelSet[]} */ ((await getDocument("labels"))?.sets ?? []);
    return sets.flatMap(({ layer, by, rows }) => [...rows].sort((a, b) => b.score - a.score).map(({ unit, label, score }) => ({
      name: called(`${layer}:${unit}`), also: [label], kind: `${label}, ${measure(by)} ${number(score, 2)}`, href: urls.unit(layer, unit) })));
  },
});

function measure(by) {
  return by === "parts" ? "overlap" : "correlation";
}

function labelsOfUnit(study, layer, unit) {
  const place = h("div", {}, h("p", { class: "quiet" }, "…"));
  getDocument("labels").then((document) => {
    const sets = /** @type {LabelSet[]} */ (document?.sets ?? []).filter((set) => set.layer === layer.name);
    const found = sets.flatMap((set) => set.rows.filter((row) => row.unit === unit).map((row) => ({ set, row })));
    place.replaceChildren(...(found.length ? found.map(({ set, row }) => h("p", { title: set.definition }, h("strong", {}, row.label),
      h("span", { class: "quiet" }, ` ${measure(set.by)} ${number(row.score, 2)}${row.interval ? ` (95% interval ${number(row.interval[0], 2)} to ${number(row.interval[1], 2)})` : ""}`
        + `${row.p === null ? "" : `, p = ${number(row.p, 2)}`}, by ${set.by}, ${plural(set.images, "image")}`)))
      : [sets.length ? h("p", { class: "quiet" }, "No part or word labels this unit.") : lacking("labels", "The units of this layer were not labelled: `innersight dissect MODEL FOLDER --masks MASKS --out STUDY`.")]));
  });
  return place;
}
