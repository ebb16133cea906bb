/** The same units over several images: rows are units, columns are images. */

import { empty, h } from "../dom.js";
import { number, plural } from "../format.js";
import { mapLabel, mapTile, patternIndex, imageTile, seenTile, unitScale } from "../layer.js";
import { growing } from "../growing.js";
import { panel, panelOf } from "../panel.js";
import { scroller } from "../scroller.js";
import { section } from "../section.js";
import { missing, reason, storyLayers, urls } from "../study.js";

const ROWS = 6;
const LAYERS = 2;
const FIRST = 40; // rows of a long table at once

panel({
  name: "compare",
  title: "Comparison",
  order: 40,
  story: { show: compareSection },
  lens: { order: 96, show: comparePanel },
  table({ study, layers }) {
    const done = layers.filter((layer) => layer.compare).length;
    return { computed: done ? plural(done, "layer") : null,
      missing: done ? null : reason(study, "compare", "needs two or more images"), done, left: 0 };
  },
  offer: (study, shown) => (shown.page === "l" ? panelOf("activations")?.offer?.(study, shown) : null),
});

function compareSection({ study, layers }) {
  const compared = bestLayers(storyLayers(study).map((entry) => layers.get(entry.name)).filter((layer) => responding(layer).length));
  const body = compared.length
    ? h("div", { class: `abreast${study.images.length <= 3 ? " pairs" : ""}` },
      compared.map((layer) => h("div", { class: "group" },
      h("h3", {}, h("a", { href: urls.layer(layer.name, { lens: "compare" }) }, layer.name)),
      compareRows(study, layer, ROWS),
      definition(layer),
      h("p", { class: "more" }, h("a", { href: urls.layer(layer.name, { lens: "compare" }) },
        `All ${responding(layer).length} ranked units of ${layer.name} →`)))))
    : [...layers.values()].some((layer) => layer.compare) ? empty(nothing(study.images.length))
    : missing(study, "compare", "A comparison needs at least two images.");
  return section("compare", "Comparison", "Does a unit respond to the same thing in every image?",
    "Each row shows the activation maps of one unit over all images, on one colour scale. Units that respond strongly, "
    + "in a small region, and to similar content in every image come first.",
    body, study.how.compare);
}

/** The ranked units that respond in every image: the score of the others is 0, so they have no order. */
function responding(layer) {
  return (layer.compare?.rank ?? []).filter((entry) => entry.score > 0);
}

function nothing(images) {
  return `No unit responds in all ${images} images to the same thing: compare fewer images, or more similar ones.`;
}

/** The layers whose best unit scores highest, in the order of the network. */
function bestLayers(compared) {
  const best = [...compared].sort((a, b) => b.compare.rank[0].score - a.compare.rank[0].score).slice(0, LAYERS);
  return compared.filter((layer) => best.includes(layer));
}

/** What the score of a comparison measures. */
function definition(layer) {
  return h("details", { class: "how" }, h("summary", {}, "How the score is defined"),
    h("p", {}, layer.compare.definition));
}

/** The best `rows` units of a compared layer. */
function compareRows(study, layer, rows) {
  const { images: ids } = layer.compare;
  const named = ids.map((id) => study.images.find((image) => image.id === id));
  const columns = { "--images": String(ids.length) };
  const row = (entry) => compareRow(study, layer, entry, named);
  const table = h("div", { class: "compare", role: "table", "aria-label": `Units of ${layer.name} over the images`,
    style: columns },
    h("div", { class: "compare-row compare-head", role: "row" },
      h("span", { role: "columnheader", class: "quiet" }, "unit"),
      h("span", { role: "columnheader", class: "quiet" }, layer.patterns ? "pattern" : ""),
      named.map((image) => h("a", { role: "columnheader", href: urls.image(image.id), title: image.name },
        seenTile(study, image.id, image.name), h("span", { class: "clip" }, image.name)))),
    responding(layer).slice(0, Math.min(rows, FIRST)).map(row));
  if (rows > FIRST) growing(table, responding(layer).slice(FIRST, rows), row);
  return scroller(table);
}

function compareRow(study, layer, entry, images) {
  const scale = unitScale(layer, entry.unit, images.map((image) => image.id));
  const pattern = patternIndex(layer, entry.unit);
  return h("div", { class: "compare-row", role: "row" },
    h("a", { class: "compare-unit", role: "rowheader", href: urls.unit(layer.name, entry.unit) },
      h("strong", { class: "tabular" }, `unit ${entry.unit}`),
        h("span", { class: "score tabular" }, `score ${number(entry.score, 2)}`),
      h("span", { class: "quiet" }, entry.reason)),
    h("span", { role: "cell", class: "compare-cell" },
      pattern >= 0 ? imageTile(layer.patterns.sheet, pattern, `pattern of unit ${entry.unit}`) : null),
    images.map((image, i) => h("span", { role: "cell", class: "compare-cell" },
      mapTile(study, layer, entry.unit, image.id,
        { scale, overlay: true, label: mapLabel(layer, entry.unit, image.id, image.name) }),
      h("span", { class: "quiet tabular" }, `strength ${number(entry.strength[i], 2)}`))));
}

function comparePanel(study, layer) {
  if (!layer.compare?.rank.length) return missing(study, "compare",
    "The units of this layer were not compared. A comparison needs at least two images.");
  const ranked = responding(layer).length;
  const others = layer.compare.rank.length - ranked;
  if (!ranked) return [empty(nothing(layer.compare.images.length)), definition(layer)];
  return [compareRows(study, layer, ranked),
    others ? h("p", { class: "quiet" }, `${plural(others, "unit")} with the score 0 ${others === 1 ? "is" : "are"} not shown: not in every image do they respond, or not to the same thing.`) : null,
    definition(layer)];
}
