/** The inhibiting pattern of a unit, below its pattern. */

import { h, settingsList } from "../dom.js";
import { plural, signed } from "../format.js";
import { imageTile, badFlags, patternIndex } from "../layer.js";
import { panel } from "../panel.js";
import { deepest, lacking } from "../study.js";

const AT_ONCE = 16;

panel({
  name: "negatives",
  title: "Inhibiting patterns",
  order: 55,
  unit: { column: "left", title: "Inhibiting pattern", heading: "h3", show: negative },
  table({ layers }) {
    const done = layers.reduce((sum, layer) => sum + (layer.negatives?.units.length ?? 0), 0);
    const left = layers.reduce((sum, layer) => sum + layer.units, 0) - done;
    return { computed: done ? plural(done, "unit") : null, missing: left ? `${plural(left, "unit")} of the main layers` : null, done, left };
  },
  offer(study, { page, name, unit }) {
    if (page === "l") return unit === undefined ? null : negatives(name, [Number(unit)]);
    return page === "" ? deepest(study, (layer, entry) => {
      const known = new Set(layer?.negatives?.units ?? []);
      const left = (layer?.patterns?.units ?? []).filter((own) => !known.has(own)).slice(0, AT_ONCE);
      return left.length ? negatives(entry, left) : null;
    }) : null;
  },
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
