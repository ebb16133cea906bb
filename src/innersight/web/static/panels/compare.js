/** The same units over several images: rows are units, columns are images. */

import { called } from "../annotations.js";
import { ranked } from "../compared.js";
import { bothEnds, empty, fill, h } from "../dom.js";
import { number, plural } from "../format.js";
import { mapLabel, mapTile, patternIndex, imageTile, seenTile, unitScale } from "../layer.js";
import { growing } from "../growing.js";
import { panel, panelOf } from "../panel.js";
import { setQuery } from "../router.js";
import { scroller } from "../scroller.js";
import { section } from "../section.js";
import { missing, reason, storyLayers, urls } from "../study.js";

const ROWS = 6;
const FIRST_LAYERS = 2; // of the network, beside the deepest with units to show
const FIRST = 40; // rows of a long table at once
const LEAST = 2; // images

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

function compareSection({ study, layers, query }) {
  const compared = storyLayers(study).map((entry) => layers.get(entry.name)).filter((layer) => layer?.compare);
  const title = "Does a unit respond to the same thing in every image?";
  const lead = "Each row shows the activation maps of one unit over all images, on one colour scale. Units that respond strongly, "
    + "in a small region, and to similar content in every image come first.";
  if (!compared.length) {
    return section("compare", "Comparison", title, lead, missing(study, "compare", "A comparison needs at least two images."), study.how.compare);
  }
  const images = compared[0].compare.images;
  const asked = named(query.get("layers")).filter((name) => compared.some((layer) => layer.name === name));
  const state = { layers: asked.length ? asked : firstLayers(compared), images: chosenImages(query, images) };
  const tables = h("div", {});
  const show = () => fill(tables, h("div", { class: `abreast${state.images.length <= 3 ? " pairs" : ""}` },
    compared.filter(({ name }) => state.layers.includes(name)).map((layer) => group(study, layer, state.images))));
  show();
  return section("compare", "Comparison", title, lead, [
    chips("Layers", compared.map(({ name }) => [name, name]), state.layers, 1, (names) => {
      state.layers = names;
      setQuery({ layers: same(names, firstLayers(compared)) ? null : names.join(",") });
      show();
    }),
    imageChips(study, images, state.images, (ids) => {
      state.images = ids;
      show();
    }),
    tables,
  ], study.how.compare);
}

function group(study, layer, ids) {
  const found = responding(layer, ids);
  return h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name, { lens: "compare" }) }, layer.name)),
    found.length ? [compareRows(study, layer, found.slice(0, ROWS), ids), definition(layer),
      h("p", { class: "more" }, h("a", { href: urls.layer(layer.name, { lens: "compare", imgs: ids.length < layer.compare.images.length ? ids.join(",") : null }) },
        `All ${found.length} ranked units of ${layer.name} →`))]
      : empty(nothing(ids.length)));
}

/** The first layers, and the deepest of the others that has units to show. */
function firstLayers(compared) {
  const deep = compared.slice(FIRST_LAYERS).reverse();
  const last = deep.find((layer) => responding(layer, layer.compare.images).length) ?? deep[0];
  return [...compared.slice(0, FIRST_LAYERS), ...(last ? [last] : [])].map(({ name }) => name);
}

/** The ranked units that respond in every image: the score of the others is 0, so they have no order. */
function responding(layer, ids) {
  return ranked(layer, ids).filter((entry) => entry.score > 0);
}

function nothing(images) {
  return `No unit responds in all ${images} images to the same thing: compare fewer images, or more similar ones.`;
}

/** What the score of a comparison measures. */
function definition(layer) {
  return h("details", { class: "how" }, h("summary", {}, "How the score is defined"),
    h("p", {}, layer.compare.definition), h("p", {}, "Over some of the images, the score is made of what was measured of these; the agreement stays relative to the mean over all images."));
}

function named(text) {
  return (text ?? "").split(",").filter(Boolean);
}

function same(one, other) {
  return one.length === other.length && one.every((name, i) => name === other[i]);
}

/** The images that the address names, of those compared; all of them where it names fewer than two. */
function chosenImages(query, images) {
  const asked = named(query.get("imgs")).filter((id) => images.includes(id));
  return asked.length >= LEAST ? images.filter((id) => asked.includes(id)) : images;
}

/** Buttons that take the images of the comparison in and out; nothing where there is no choice. */
function imageChips(study, images, current, onchange) {
  if (images.length <= LEAST) return null;
  const label = (id) => [seenTile(study, id), h("span", { class: "clip" }, bothEnds(study.images.find((image) => image.id === id).name))];
  return chips("Images compared", images.map((id) => [id, label(id)]), current, LEAST, (ids) => {
    setQuery({ imgs: ids.length === images.length ? null : ids.join(",") });
    onchange(ids);
  });
}

/** Buttons of which several are pressed, at least `least` of them, in the order given. */
function chips(label, choices, current, least, onchange) {
  if (choices.length <= least) return null;
  let chosen = current;
  const buttons = choices.map(([value, content]) => h("button", { type: "button", class: "chip", "data-value": value, title: value,
    "aria-pressed": String(chosen.includes(value)), onclick: () => {
      const next = choices.map(([own]) => own).filter((own) => chosen.includes(own) !== (own === value));
      if (next.length < least) return;
      chosen = next;
      for (const button of buttons) button.setAttribute("aria-pressed", String(chosen.includes(button.dataset.value)));
      onchange(chosen);
    } }, content));
  return h("div", { class: "chips", role: "group", "aria-label": label }, h("span", { class: "quiet" }, label), buttons);
}

/** The units given of a compared layer, as rows. */
function compareRows(study, layer, found, ids) {
  const images = ids.map((id) => study.images.find((image) => image.id === id));
  const row = (entry) => compareRow(study, layer, entry, images);
  const table = h("div", { class: "compare", role: "table", "aria-label": `Units of ${layer.name} over the images`,
    style: { "--images": String(ids.length) } },
    h("div", { class: "compare-row compare-head", role: "row" },
      h("span", { role: "columnheader", class: "quiet" }, "unit"),
      h("span", { role: "columnheader", class: "quiet" }, layer.patterns ? "pattern" : ""),
      images.map((image) => h("a", { role: "columnheader", href: urls.image(image.id), title: image.name },
        seenTile(study, image.id, image.name), h("span", { class: "clip" }, bothEnds(image.name))))),
    found.slice(0, FIRST).map(row));
  if (found.length > FIRST) growing(table, found.slice(FIRST), row);
  return scroller(table);
}

function compareRow(study, layer, entry, images) {
  const scale = unitScale(layer, entry.unit, images.map((image) => image.id));
  const pattern = patternIndex(layer, entry.unit);
  return h("div", { class: "compare-row", role: "row" },
    h("a", { class: "compare-unit", role: "rowheader", href: urls.unit(layer.name, entry.unit) },
      h("strong", { class: "tabular" }, called(`${layer.name}:${entry.unit}`, `unit ${entry.unit}`)),
        h("span", { class: "score tabular" }, `score ${number(entry.score, 2)}`),
      h("span", { class: "quiet" }, entry.reason)),
    h("span", { role: "cell", class: "compare-cell" },
      pattern >= 0 ? imageTile(layer.patterns.sheet, pattern, `pattern of unit ${entry.unit}`) : null),
    images.map((image, i) => h("span", { role: "cell", class: "compare-cell" },
      mapTile(study, layer, entry.unit, image.id,
        { scale, overlay: true, label: mapLabel(layer, entry.unit, image.id, image.name) }),
      h("span", { class: "quiet tabular" }, `strength ${number(entry.strength[i], 2)}`))));
}

function comparePanel(study, layer, state, change, query) {
  if (!layer.compare?.rank.length) return missing(study, "compare",
    "The units of this layer were not compared. A comparison needs at least two images.");
  const tables = h("div", {});
  const show = (ids) => {
    const found = responding(layer, ids);
    const others = layer.compare.rank.length - found.length;
    fill(tables, found.length ? compareRows(study, layer, found, ids) : empty(nothing(ids.length)),
      found.length && others ? h("p", { class: "quiet" }, `${plural(others, "unit")} with the score 0 ${others === 1 ? "is" : "are"} not shown: not in every image do they respond, or not to the same thing, or to the padding at the border.`) : null,
      definition(layer));
  };
  const current = chosenImages(query, layer.compare.images);
  show(current);
  return [imageChips(study, layer.compare.images, current, show), tables];
}
