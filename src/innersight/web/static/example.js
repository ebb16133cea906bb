/** Examples of units as tiles. */

import { drawFramed, drawImage, drawMasked } from "./sheet.js";
import { tile } from "./tiles.js";

/**
 * An example: its crop, dark where the unit does not respond ("mask") or not ("plain"), or the whole image with the crop marked.
 * @param {LayerDocument} layer
 * @param {number} i
 * @param {{view?: string, label?: string | null}} options
 */
export function exampleTile(layer, i, { view = "mask", label = null } = {}) {
  const { rows, sheet, masks, wholes, sizes } = /** @type {{rows: ExampleRow[], sheet: Sheet, masks: Sheet, wholes: Sheet, sizes: Position[]}} */ (layer.examples);
  if (view === "whole") {
    const { image, box } = rows[i];
    return tile((canvas) => drawFramed(canvas, wholes, image, sizes[image], box), sizes[image], { label });
  }
  return tile((canvas) => (view === "mask" ? drawMasked(canvas, sheet, masks, i) : drawImage(canvas, sheet, i)), sheet.tile, { label });
}

/** The place of the highest example of a unit; -1 where it has none. */
export function exampleIndex(layer, unit) {
  return (layer.examples?.rows ?? []).findIndex((row) => row.unit === unit && row.of === null && row.band === "top");
}
