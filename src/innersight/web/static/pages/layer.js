/** #/l/LAYER?lens=activations|patterns|examples|weights|compare: all units of a layer. */

import { choice, empty, fill, h, hidden, select } from "../dom.js";
import { exampleTile, exampleUnits, unitExamples, whyNoExamples } from "../examples.js";
import { count, number, plural, size } from "../format.js";
import { layerScale, orders, imageTile, seenTile, sortUnits, unitsOf } from "../layer.js";
import { legend, ownLegend } from "../legend.js";
import { lost, register, setQuery } from "../router.js";
import { sheetButton } from "../save.js";
import { compareRows, definition } from "../sections/compare.js";
import { mapItem } from "../sections/activations.js";
import { patternItem } from "../sections/patterns.js";
import { loadLayer, missing, reason, shownLayers, urls } from "../study.js";
import { longGrid } from "../tiles.js";

const EXAMPLES = 6; // of a unit, in a saved sheet
const LENSES = [["activations", "Activations"], ["patterns", "Patterns"], ["examples", "Examples"], ["weights", "Weights"],
  ["compare", "Compare"]];
const LENS_PANELS = { activations: mapsPanel, patterns: patternsPanel, examples: examplesPanel, weights: weightsPanel,
  compare: comparePanel };

register("/l/:layer", async ({ study, params, query }) => {
  const layer = await loadLayer(study, params.layer);
  if (!layer) return unknownLayer(study, params.layer);
  const state = {
    lens: query.get("lens") in LENS_PANELS ? query.get("lens") : "activations",
    image: study.images.find((image) => image.id === query.get("image")) ?? study.images[0],
    sort: query.get("sort") ?? "number",
    scale: query.get("scale") ?? "own",
    overlay: query.get("overlay") === "1",
  };
  const panel = h("div", { class: "panel" });
  const show = () => fill(panel, LENS_PANELS[state.lens](study, layer, state, change));
  function change(changes) {
    Object.assign(state, changes);
    setQuery({ lens: state.lens, image: state.image?.id ?? null, sort: state.sort, scale: state.scale,
      overlay: state.overlay ? "1" : null });
    show();
    dispatchEvent(new Event("view"));
  }
  show();
  const lenses = choice("What to show", LENSES, state.lens, (lens) => change({ lens }));
  return {
    title: layer.name,
    place: { layer },
    lens: { current: () => state.lens, change: (lens) => lenses.querySelector(`[data-value="${lens}"]`)?.click() },
    body: h("section", { class: "page" },
      layerHead(study, layer),
      h("div", { class: "toolbar" }, lenses),
      panel),
  };
});

/** The page for a layer that does not exist or was not computed. */
export function unknownLayer(study, name) {
  const entry = study.layers.find((layer) => layer.name === name);
  const known = shownLayers(study).map((layer) => layer.name).join(", ");
  return entry
    ? lost(name, `${reason(study, "layer", "")} Computed: ${known}.`, "Nothing was computed for this layer")
    : lost(name, `${study.model.name} has no layer of this name. Computed: ${known}.`);
}

function layerHead(study, layer) {
  const shown = shownLayers(study).map((entry) => entry.name);
  const at = shown.indexOf(layer.name);
  const neighbour = (name, text) => (name
    ? h("a", { class: "icon", href: urls.layer(name), title: name, "aria-label": `${text}: ${name}` },
    text === "Previous layer" ? "←" : "→") : null);
  return h("header", { class: "page-head" },
    h("p", { class: "kicker" }, "Layer"),
    h("div", { class: "title-row" }, h("h1", {}, layer.name),
      h("nav", { "aria-label": "Layers", class: "steps" }, neighbour(shown[at - 1], "Previous layer"),
        neighbour(shown[at + 1], "Next layer"),
        select("Layer", shown.map((name) => [name, name]), layer.name, (name) => {
          location.hash = urls.layer(name);
        }))),
    h("p", { class: "lead" }, `${layer.kind}, ${plural(layer.units, "unit")}, maps of ${size(layer.grid)} cells.`,
      layer.prefix ? ` ${plural(layer.prefix, "token")} of another kind, such as a class token, not shown.` : null,
      layer.field ? ` A place sees ${size(layer.field.size)} px of the network's input, mostly ${size(layer.field.effective)}.`
        : null),
    layer.scan ? h("p", { class: "badges" }, [
      [layer.scan.dead, "dead: positive nowhere on any of", "bad"], [layer.scan.always_on, "always on: positive at every place of", ""],
    ].map(([units, what, kind]) => h("span", { class: units.length ? `badge ${kind}` : "badge" }, `${count(units.length)} ${what} ${count(layer.scan.images)} images`))) : null);
}

function mapsPanel(study, layer, state, change) {
  const { image } = state;
  if (!image || !layer.activations[image.id]) return missing(study, "activations",
    "No maps of this layer were computed for this image.");
  const units = sortUnits(layer, unitsOf(layer), state.sort, image.id, "activations");
  const scale = state.scale === "shared" ? layerScale(layer, [image.id]) : null;
  const make = (i) => mapItem(study, layer, units[i], image, { scale, overlay: state.overlay });
  return [
    h("div", { class: "toolbar" },
      imagePicker(study, layer, image, (next) => change({ image: next })),
      select("Sort", orders(layer, "activations"), state.sort, (sort) => change({ sort })),
      choice("Scale", [["own", "Own scale"], ["shared", "Shared scale"]], state.scale,
        (next) => change({ scale: next })),
      choice("Background", [[false, "Map"], [true, "Over the image"]].map(([value, text]) => [String(value), text]),
        String(state.overlay),
        (overlay) => change({ overlay: overlay === "true" })),
      saveAll(units, make, `${layer.name} maps ${image.name}`)),
    scale ? legend(scale, "activation", `shared by all units over ${image.name}`)
      : ownLegend(layer.signed, "activation"),
    longGrid(units.length, make, { label: `Activations of ${layer.name}` }),
  ];
}

function imagePicker(study, layer, current, choose) {
  const shown = study.images.filter((image) => layer.activations[image.id]);
  return h("div", { class: "picker", role: "group", "aria-label": "Image" }, shown.map((image) =>
    h("button", { type: "button", "aria-pressed": String(image.id === current.id), title: image.name,
      "aria-label": image.name,
      onclick: () => choose(image) }, seenTile(study, image.id))));
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
    units.length < layer.units
      ? h("p", { class: "quiet" }, `Patterns of ${count(units.length)} of ${plural(layer.units, "unit")}.`) : null,
    longGrid(units.length, make, { label: `Patterns of ${layer.name}` }),
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
    h("p", { class: "quiet" }, `What ${count(known.length)} of ${plural(layer.units, "unit")} see of the images that excite `
      + `them most, of ${count(layer.scan.images)} scanned; dark where the unit does not answer.`),
    h("ul", { class: "example-units" }, units.map((unit) => exampleRow(layer, unit))),
  ];
}

/** The highest examples of a unit as a row of a saved sheet. */
function bestExamples(layer, unit) {
  const rows = (unitExamples(layer, unit).get("top") ?? []).slice(0, EXAMPLES);
  return Array.from({ length: EXAMPLES }, (_, at) => (rows[at] ? { tile: exampleTile(layer, rows[at].i), name: `${unit}: ${number(rows[at].value)}` }
    : { tile: null, name: "" }));
}

/** A button that saves a grid of tiles, in its order. */
function saveAll(units, make, name) {
  return sheetButton(() => units.map((_, i) => {
    const { tile, name: own, note } = make(i);
    return { tile, name: [own, note].filter(Boolean).join("  ") };
  }), name);
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

function comparePanel(study, layer) {
  if (!layer.compare?.rank.length) return missing(study, "compare",
    "The units of this layer were not compared; it takes at least two images.");
  return [compareRows(study, layer, layer.compare.rank.length), definition(layer)];
}

function weightsPanel(study, layer) {
  if (!layer.kernels) return missing(study, "weights",
    "Weights are shown only for the layer that sees the image itself: deeper ones have no colours.");
  const make = (unit) => ({
    tile: crispTile(layer.kernels.sheet, unit),
    name: String(unit),
    label: `weights of unit ${unit} of ${layer.name}`,
    href: urls.unit(layer.name, unit),
    address: `${layer.name}:${unit}`,
  });
  const { sheet } = layer.kernels;
  const all = sheet.at ?? [...Array(sheet.count).keys()];
  return [h("div", { class: "toolbar" }, saveAll(all, (i) => make(all[i]), `${layer.name} weights`)),
    longGrid(all.length, (i) => make(all[i]), { label: `Weights of ${layer.name}`, small: true })];
}

function crispTile(sheet, i) {
  const element = imageTile(sheet, i);
  element.classList.add("crisp");
  return element;
}
