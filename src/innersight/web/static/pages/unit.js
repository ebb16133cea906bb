/** #/l/LAYER/u/7: one unit: what every panel shows of it. */

import { called } from "../annotations.js";
import { annotator } from "../annotator.js";
import { h } from "../dom.js";
import { number, percent, plural } from "../format.js";
import { unitBeside, whyNoUnit } from "../layer.js";
import { boxed, headed } from "../panel.js";
import { pinButton } from "../pins.js";
import { notFound, register } from "../router.js";
import { loadLayer, urls } from "../study.js";
import { unknownLayer } from "./layer.js";

register("/l/:layer/u/:unit", async ({ study, params, signal }) => {
  const layer = await loadLayer(study, params.layer);
  if (!layer) return unknownLayer(study, params.layer);
  const unit = Number(params.unit);
  const why = whyNoUnit(layer, /^\d+$/.test(params.unit) ? unit : NaN);
  if (why) return notFound(`${layer.name}:${params.unit}`, why);
  const address = `${layer.name}:${unit}`;
  const go = (step) => {
    location.hash = urls.unit(layer.name, unitBeside(layer, unit, step));
  };
  document.addEventListener("keydown", (event) => {
    const busy = event.defaultPrevented || /** @type {Element} */ (event.target).closest?.("input, select, textarea")
      || document.querySelector("dialog[open]");
    if (busy || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) go(step);
  }, { signal });
  return {
    title: called(address, `${layer.name} unit ${unit}`),
    subject: { layer, unit },
    body: h("section", { class: "page" },
      h("header", { class: "page-head" },
        h("p", { class: "kicker" }, h("a", { href: urls.layer(layer.name) }, layer.name)),
        h("div", { class: "title-row" }, h("h1", { class: "tabular" }, called(address, `Unit ${unit}`)),
          h("nav", { class: "steps", "aria-label": "Units" },
            h("button", { class: "icon", type: "button", title: "Previous unit (k)", "aria-label": "Previous unit",
              onclick: () => go(-1) }, "←"),
            h("button", { class: "icon", type: "button", title: "Next unit (j)", "aria-label": "Next unit",
              onclick: () => go(1) }, "→"), pinButton(address, address, { text: true }))),
        h("p", { class: "lead" }, `One of ${plural(layer.units, layer.name.includes("~") ? "concept" : "unit")}${layer.name.includes("~") ? "" : " (channels, filters)"} of this layer. Address: `, h("code", {}, address), "."),
        unitBadges(layer, unit), annotator(address)),
      h("div", { class: "unit-page" },
        h("div", { class: "unit-pattern" }, headed("unit", "left", study, layer, unit)),
        h("div", {}, headed("unit", "right", study, layer, unit))),
      boxed("unit", study, layer, unit)),
  };
});

/** Rank in the comparison, and how often the unit is active in the scan. */
function unitBadges(layer, unit) {
  const rank = layer.compare?.rank ?? [];
  const at = rank.findIndex((entry) => entry.unit === unit);
  const { scan } = layer;
  const badges = [
    at >= 0 ? [h("span", { class: "badge" }, `rank ${rank[at].position ?? at + 1} of ${layer.compare?.of ?? rank.length}`),
      h("span", {}, `comparison score ${number(rank[at].score)}: ${rank[at].reason} `)] : null,
    scan?.dead.includes(unit) ? h("span", { class: "badge bad" }, "dead: never positive in the scan") : null,
    scan && !scan.dead.includes(unit) ? h("span", { class: "badge" },
      `active in ${percent(scan.positive[unit])} of the scanned images, at ${percent(scan.active[unit])} of locations`) : null,
  ].filter(Boolean);
  return badges.length ? h("p", { class: "badges" }, badges) : null;
}
