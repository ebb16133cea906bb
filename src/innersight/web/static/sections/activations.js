/** The maps of the first layers: every unit over the first image. */

import { h } from "../dom.js";
import { number, plural, size } from "../format.js";
import { mapLabel, mapTile, unitScale, unitsOf } from "../layer.js";
import { ownLegend } from "../legend.js";
import { section } from "../section.js";
import { missing, storyLayers, urls } from "../study.js";
import { tileGrid } from "../tiles.js";
import { moreLink } from "./model.js";

const LAYERS = 3;
const UNITS = 64;

export function mapsSection(study, layers) {
  const [image] = study.images;
  const shown = storyLayers(study).map((entry) => layers.get(entry.name))
    .filter((layer) => image && layer.activations[image.id] && layer.grid[0] > 1).slice(0, LAYERS);
  const body = shown.length ? shown.map((layer) => layerMaps(study, layer, image))
    : missing(study, "activations", "No maps were computed.");
  return section("activations", "Activation maps", "What every filter responds to",
    image ? `Each tile is one unit's response over ${image.name}. Early layers keep the image's outline; `
      + "deeper ones answer with a few coarse cells."
      : null, body, study.how.activations);
}

function layerMaps(study, layer, image) {
  const units = unitsOf(layer).slice(0, UNITS);
  return h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name) }, layer.name),
      h("span", { class: "quiet" }, ` ${plural(layer.units, "unit")}, ${size(layer.grid)} cells`)),
    tileGrid(units.map((unit) => mapItem(study, layer, unit, image)),
      { label: `Activations of ${layer.name}`, small: true }),
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
export function mapItem(study, layer, unit, image, { scale = null, overlay = false } = {}) {
  const maps = layer.activations[image.id];
  return {
    tile: mapTile(study, layer, unit, image.id, { scale: scale ?? unitScale(layer, unit, [image.id]), overlay }),
    name: String(unit),
    note: number(Math.abs(maps.lo[unit]) > maps.hi[unit] ? maps.lo[unit] : maps.hi[unit], 2),
    label: mapLabel(layer, unit, image.id, image.name),
    href: urls.unit(layer.name, unit),
    address: `${layer.name}:${unit}`,
  };
}
