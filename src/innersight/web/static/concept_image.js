/** An image as concepts: its cells in the colours of the strongest ones, what each adds to the score, and what is at a location. */

import { COLOURS, colouredCells, conceptMaps, conceptName, conceptNote, conceptTile, exampleTiles, partsOfScore, restsOn, swatch } from "./concepts.js";
import { called } from "./annotations.js";
import { bothEnds, empty, fill, h } from "./dom.js";
import { boxText, cellBox, putBox } from "./field.js";
import { certainty, number, plural, signed } from "./format.js";
import { patternIndex, seenTile, unitMap, unitsOf } from "./layer.js";
import { saveButton } from "./save.js";
import { drawCells } from "./sheet.js";
import { imageIndex, loadLayer, urls } from "./study.js";
import { unitThumb } from "./thumb.js";
import { tile } from "./tiles.js";

const AT = { concepts: 4, units: 4 }; // listed for a location

/**
 * The figure of an image as the concepts of a set.
 * @param {Study} study
 * @param {ConceptSet} set
 * @param {string} id
 * @param {any} below  what stands below the image
 */
export function conceptImage(study, set, id, below = null) {
  const image = study.images[imageIndex(study, id)];
  const figure = h("figure", { class: "concept-image", "data-address": id, "aria-label": `${image.name} as concepts` });
  Promise.all([loadLayer(study, set.address), loadLayer(study, set.layer)]).then(([own, layer]) =>
    fill(figure, own?.activations[id] ? shown(study, set, image, own, layer, below) : empty("The maps of these concepts were not computed. Run the study again.")));
  return figure;
}

function shown(study, set, image, own, layer, below) {
  const found = set.shown[image.id];
  const parts = partsOfScore(found);
  const maps = conceptMaps(own, found.groups, image.id);
  let only = /** @type {number | null} */ (null);
  const paint = async (canvas, room) => drawCells(canvas, room, {
    cells: colouredCells(await maps, only), seen: study.seen, index: imageIndex(study, image.id), pale: true });
  const element = tile(paint, study.seen.tile, { crisp: true, label: `${image.name}: each cell in the colour of its strongest concept` });
  const isolate = (place) => {
    if (place === only) return;
    only = place;
    element.painter = paint;
  };
  const dictionary = semantic(study, set, image, own, layer, found, element);
  return [
    h("div", { class: "concept-map" }, h("div", { class: "saved" }, dictionary.area, saveButton(() => element.querySelector("canvas"), `${image.name} concepts`)), below),
    dictionary.output,
    h("div", { class: "concept-sum" },
      h("div", { class: "concept-head" }, h("a", { href: urls.image(image.id), title: image.name }, seenTile(study, image.id, image.name)),
        h("div", {}, verdict(study, image, found, set), h("p", { class: "quiet" }, restsOn(set, found)))),
      sum(set, own, parts, isolate)),
  ];
}

/** The prediction in a line, and whether it is right. */
function verdict(study, image, { class: number_, label }, set) {
  const [first] = image.prediction;
  const right = image.truth === null ? null : image.truth === label;
  return h("p", { class: "concept-verdict" }, h("a", { href: urls.class(number_) }, label), " ",
    first?.class === number_ ? h("span", { class: "prediction-value tabular" }, first.probability === null ? `${certainty(first)} ${set.unit}` : certainty(first)) : null,
    right === null ? null : h("span", { class: right ? "badge good" : "badge bad" }, right ? "correct" : `wrong: true class ${image.truth}`));
}

/** The legend, which is a sum: every group, the other concepts, and what is left without any. */
function sum(set, own, parts, isolate) {
  const values = [...parts.groups.map(({ value }) => value), parts.others, parts.rest];
  const text = (value) => (Math.abs(parts.score) < 0.5 ? signed(value) : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`);
  const low = Math.min(0, ...values);
  const span = Math.max(0, ...values) - low || 1;
  const bar = (value, colour) => h("span", { class: "sum-track", "aria-hidden": "true" }, h("span", { class: "sum-fill", style: {
    "margin-left": `${(100 * (Math.min(0, value) - low)) / span}%`, width: `${(100 * Math.abs(value)) / span}%`, background: colour } }));
  const drawn = (concept) => Boolean(own.patterns) && patternIndex(own, concept) >= 0;
  const plain = (name, value) => h("li", { class: "sum-row plain" }, h("span", { class: "sum-name" }, name),
    h("span", { class: "tabular sum-value" }, text(value)), bar(value, "var(--soft)"));
  return [
    h("ol", { class: "sum", "aria-label": "What each concept adds to the score", style: { "--zero": `${(-100 * low) / span}%` } },
      parts.groups.map(({ concept, place, value }) => h("li", { onpointerenter: () => isolate(place), onpointerleave: () => isolate(null),
        onfocusin: () => isolate(place), onfocusout: () => isolate(null) },
      h("a", { class: "sum-row", href: urls.concepts(set.layer, set.name, concept), "data-concept": String(concept) },
        swatch(place), h("span", { class: "sum-tiles" }, drawn(concept) ? [conceptTile(set, own, concept), exampleTiles(set, concept, 1)] : exampleTiles(set, concept, 2)),
        h("span", { class: "sum-name" }, h("strong", {}, conceptName(set, concept)), h("span", { class: "quiet" }, conceptNote(set, concept))),
        h("span", { class: "tabular sum-value" }, text(value)), bar(value, COLOURS[place])))),
      parts.count ? plain(`${plural(parts.count, "other concept")} together`, parts.others) : null,
      plain("without any concept", parts.rest),
      h("li", { class: "sum-row plain total" }, h("span", { class: "sum-name" }, "sum: the score of the class"),
        h("span", { class: "tabular sum-value" }, `${text(parts.score)} ${set.unit}`))),
    h("p", { class: "quiet" }, parts.groups.some(({ concept }) => drawn(concept))
      ? "Beside each name: its pattern, where it was drawn, and its best example; else two examples." : "Beside each name: its two best examples.",
    " Point at a row to see that concept alone."),
  ];
}

/** Semantic dictionary: the concepts and units at the location under the pointer, each with its pattern. */
function semantic(study, set, image, own, layer, found, element) {
  const cell = h("span", { class: "cell", hidden: true, "aria-hidden": "true" });
  const hint = h("p", { class: "quiet" }, "Point at the image, or focus it and press the arrow keys, to see which concepts and units make up a location.");
  const output = h("div", { class: "dictionary", role: "status" }, hint);
  const [height, width] = own.grid;
  let position = /** @type {Position | null} */ (null);
  let all = /** @type {Promise<{unit: number, map: CellMap}[][]> | null} */ (null);

  async function show(/** @type {Position} */ [x, y]) {
    const next = /** @type {Position} */ ([clamp(x, width), clamp(y, height)]);
    if (position && next[0] === position[0] && next[1] === position[1]) return;
    position = next;
    putBox(cell, cellBox(own, position));
    all ??= Promise.all([own, layer].map((from) => readAll(from, image.id)));
    const read = await all;
    if (position !== next) return;
    const at = next[1] * width + next[0];
    const [concepts, units] = read.map((rows, i) => rows.map(({ unit, map }) => ({ unit, value: map.values[at] }))
      .filter(({ value }) => value > 0).sort((a, b) => b.value - a.value).slice(0, i ? AT.units : AT.concepts));
    fill(output, h("p", { class: "quiet tabular" }, `At ${boxText(cellBox(own, position), image)}`),
      list("Concepts", concepts.map(({ unit, value }) => entry(urls.concepts(set.layer, set.name, unit), conceptName(set, unit), value,
        conceptTile(set, own, unit), found.groups.indexOf(unit)))),
      layer ? list(`Units of ${layer.name}`, units.map(({ unit, value }) => entry(urls.unit(layer.name, unit), called(`${layer.name}:${unit}`, String(unit)), value, unitThumb(study, `${layer.name}:${unit}`, image.id), -1))) : null);
  }

  function leave() {
    position = null;
    cell.hidden = true;
    fill(output, hint);
  }

  const point = (event) => {
    const { left, top, width: wide, height: high } = area.getBoundingClientRect();
    return show([Math.floor(((event.clientX - left) / wide) * width), Math.floor(((event.clientY - top) / high) * height)]);
  };
  const area = h("div", { class: "probe", tabindex: "0", role: "application", "aria-roledescription": "map",
    "aria-label": `${image.name} as concepts: the arrow keys read what makes up a location`,
    onpointerdown: point, onpointermove: point,
    // A finger that is lifted leaves what it showed.
    onpointerleave: (event) => event.pointerType === "mouse" && leave(),
    onkeydown: (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      show(position ? [position[0] + step[0], position[1] + step[1]] : [Math.floor(width / 2), Math.floor(height / 2)]);
    } }, element, cell);
  return { area, output };
}

/** All maps of a layer over an image, where they have the same cells as those of the concepts. */
async function readAll(layer, id) {
  if (!layer?.activations[id]) return [];
  return Promise.all(unitsOf(layer).map(async (unit) => ({ unit, map: await unitMap(layer, unit, id) })));
}

function list(title, entries) {
  return entries.length ? h("div", { class: "dictionary-part" }, h("h4", {}, title), h("ul", { class: "dictionary-list" }, entries)) : null;
}

function entry(href, name, value, shown, place) {
  return h("li", {}, h("a", { href, title: name }, shown, h("span", { class: "clip" }, place >= 0 ? swatch(place) : null, bothEnds(name)),
    h("span", { class: "quiet tabular" }, number(value))));
}

function clamp(value, length) {
  return Math.max(0, Math.min(length - 1, value));
}
