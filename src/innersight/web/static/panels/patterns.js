/** The pattern each unit has learned, layer by layer, always beside the unit's maps. */

import { called } from "../annotations.js";
import { h, select } from "../dom.js";
import { dialogPatterns, patternFacts } from "../enlarged.js";
import { count, plural } from "../format.js";
import { growing } from "../growth.js";
import { badFlags, orders, patternIndex, patternNote, imageTile, sortUnits } from "../layer.js";
import { saveAll } from "../lens.js";
import { panel } from "../panel.js";
import { savedTile } from "../save.js";
import { moreLink, section } from "../section.js";
import { deepest, loadLayer, missing, storyLayers, unitCounts, urls } from "../study.js";
import { longGrid, tileGrid } from "../tiles.js";

const UNITS = 24;
const AT_ONCE = 16;

panel({
  name: "patterns",
  title: "Patterns",
  order: 50,
  story: { show: patternsSection },
  lens: { show: patternsPanel },
  unit: { column: "left", title: "Pattern (feature visualization)", show: patternOfUnit },
  table: ({ layers }) => unitCounts(layers, "patterns"),
  offer(study, { page, name, unit }) {
    if (page === "l") return patterns(study, name, unit === undefined ? null : [Number(unit)]);
    return page === "" ? deepest(study, async (_, entry) => {
      const offer = await patterns(study, entry, null);
      return offer && { ...offer, text: `${offer.text} of ${entry}` };
    }) : null;
  },
  async more(study, { page, name, unit }, query) {
    if (page !== "l" || unit !== undefined || query.get("lens") !== "patterns") return null;
    const layer = await loadLayer(study, name);
    const drawn = layer?.patterns?.units.length;
    return drawn && drawn < layer.units ? patterns(study, name, null) : null;
  },
  jobs: { patterns: ({ layer, units }) => (units.length === 1 ? `Pattern of ${layer}:${units[0]}` : `Patterns of ${layer}`) },
});

function patternsSection({ study, layers }) {
  const shown = storyLayers(study).map((entry) => layers.get(entry.name)).filter((layer) => layer.patterns?.units.length);
  const body = shown.length ? shown.map((layer) => h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name, { lens: "patterns" }) }, layer.name),
      h("span", { class: "quiet" }, layer.patterns.units.length < layer.units
        ? ` ${layer.patterns.units.length} of ${plural(layer.units, "unit")}` : ` ${plural(layer.units, "unit")}`)),
    tileGrid(patternItems(study, layer, layer.patterns.units.slice(0, UNITS)), { label: `Patterns of ${layer.name}` }),
    moreLink(layer, UNITS, layer.patterns.units.length, "patterns")))
    : missing(study, "patterns", "No patterns were computed.");
  return section("patterns", "Patterns", "What each unit has learned",
    "A pattern (feature visualization) is a synthetic image optimized to activate one unit as strongly as possible. The factor below it "
    + "is the activation it reaches, divided by the highest activation on an image of this study. Select a pattern to see it with "
    + "the unit's activation maps: a pattern alone can mislead.", body,
      study.how.patterns);
}

/** Patterns of the units named, as items of a grid of tiles that open the dialog. */
function patternItems(study, layer, units) {
  return units.map((_, at) => patternItem(study, layer, units, at));
}

/** The pattern of `units[at]`; its dialog goes through all `units`. */
function patternItem(study, layer, units, at) {
  const { sheet, score } = layer.patterns;
  const unit = units[at];
  const i = patternIndex(layer, unit);
  const flags = badFlags(score[i]);
  return {
    tile: imageTile(sheet, i),
    name: called(`${layer.name}:${unit}`, String(unit)),
    note: flags[0] ?? patternNote(score[i]),
    warn: flags.length > 0,
    label: `pattern of unit ${unit} of ${layer.name}${flags.length ? `: ${flags.join(", ")}` : ""}`,
    address: `${layer.name}:${unit}`,
    onopen: () => dialogPatterns(study, layer, units, at),
  };
}

function patternsPanel(study, layer, state, change) {
  if (!layer.patterns?.units.length) return missing(study, "patterns",
    "No patterns of this layer were computed.");
  const units = sortUnits(layer, layer.patterns.units, state.sort, state.image?.id, "patterns");
  const make = (i) => patternItem(study, layer, units, i);
  return [
    h("div", { class: "toolbar" },
      select("Sort", orders(layer, "patterns"), state.sort, (next) => change({ sort: next })),
      saveAll(units, make, `${layer.name} patterns`)),
    h("p", { class: "quiet" }, `Patterns (feature visualizations) of ${count(units.length)} of ${plural(layer.units, "unit")}: synthetic images `
      + "optimized to activate one unit as strongly as possible. The factor is the activation reached, divided by the highest on an image of this study."),
    longGrid(units.length, make, { label: `Patterns of ${layer.name}` }),
  ];
}

function patternOfUnit(study, layer, unit) {
  const i = patternIndex(layer, unit);
  return i >= 0 ? [savedTile(growing(layer.patterns, i, `pattern of unit ${unit}`), `${layer.name} ${unit} pattern`),
    patternFacts(layer, unit), otherSeeds(layer, unit, i)]
    : missing(study, "patterns", "No pattern of this unit was computed.");
}

function otherSeeds(layer, unit, i) {
  const { others } = layer.patterns;
  if (!others) return h("p", { class: "quiet" }, "The pattern was computed from one random seed only.");
  return [h("h3", {}, others.each > 1 ? "Other seeds" : "Another seed"),
    h("div", { class: "seeds" }, Array.from({ length: others.each }, (_, j) =>
      imageTile(others.sheet, i * others.each + j, `pattern of unit ${unit} from another seed`))),
    h("p", { class: "quiet" }, "The pattern above activates the unit most. What differs between seeds is due to chance.")];
}

async function patterns(study, name, wanted) {
  const layer = study.layers.find((entry) => entry.name === name);
  if (!layer) return null;
  const found = await loadLayer(study, name);
  const drawn = new Set(found?.patterns?.units ?? []);
  const ranked = found?.compare?.rank.map((row) => row.unit) ?? [];
  const order = [...new Set([...ranked, ...Array(layer.units).keys()])].filter((unit) => !drawn.has(unit));
  const units = wanted ?? order.slice(0, AT_ONCE);
  if (!units.length) return null;
  const first = drawn.size ? "more " : "";
  return {
    text: wanted ? "Compute the pattern of this unit" : `Compute ${units.length} ${first}patterns`,
    note: wanted || !drawn.size ? null : `${drawn.size} of ${plural(layer.units, "unit")} have a pattern.`,
    requests: [{ kind: "patterns", layer: name, units }],
    cost: ["patterns", units.length],
  };
}
