/** What the lenses of a layer's page share. */

import { sheetButton } from "./save.js";

/** A button that saves a grid of tiles, in its order. */
export function saveAll(units, make, name) {
  return sheetButton(() => units.map((_, i) => {
    const { tile, name: own, note } = make(i);
    return { tile, name: [own, note].filter(Boolean).join("  ") };
  }), name);
}
