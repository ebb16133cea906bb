/** Numbers with a sign as bars from a common zero. */

import { unitOf } from "./address.js";
import { called } from "./annotations.js";
import { bothEnds, h } from "./dom.js";
import { number } from "./format.js";
import { seenTile } from "./layer.js";
import { urls } from "./study.js";
import { unitThumb } from "./thumb.js";

/**
 * A list of bars from a common zero. A row that is about a unit has its `address`, and one about an image its id as `image`: it gets a thumbnail.
 * @param {string} label
 * @param {{name?: string, value: number, text?: string, href?: string | null, address?: string, image?: string}[]} rows
 * @param {{study?: Study | null, image?: string | null}} options `image`: the one at hand, over which maps of units are shown.
 */
export function barList(label, rows, { study = null, image = null } = {}) {
  const highest = Math.max(0, ...rows.map((row) => row.value));
  const lowest = Math.min(0, ...rows.map((row) => row.value));
  const span = highest - lowest || 1;
  const start = (value) => (highest === 0 ? 0 : Math.min(0, value) - lowest);
  const mixed = highest > 0 && lowest < 0;
  return h("ul", { class: mixed ? "bars zeroed mixed" : "bars zeroed", "aria-label": label, style: { "--zero": String((-100 * lowest) / span) } }, rows.map((row) => {
    const { value, text } = row;
    const { name, href, thumb } = about(study, row, image);
    return h("li", { class: thumb ? "with-thumb" : null }, thumb,
      href ? h("a", { href, class: "bar-label", title: name }, bothEnds(name)) : h("span", { class: "bar-label", title: name }, bothEnds(name)),
      h("span", { class: "bar-value tabular" }, text ?? number(value)),
      h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: value < 0 ? "bar-fill below" : "bar-fill above",
        style: { "margin-left": `${(100 * start(value)) / span}%`, width: `${(100 * Math.abs(value)) / span}%` } })));
  }));
}

/**
 * @param {Study | null} study
 * @param {{name?: string, href?: string | null, address?: string, image?: string}} row
 * @param {string | null} atHand
 */
function about(study, { name, href = null, address, image }, atHand) {
  const unit = address ? unitOf(address) : null;
  if (unit) return { name: called(address ?? ""), href: urls.unit(unit.layer, unit.unit), thumb: study ? unitThumb(study, address ?? "", atHand) : null };
  return { name: name ?? "", href: href ?? (image ? urls.image(image) : null), thumb: study && image ? h("span", { class: "thumb" }, seenTile(study, image)) : null };
}
