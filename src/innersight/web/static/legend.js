/** The colour bar: which value has which colour, and in which unit. */

import { gradient } from "./colour.js";
import { h } from "./dom.js";
import { number, signed } from "./format.js";

/** `unit` names what the numbers are; `scope` names the tiles that share the scale. */
export function legend(scale, unit, scope = "") {
  if (!(scale.limit > 0)) return h("p", { class: "legend quiet" }, `Every value is zero (${unit}).`);
  const ends = scale.signed ? [signed(-scale.limit), "0", signed(scale.limit)] : ["0", number(scale.limit)];
  return h("div", { class: "legend" },
    h("span", { class: "bar", role: "img", "aria-label": `Colour scale from ${ends[0]} to ${ends.at(-1)} ${unit}`,
      style: { background: gradient(scale) } }),
    h("span", { class: "ends" }, ends.map((text) => h("span", {}, text))),
    h("span", { class: "quiet" }, unit, scope ? `, ${scope}` : "", scale.clipped
      ? "; colours are clipped at the ends" : ""));
}

/** A colour bar without numbers, for tiles that each have a scale of their own. */
export function ownLegend(isSigned, unit) {
  const scale = { signed: isSigned, limit: 1 };
  const ends = isSigned ? ["−max", "0", "+max"] : ["0", "max"];
  return h("div", { class: "legend" },
    h("span", { class: "bar", "aria-hidden": "true", style: { background: gradient(scale) } }),
    h("span", { class: "ends" }, ends.map((text) => h("span", {}, text))),
    h("span", { class: "quiet" }, `${unit}; each tile has its own scale, so weak and strong units look equally bright`));
}
