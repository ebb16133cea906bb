/** The maps of the first layers: every unit over the first picture. */

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
  const [picture] = study.pictures;
  const shown = storyLayers(study).map((entry) => layers.get(entry.name))
    .filter((layer) => picture && layer.maps[picture.id] && layer.grid[0] > 1).slice(0, LAYERS);
  const body = shown.length ? shown.map((layer) => layerMaps(study, layer, picture))
    : missing(study, "maps", "No maps were computed.");
  return section("maps", "Feature maps", "What every filter responds to",
    picture ? `Each tile is one unit's response over ${picture.name}. Early layers keep the picture's outline; `
      + "deeper ones answer with a few coarse cells."
      : null, body, study.how.maps);
}

function layerMaps(study, layer, picture) {
  const units = unitsOf(layer).slice(0, UNITS);
  return h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name) }, layer.name),
      h("span", { class: "quiet" }, ` ${plural(layer.units, "unit")}, ${size(layer.grid)} cells`)),
    tileGrid(units.map((unit) => mapItem(study, layer, unit, picture)),
      { label: `Maps of ${layer.name}`, small: true }),
    ownLegend(layer.signed, "activation"),
    moreLink(layer, units.length, unitsOf(layer).length, "maps"));
}

/**
 * One unit's map over a picture as an item of a grid of tiles.
 * @param {Study} study
 * @param {LayerDocument} layer
 * @param {number} unit
 * @param {PictureEntry} picture
 * @param {{scale?: Scale | null, overlay?: boolean}} options
 */
export function mapItem(study, layer, unit, picture, { scale = null, overlay = false } = {}) {
  const maps = layer.maps[picture.id];
  return {
    tile: mapTile(study, layer, unit, picture.id, { scale: scale ?? unitScale(layer, unit, [picture.id]), overlay }),
    name: String(unit),
    note: number(Math.abs(maps.lo[unit]) > maps.hi[unit] ? maps.lo[unit] : maps.hi[unit], 2),
    label: mapLabel(layer, unit, picture.id, picture.name),
    href: urls.unit(layer.name, unit),
    address: `${layer.name}:${unit}`,
  };
}
