/** #/x?units=layer:7,layer2:3&imgs=p0,p2: units by pictures; pointing at a place shows it in every row at once. */

import { joinAddresses, splitAddresses, unitOf } from "../address.js";
import { choice, empty, fill, h } from "../dom.js";
import { number } from "../format.js";
import { mapLabel, mapTile, patternIndex, pictureTile, seenTile, unitScale, whyNoUnit } from "../layer.js";
import { gradient } from "../colour.js";
import { crosshair } from "../crosshair.js";
import { picturePins, pinButton, setPins, pins, unitPins } from "../pins.js";
import { register, setQuery } from "../router.js";
import { sheetButton } from "../save.js";
import { loadLayer, storyLayers, urls } from "../study.js";
import { suggestions } from "../suggest.js";

const PICTURES = 6;

register("/x", async ({ study, query }) => {
  const state = {
    units: splitAddresses(query.get("units")),
    pictures: splitAddresses(query.get("imgs")),
    view: query.get("view") === "map" ? "map" : "overlay",
  };
  if (!state.units.length) state.units = unitPins();
  if (!state.pictures.length) state.pictures = picturePins();
  if (!state.pictures.length) state.pictures = study.pictures.slice(0, PICTURES).map((picture) => picture.id);
  const layers = new Map();
  for (const name of new Set([...state.units.map((address) => unitOf(address)?.layer),
    ...storyLayers(study).map((entry) => entry.name)])) layers.set(name, name ? await loadLayer(study, name) : null);
  const panel = h("div", {});

  function change(changes) {
    Object.assign(state, changes);
    setQuery({ units: joinAddresses(state.units), imgs: joinAddresses(state.pictures),
      view: state.view === "map" ? "map" : null });
    show();
  }

  function show() {
    const pictures = state.pictures.map((id) => study.pictures.find((picture) => picture.id === id)).filter(Boolean);
    const rows = state.units.map((address) => ({ address, ...row(layers, address) }));
    fill(panel,
      rows.length ? [
        h("div", { class: "toolbar" },
          choice("View", [["overlay", "Over the picture"], ["map", "Map"]], state.view, (view) => change({ view })),
          picker(study, state, change),
          h("button", { class: "button", type: "button",
            onclick: () => setPins([...pins(), ...state.units, ...state.pictures]) }, "Pin all of these"),
          sheetButton(() => cellsOf(study, rows, pictures, state), "side by side", 1 + pictures.length)),
        matrix(study, rows, pictures, state, change),
      ] : empty("No unit is pinned yet. Pin units with p or the pin on a tile, or start with those below."),
      suggestions(study, layers, state.units, (units) => {
        setPins([...pins(), ...units]);
        change({ units: [...new Set([...state.units, ...units])] });
      }));
  }

  show();
  return {
    title: "Side by side",
    place: state,
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Side by side"),
        h("h1", {}, "The same units, on the same pictures"),
        h("p", { class: "lead" }, "One row is one unit, on one scale. Point at a place, or use the arrow keys on a map: every row shows "
          + "its value there, and what it sees.")),
      panel),
  };
});

/** {layer, unit} of a row, or {why} when there is nothing to show. */
function row(layers, address) {
  const named = unitOf(address);
  const layer = named ? layers.get(named.layer) : null;
  if (!named) return { why: `${address} is no unit: write LAYER:NUMBER.` };
  if (!layer) return { why: `Nothing was computed for the layer ${named.layer}.` };
  const why = whyNoUnit(layer, named.unit);
  if (why) return { why };
  return { layer, unit: named.unit };
}

function picker(study, state, change) {
  return h("div", { class: "picker", role: "group", "aria-label": "Pictures" }, study.pictures.map((picture) => {
    const shown = state.pictures.includes(picture.id);
    return h("button", { type: "button", "aria-pressed": String(shown), title: picture.name, "aria-label": picture.name,
      onclick: () => change({ pictures: shown && state.pictures.length > 1
        ? state.pictures.filter((id) => id !== picture.id) : [...state.pictures, picture.id] }) },
    seenTile(study, picture.id));
  }));
}

function matrix(study, rows, pictures, state, change) {
  const cross = crosshair(study);
  const drop = (address) => change({ units: state.units.filter((one) => one !== address) });
  return [
    h("div", { class: "scroll" }, h("div", { class: "matrix", role: "table", "aria-label": "Units by pictures",
      style: { "--pictures": String(pictures.length) } },
    h("div", { class: "matrix-row matrix-head", role: "row" },
      h("span", { role: "columnheader", class: "quiet" }, "unit"),
      pictures.map((picture) => h("div", { role: "columnheader", class: "matrix-picture" },
        cross.picture(picture, seenTile(study, picture.id)),
        h("span", { class: "matrix-name" }, h("a", { href: urls.picture(picture.id), class: "clip", title: picture.name },
          picture.name), pinButton(picture.id, picture.name))))),
    rows.map((entry) => (entry.why ? missingRow(entry, drop) : unitRow(study, entry, pictures, state, cross, drop))))),
    cross.readout,
  ];
}

/** The matrix as rows of a saved sheet: each unit's pattern, then its maps. */
function cellsOf(study, rows, pictures, state) {
  const heads = [{ tile: null, name: "" }, ...pictures.map(({ id, name }) => ({ tile: seenTile(study, id), name }))];
  return [heads, ...rows.filter(({ layer }) => layer).map(({ address, layer, unit }) => {
    const scale = unitScale(layer, unit, pictures.filter(({ id }) => layer.maps[id]).map(({ id }) => id));
    const at = patternIndex(layer, unit);
    return [{ tile: at >= 0 ? pictureTile(layer.patterns.sheet, at) : null, name: address }, ...pictures.map(({ id }) => (layer.maps[id]
      ? { tile: mapTile(study, layer, unit, id, { scale, overlay: state.view === "overlay" }), name: `up to ${number(layer.maps[id].hi[unit])}` }
      : { tile: null, name: "no map" }))];
  })].flat();
}

function missingRow({ address, why }, drop) {
  return h("div", { class: "matrix-row", role: "row" },
    h("div", { role: "rowheader" }, h("code", {}, address)),
    h("div", { role: "cell", class: "matrix-why quiet" }, why, " ",
      h("button", { class: "button", type: "button", onclick: () => drop(address) }, "Take it out")));
}

function unitRow(study, { address, layer, unit }, pictures, state, cross, drop) {
  const known = pictures.filter((picture) => layer.maps[picture.id]);
  const scale = unitScale(layer, unit, known.map((picture) => picture.id));
  const at = patternIndex(layer, unit);
  return h("div", { class: "matrix-row", role: "row", "data-address": address },
    h("div", { role: "rowheader", class: "matrix-side" },
      h("a", { class: "matrix-unit", href: urls.unit(layer.name, unit), title: address },
        h("span", { class: "matrix-pattern" }, at >= 0
          ? pictureTile(layer.patterns.sheet, at, `pattern of ${address}`) : null),
        h("strong", { class: "clip" }, layer.name), h("span", { class: "quiet tabular" }, `unit ${unit}`)),
      h("span", { class: "matrix-tools" }, pinButton(address, address),
        h("button", { class: "chip-off", type: "button", "aria-label": `Take ${address} out`, onclick: () => drop(address) }, "×")),
      h("span", { class: "matrix-scale quiet tabular" },
        h("span", { class: "bar", style: { background: gradient(scale) }, "aria-hidden": "true" }),
        !scale.limit ? "silent on these" : scale.signed ? `±${number(scale.limit, 2)}` : `0 to ${number(scale.limit, 2)}`)),
    pictures.map((picture) => h("div", { role: "cell", class: "matrix-cell" }, layer.maps[picture.id]
      ? cross.cell({ address, layer, unit, picture }, mapTile(study, layer, unit, picture.id, { scale,
        overlay: state.view === "overlay" }), mapLabel(layer, unit, picture.id, picture.name))
      : h("span", { class: "quiet" }, "no map of this picture"))));
}
