/** Units worth putting side by side: those that `compare` ranks best in each layer. */

import { bothEnds, h, hidden } from "./dom.js";
import { number } from "./format.js";
import { mapTile, unitScale } from "./layer.js";

const SHOWN = 6;
const EACH = 2;

/** A section that adds such units with one click; `add(addresses)` is called with them. */
export function suggestions(study, layers, present, add) {
  const found = best([...layers.values()].filter((layer) => layer?.compare?.rank.length))
    .filter(({ address }) => !present.includes(address)).slice(0, SHOWN);
  if (!found.length) return null;
  const all = study.images.length === 2 ? "both images" : "all images";
  return h("section", { class: "suggest", "aria-labelledby": "suggest-title" },
    h("h2", { id: "suggest-title" }, `Units that respond to the same thing in ${all}`),
    h("p", { class: "lead" }, "The units of each layer with the highest comparison score: they respond strongly, in a small region, "
      + "and to similar content in every image."),
    h("ul", { class: "suggested" }, found.map(({ address, layer, entry }) => h("li", {},
      h("button", { type: "button", class: "suggestion", onclick: () => add([address]), title: `Pin ${address}: ${entry.reason}` },
      h("span", { class: "suggestion-maps" }, layer.compare.images.slice(0, 2).map((id) => mapTile(study, layer, entry.unit, id,
        { scale: unitScale(layer, entry.unit, layer.compare.images), overlay: true }))),
      h("strong", { class: "clip" }, bothEnds(address)), h("span", { class: "quiet" }, `score ${number(entry.score, 2)}`), hidden(`Pin ${address}: ${entry.reason}`))))),
    h("p", {}, h("button", { type: "button", class: "button primary", onclick: () => add(found.map(({ address }) => address)) },
      `Pin these ${found.length}`)));
}

function best(layers) {
  const each = layers.flatMap((layer) => layer.compare.rank.slice(0, EACH + 4).map((entry, i) => ({
    address: `${layer.name}:${entry.unit}`, layer, entry, late: i >= EACH })));
  return each.sort((a, b) => a.late - b.late || b.entry.score - a.entry.score);
}
