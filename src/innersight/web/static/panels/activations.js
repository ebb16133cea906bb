/** Activation maps: of the first main layers, of a layer, of a unit over all images, and the strongest on an image. */

import { called } from "../annotations.js";
import { bothEnds, choice, facts, h, select } from "../dom.js";
import { number, plural, size } from "../format.js";
import { layerScale, mapLabel, mapTile, orders, seenTile, silent, sortUnits, unitMap, unitScale, unitsOf } from "../layer.js";
import { legend, ownLegend } from "../legend.js";
import { saveAll } from "../lens.js";
import { panel } from "../panel.js";
import { probe, probeHint } from "../probe.js";
import { saveButton } from "../save.js";
import { moreLink, section } from "../section.js";
import { missing, ownLayers, shownLayers, storyLayers, urls } from "../study.js";
import { longGrid, tileGrid } from "../tiles.js";

const LAYERS = 3;
const UNITS = 64;
const STRONGEST = 16;
const AT_ONCE = 16;

panel({
  name: "activations",
  title: "Activations",
  order: 30,
  story: { show: mapsSection },
  lens: { show: mapsPanel },
  unit: { column: "right", title: "Activation maps", show: mapsOfUnit },
  image: { title: "Units that respond most", order: 90, show: ({ study, image, layers }) =>
    layers.filter((layer) => layer?.activations[image.id]).map((layer) => strongest(study, layer, image)) },
  table({ study }) {
    const done = ownLayers(shownLayers(study)).length;
    const left = ownLayers(study.layers).length - done;
    return { computed: done ? `${plural(done, "layer")}, ${plural(study.images.length, "image")}` : null,
      missing: left ? plural(left, "layer") : null, done, left };
  },
  offer(study, { page, name }) {
    if (page === "l") return maps(study, [name]);
    const left = page === "" ? ownLayers(study.layers).filter(({ document }) => !document).map((layer) => layer.name) : [];
    const first = study.default_layers.filter((own) => left.includes(own));
    return left.length ? maps(study, first.length ? first : left.slice(0, AT_ONCE)) : null;
  },
  more(study, { page, name }) {
    const layer = page === "l" ? study.layers.find((entry) => entry.name === name) : null;
    return layer && !layer.document ? maps(study, [name]) : null;
  },
  jobs: { activations: ({ layer }) => `Activations of ${layer}` },
});

function mapsSection({ study, layers }) {
  const [image] = study.images;
  const shown = storyLayers(study).map((entry) => layers.get(entry.name))
    .filter((layer) => image && layer.activations[image.id] && layer.grid[0] > 1).slice(0, LAYERS);
  const body = shown.length ? shown.map((layer) => layerMaps(study, layer, image))
    : missing(study, "activations", "No activation maps were computed.");
  return section("activations", "Activation maps", "What each unit responds to",
    image ? `An activation map is the output of one unit (channel, filter) at every location of the image; these are for ${image.name}. `
      + "Maps of early layers keep the outlines of the image; maps of deeper layers have few, coarse cells."
      : null, body, study.how.activations);
}

function layerMaps(study, layer, image) {
  const units = unitsOf(layer).filter((unit) => !silent(layer.activations[image.id], unit)).slice(0, UNITS);
  return h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name) }, layer.name),
      h("span", { class: "quiet" }, ` ${plural(layer.units, "unit")}, ${size(layer.grid)} cells`)),
    tileGrid(units.map((unit) => mapItem(study, layer, unit, image)),
      { label: `Activations of ${layer.name}`, small: true }),
    silentUnits(layer, image),
    ownLegend(layer.signed, "activation"),
    moreLink(layer, units.length, unitsOf(layer).length, "activations"));
}

/**
 * One unit's map over an image as an item of a grid of tiles.
 * @param {Study} study
 * @param {LayerDocument} layer
 * @param {number} unit
 * @param {ImageEntry} image
 * @param {{scale?: Scale | null, overlay?: boolean}} options
 */
function mapItem(study, layer, unit, image, { scale = null, overlay = false } = {}) {
  const maps = layer.activations[image.id];
  return {
    tile: mapTile(study, layer, unit, image.id, { scale: scale ?? unitScale(layer, unit, [image.id]), overlay }),
    name: called(`${layer.name}:${unit}`, String(unit)),
    note: number(Math.abs(maps.lo[unit]) > maps.hi[unit] ? maps.lo[unit] : maps.hi[unit], 2),
    label: mapLabel(layer, unit, image.id, image.name),
    href: urls.unit(layer.name, unit),
    address: `${layer.name}:${unit}`,
  };
}

function mapsPanel(study, layer, state, change) {
  const { image } = state;
  if (!image || !layer.activations[image.id]) return missing(study, "activations",
    "The activation maps of this layer were not computed for this image.");
  const units = sortUnits(layer, unitsOf(layer), state.sort, image.id, "activations").filter((unit) => !silent(layer.activations[image.id], unit));
  const scale = state.scale === "shared" ? layerScale(layer, [image.id]) : null;
  const make = (i) => mapItem(study, layer, units[i], image, { scale, overlay: state.overlay });
  return [
    h("div", { class: "toolbar" },
      imagePicker(study, layer, image, (next) => change({ image: next })),
      select("Sort", orders(layer, "activations"), state.sort, (sort) => change({ sort })),
      choice("Scale", [["own", "Scale per unit"], ["shared", "Shared scale"]], state.scale,
        (next) => change({ scale: next })),
      choice("Background", [[false, "Map"], [true, "Overlay"]].map(([value, text]) => [String(value), text]),
        String(state.overlay),
        (overlay) => change({ overlay: overlay === "true" })),
      saveAll(units, make, `${layer.name} maps ${image.name}`)),
    scale ? legend(scale, "activation", `one scale for all units on ${image.name}`)
      : ownLegend(layer.signed, "activation"),
    silentUnits(layer, image),
    longGrid(units.length, make, { label: `Activations of ${layer.name}` }),
  ];
}

/** The units whose map over the image is 0 everywhere, behind their number. */
function silentUnits(layer, image) {
  const units = unitsOf(layer).filter((unit) => silent(layer.activations[image.id], unit));
  const dead = new Set(layer.scan?.dead ?? []);
  return units.length ? h("details", { class: "how silent" }, h("summary", {}, `${plural(units.length, "silent unit")} on this image`),
    h("p", {}, units.map((unit, i) => [i ? ", " : "", h("a", { href: urls.unit(layer.name, unit) }, String(unit)), dead.has(unit) ? " (dead in the scan)" : ""]))) : null;
}

function imagePicker(study, layer, current, choose) {
  const shown = study.images.filter((image) => layer.activations[image.id]);
  return h("div", { class: "picker", role: "group", "aria-label": "Image" }, shown.map((image) =>
    h("button", { type: "button", "aria-pressed": String(image.id === current.id), title: image.name,
      "aria-label": image.name,
      onclick: () => choose(image) }, seenTile(study, image.id))));
}

function mapsOfUnit(study, layer, unit) {
  const images = study.images.filter((image) => layer.activations[image.id]);
  if (!images.length) return missing(study, "activations", "No activation maps were computed.");
  const scale = unitScale(layer, unit, images.map((image) => image.id));
  return [
    legend(scale, "activation", "one scale for all images"),
    h("p", {}, probeHint()),
    h("div", { class: "unit-maps" }, images.map((image) => mapFigure(study, layer, unit, image, scale))),
    h("p", { class: "more" }, h("a", { href: urls.matrix([`${layer.name}:${unit}`], images.map((image) => image.id)) },
      "Compare with other units side by side →")),
  ];
}

function mapFigure(study, layer, unit, image, scale) {
  const maps = layer.activations[image.id];
  const label = mapLabel(layer, unit, image.id, image.name);
  const { area, output } = probe(mapTile(study, layer, unit, image.id, { scale, overlay: true, label }), {
    read: () => unitMap(layer, unit, image.id), image, unit: "activation", isSigned: layer.signed, label });
  return h("figure", { class: "unit-map", "data-address": image.id }, area,
    h("figcaption", {}, h("span", { class: "name-row" }, h("a", { href: urls.image(image.id), class: "clip", title: image.name }, bothEnds(image.name)),
      saveButton(() => area.querySelector("canvas"), `${layer.name} ${unit} ${image.name}`, {
        lines: [`${layer.name}, unit ${unit}: activation map`, image.name], scale, unit: "activation" })), output,
    facts([["highest", number(maps.hi[unit])], ["mean", number(maps.mean[unit])],
      ["lowest", number(maps.lo[unit])]])));
}

function strongest(study, layer, image) {
  const { hi } = layer.activations[image.id];
  const units = unitsOf(layer).filter((unit) => hi[unit] > 0).sort((a, b) => hi[b] - hi[a]).slice(0, STRONGEST);
  return h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name, { image: image.id, sort: "activity" }) }, layer.name)),
    tileGrid(units.map((unit) => mapItem(study, layer, unit, image, { overlay: true })),
      { label: `Units of ${layer.name} that respond most`, small: true }));
}

function maps(study, names) {
  return {
    text: names.length === 1 ? "Compute the activation maps of this layer" : `Compute the activation maps of ${plural(names.length, "layer")}`,
    requests: names.map((layer) => ({ kind: "activations", layer })),
    cost: ["activations", names.length],
  };
}
