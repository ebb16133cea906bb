/** What a unit looks like at a glance, wherever it is named. */

import { unitOf } from "./address.js";
import { called } from "./annotations.js";
import { h } from "./dom.js";
import { exampleIndex, exampleTile } from "./example.js";
import { imageTile, mapTile, patternIndex, silent, unitScale, whyNoUnit } from "./layer.js";
import { loadLayer } from "./study.js";

/**
 * A small square: the unit's map over the image at hand, its pattern, an example, or its map over the first image, whichever there is first.
 * It is empty where the study has none of them.
 * @param {Study} study
 * @param {string} address
 * @param {string | null} image
 */
export function unitThumb(study, address, image = null) {
  const place = h("span", { class: "thumb" });
  const unit = unitOf(address);
  if (unit) {
    loadLayer(study, unit.layer).then((layer) => {
      const found = layer && !whyNoUnit(layer, unit.unit) ? shown(study, layer, unit.unit, image) : null;
      if (!found) return;
      place.title = `${called(address)}: ${found.what}`;
      place.dataset.shows = found.what;
      place.append(found.tile);
    });
  }
  return place;
}

function shown(study, layer, unit, image) {
  const over = (id, what) => ({ what, tile: mapTile(study, layer, unit, id, { scale: unitScale(layer, unit, [id]), overlay: true }) });
  if (image && layer.activations[image] && !silent(layer.activations[image], unit)) return over(image, "activation map over this image");
  const pattern = patternIndex(layer, unit);
  if (pattern >= 0) return { what: "pattern", tile: imageTile(layer.patterns.sheet, pattern) };
  const example = exampleIndex(layer, unit);
  if (example >= 0) return { what: "example", tile: exampleTile(layer, example) };
  const first = study.images.find(({ id }) => layer.activations[id] && !silent(layer.activations[id], unit));
  return first ? over(first.id, `activation map over ${first.name}`) : null;
}
