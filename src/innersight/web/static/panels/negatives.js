/** The inhibiting pattern of a unit, below its pattern. */

import { h, settingsList } from "../dom.js";
import { plural, signed } from "../format.js";
import { imageTile, badFlags, patternIndex } from "../layer.js";
import { panel } from "../panel.js";
import { lacking, offerLacking, unitCounts } from "../study.js";

panel({
  name: "negatives",
  title: "Inhibiting patterns",
  order: 55,
  unit: { column: "left", title: "Inhibiting pattern", heading: "h3", show: negative },
  table: ({ layers }) => unitCounts(layers, "negatives"),
  offer: (study, where) => offerLacking(study, where, "negatives", negatives),
  jobs: { negatives: ({ layer }) => `Inhibiting patterns of ${layer}` },
});

function negative(study, layer, unit) {
  if (patternIndex(layer, unit) < 0) return null;
  const found = layer.negatives;
  const i = found?.units.indexOf(unit) ?? -1;
  if (i < 0) return lacking("negatives", "The inhibiting pattern of this unit was not computed.");
  const score = found.score[i];
  return [h("div", { class: "seeds" }, imageTile(found.sheet, i, `inhibiting pattern of unit ${unit}`)),
    h("p", { class: "quiet" }, `Optimized to inhibit the unit: its activation is ${signed(-score.activation)}`,
      badFlags(score).length ? `; ${badFlags(score).join(", ")}` : "", "."),
    h("details", { class: "how" }, h("summary", {}, "Settings"), settingsList(found.settings))];
}

function negatives(layer, units) {
  const text = units.length === 1 ? "Compute the inhibiting pattern of this unit" : `Compute the inhibiting patterns of ${plural(units.length, "unit")} of ${layer}`;
  return { text, requests: [{ kind: "negatives", layer, units }], cost: ["negatives", units.length] };
}
