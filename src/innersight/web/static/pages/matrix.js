/** #/x?units=layer:7,layer2:3&imgs=p0,p2: units by images; hovering over a location shows it in every row at once. */

import { joinAddresses, splitAddresses, unitOf } from "../address.js";
import { called } from "../annotations.js";
import { bothEnds, choice, empty, fill, h } from "../dom.js";
import { number } from "../format.js";
import { mapLabel, mapTile, patternIndex, imageTile, seenTile, unitScale, whyNoUnit } from "../layer.js";
import { gradient } from "../colour.js";
import { crosshair } from "../crosshair.js";
import { imagePins, pinButton, setPins, pins, unitPins } from "../pins.js";
import { register, setQuery } from "../router.js";
import { sheetButton } from "../save.js";
import { scroller } from "../scroller.js";
import { loadLayer, storyLayers, urls } from "../study.js";
import { suggestions } from "../suggest.js";

const IMAGES = 6;

register("/x", async ({ study, query }) => {
  const state = {
    units: splitAddresses(query.get("units")),
    images: splitAddresses(query.get("imgs")),
    view: query.get("view") === "map" ? "map" : "overlay",
  };
  if (!state.units.length) state.units = unitPins();
  if (!state.images.length) state.images = imagePins();
  if (!state.images.length) state.images = study.images.slice(0, IMAGES).map((image) => image.id);
  const layers = new Map();
  for (const name of new Set([...state.units.map((address) => unitOf(address)?.layer),
    ...storyLayers(study).map((entry) => entry.name)])) layers.set(name, name ? await loadLayer(study, name) : null);
  const panel = h("div", {});

  function change(changes) {
    Object.assign(state, changes);
    setQuery({ units: joinAddresses(state.units), imgs: joinAddresses(state.images),
      view: state.view === "map" ? "map" : null });
    show();
  }

  function show() {
    const images = state.images.map((id) => study.images.find((image) => image.id === id)).filter(Boolean);
    const rows = state.units.map((address) => ({ address, ...row(layers, address) }));
    fill(panel,
      rows.length ? [
        h("div", { class: "toolbar" },
          choice("View", [["overlay", "Overlay"], ["map", "Map"]], state.view, (view) => change({ view })),
          picker(study, state, change),
          h("button", { class: "button", type: "button",
            onclick: () => setPins([...pins(), ...state.units, ...state.images]) }, "Pin all shown"),
          sheetButton(() => cellsOf(study, rows, images, state), "side by side", 1 + images.length)),
        matrix(study, rows, images, state, change),
      ] : empty("No units are pinned yet. Pin a unit with the pin on its tile or with the p key, or start with the suggestions below."),
      suggestions(study, layers, state.units, (units) => {
        setPins([...pins(), ...units]);
        change({ units: [...new Set([...state.units, ...units])] });
      }));
  }

  show();
  return {
    title: "Side by side",
    subject: state,
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Pinned units and images"),
        h("h1", {}, "Units side by side"),
        h("p", { class: "lead" }, "Each row shows one unit on one colour scale. Hover over a map, or focus it and press the arrow keys: every row "
          + "shows its activation at that location and its receptive field, the region of the image that the value depends on "
          + "(dashed: all of it; solid: the part with 95% of the gradient energy).")),
      panel),
  };
});

/** {layer, unit} of a row, or {why} when there is nothing to show. */
function row(layers, address) {
  const named = unitOf(address);
  const layer = named ? layers.get(named.layer) : null;
  if (!named) return { why: `${address} is not the address of a unit. Write LAYER:NUMBER.` };
  if (!layer) return { why: `The layer ${named.layer} was not computed.` };
  const why = whyNoUnit(layer, named.unit);
  if (why) return { why };
  return { layer, unit: named.unit };
}

function picker(study, state, change) {
  return h("div", { class: "picker", role: "group", "aria-label": "Images" }, study.images.map((image) => {
    const shown = state.images.includes(image.id);
    return h("button", { type: "button", "aria-pressed": String(shown), title: image.name, "aria-label": image.name,
      onclick: () => change({ images: shown && state.images.length > 1
        ? state.images.filter((id) => id !== image.id) : [...state.images, image.id] }) },
    seenTile(study, image.id));
  }));
}

function matrix(study, rows, images, state, change) {
  const cross = crosshair(study);
  const drop = (address) => change({ units: state.units.filter((one) => one !== address) });
  return [
    scroller(h("div", { class: "matrix", role: "table", "aria-label": "Units by images",
      style: { "--images": String(images.length) } },
    h("div", { class: "matrix-row matrix-head", role: "row" },
      h("span", { role: "columnheader", class: "quiet" }, "unit"),
      images.map((image) => h("div", { role: "columnheader", class: "matrix-image" },
        cross.image(image, seenTile(study, image.id)),
        h("span", { class: "matrix-name" }, h("a", { href: urls.image(image.id), class: "clip", title: image.name },
          bothEnds(image.name)), pinButton(image.id, image.name))))),
    rows.map((entry) => (entry.why ? missingRow(entry, drop) : unitRow(study, entry, images, state, cross, drop))))),
    cross.readout,
  ];
}

/** The matrix as rows of a saved sheet: each unit's pattern, then its maps. */
function cellsOf(study, rows, images, state) {
  const heads = [{ tile: null, name: "" }, ...images.map(({ id, name }) => ({ tile: seenTile(study, id), name }))];
  return [heads, ...rows.filter(({ layer }) => layer).map(({ address, layer, unit }) => {
    const scale = unitScale(layer, unit, images.filter(({ id }) => layer.activations[id]).map(({ id }) => id));
    const at = patternIndex(layer, unit);
    return [{ tile: at >= 0 ? imageTile(layer.patterns.sheet, at) : null, name: address }, ...images.map(({ id }) => (layer.activations[id]
      ? { tile: mapTile(study, layer, unit, id, { scale, overlay: state.view === "overlay" }), name: `up to ${number(layer.activations[id].hi[unit])}` }
      : { tile: null, name: "not computed" }))];
  })].flat();
}

function missingRow({ address, why }, drop) {
  return h("div", { class: "matrix-row", role: "row" },
    h("div", { role: "rowheader" }, h("code", {}, address)),
    h("div", { role: "cell", class: "matrix-missing quiet" }, why, " ",
      h("button", { class: "button", type: "button", onclick: () => drop(address) }, "Remove")));
}

function unitRow(study, { address, layer, unit }, images, state, cross, drop) {
  const known = images.filter((image) => layer.activations[image.id]);
  const scale = unitScale(layer, unit, known.map((image) => image.id));
  const at = patternIndex(layer, unit);
  return h("div", { class: "matrix-row", role: "row", "data-address": address },
    h("div", { role: "rowheader", class: "matrix-side" },
      h("a", { class: "matrix-unit", href: urls.unit(layer.name, unit), title: address },
        h("span", { class: "matrix-pattern" }, at >= 0
          ? imageTile(layer.patterns.sheet, at, `pattern of ${address}`) : null),
        h("strong", { class: "clip", title: layer.name }, bothEnds(layer.name)), h("span", { class: "quiet tabular" }, called(address, `unit ${unit}`))),
      h("span", { class: "matrix-tools" }, pinButton(address, address),
        h("button", { class: "chip-off", type: "button", "aria-label": `Remove ${address}`, onclick: () => drop(address) }, "×")),
      h("span", { class: "matrix-scale quiet tabular" },
        h("span", { class: "bar", style: { background: gradient(scale) }, "aria-hidden": "true" }),
        !scale.limit ? "inactive on these images" : scale.signed ? `±${number(scale.limit, 2)}` : `0 to ${number(scale.limit, 2)}`)),
    images.map((image) => h("div", { role: "cell", class: "matrix-cell" }, layer.activations[image.id]
      ? cross.cell({ address, layer, unit, image }, mapTile(study, layer, unit, image.id, { scale,
        overlay: state.view === "overlay" }), mapLabel(layer, unit, image.id, image.name))
      : h("span", { class: "quiet" }, "no activation map for this image"))));
}
