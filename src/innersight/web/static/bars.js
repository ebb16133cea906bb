/** Numbers with a sign as bars from a common zero. */

import { h } from "./dom.js";
import { number } from "./format.js";

/** A list of bars from a common zero; each row is {name, value, text, href}. */
export function barList(label, rows) {
  const highest = Math.max(0, ...rows.map((row) => row.value));
  const lowest = Math.min(0, ...rows.map((row) => row.value));
  const span = highest - lowest || 1;
  const start = (value) => (highest === 0 ? 0 : Math.min(0, value) - lowest);
  const mixed = highest > 0 && lowest < 0;
  return h("ul", { class: mixed ? "bars zeroed mixed" : "bars zeroed", "aria-label": label, style: { "--zero": String((-100 * lowest) / span) } }, rows.map(({ name, value, text, href }) => h("li", {},
    href ? h("a", { href, class: "bar-label", title: name }, name) : h("span", { class: "bar-label", title: name }, name),
    h("span", { class: "bar-value tabular" }, text ?? number(value)),
    h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: value < 0 ? "bar-fill below" : "bar-fill above",
      style: { "margin-left": `${(100 * start(value)) / span}%`, width: `${(100 * Math.abs(value)) / span}%` } })))));
}
