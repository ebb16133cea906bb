/** #/l/LAYER/u/7: one unit, its pattern beside its maps. The keys j and k go to the next and previous unit. */

import { empty, facts, h } from "../dom.js";
import { patternFacts } from "../enlarged.js";
import { number, plural } from "../format.js";
import { mapLabel, mapTile, patternIndex, pictureTile, unitMap, unitScale } from "../layer.js";
import { legend } from "../legend.js";
import { probe, probeHint } from "../probe.js";
import { lost, register } from "../router.js";
import { loadLayer, reason, urls } from "../study.js";
import { unknownLayer } from "./layer.js";

register("/l/:layer/u/:unit", async ({ study, params, signal }) => {
  const layer = await loadLayer(study, params.layer);
  if (!layer) return unknownLayer(study, params.layer);
  const unit = Number(params.unit);
  if (!/^\d+$/.test(params.unit) || unit >= layer.units) {
    return lost(`${layer.name}:${params.unit}`, `${layer.name} has the units 0 to ${layer.units - 1}.`);
  }
  const go = (step) => {
    location.hash = urls.unit(layer.name, (unit + step + layer.units) % layer.units);
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) go(step);
  }, { signal });
  return {
    title: `${layer.name} unit ${unit}`,
    body: h("section", { class: "page" },
      h("header", { class: "page-head" },
        h("p", { class: "kicker" }, h("a", { href: urls.layer(layer.name) }, layer.name)),
        h("div", { class: "title-row" }, h("h1", { class: "tabular" }, `Unit ${unit}`),
          h("nav", { class: "steps", "aria-label": "Units" },
            h("button", { class: "icon", type: "button", title: "Previous unit (k)", "aria-label": "Previous unit",
              onclick: () => go(-1) }, "←"),
            h("button", { class: "icon", type: "button", title: "Next unit (j)", "aria-label": "Next unit",
              onclick: () => go(1) }, "→"),
            h("span", { class: "quiet" }, h("kbd", {}, "k"), " previous  ", h("kbd", {}, "j"), " next"))),
        h("p", { class: "lead" }, `One of ${plural(layer.units, "unit")}. Address `,
          h("code", {}, `${layer.name}:${unit}`), "."),
        ranking(layer, unit)),
      h("div", { class: "unit-page" }, patternColumn(study, layer, unit), mapsColumn(study, layer, unit))),
  };
});

function ranking(layer, unit) {
  const rank = layer.compare?.rank ?? [];
  const at = rank.findIndex((entry) => entry.unit === unit);
  return at < 0 ? null
    : h("p", { class: "badges" }, h("span", { class: "badge" }, `rank ${at + 1} of ${rank.length}`),
      ` score ${number(rank[at].score)}: ${rank[at].reason}`);
}

function patternColumn(study, layer, unit) {
  const i = patternIndex(layer, unit);
  const kernel = layer.kernels ? pictureTile(layer.kernels.sheet, unit, `weights of unit ${unit}`) : null;
  kernel?.classList.add("crisp");
  return h("div", { class: "unit-pattern" },
    h("h2", {}, "What it has learned"),
    i >= 0 ? [pictureTile(layer.patterns.sheet, i, `pattern of unit ${unit}`), patternFacts(layer, unit)]
      : empty(reason(study, "patterns", "No pattern of this unit was computed.")),
    kernel ? [h("h3", {}, "Its weights"), h("div", { class: "kernel" }, kernel)] : null);
}

function mapsColumn(study, layer, unit) {
  const pictures = study.pictures.filter((picture) => layer.maps[picture.id]);
  if (!pictures.length) return h("div", {}, h("h2", {}, "What it responds to"),
    empty(reason(study, "maps", "No maps were computed.")));
  const scale = unitScale(layer, unit, pictures.map((picture) => picture.id));
  return h("div", {},
    h("h2", {}, "What it responds to"),
    legend(scale, "activation", "one scale for all pictures"),
    h("p", {}, probeHint()),
    h("div", { class: "unit-maps" }, pictures.map((picture) => mapFigure(study, layer, unit, picture, scale))));
}

function mapFigure(study, layer, unit, picture, scale) {
  const maps = layer.maps[picture.id];
  const label = mapLabel(layer, unit, picture.id, picture.name);
  const { area, output } = probe(mapTile(study, layer, unit, picture.id, { scale, overlay: true, label }), {
    read: () => unitMap(layer, unit, picture.id), picture, unit: "activation", isSigned: layer.signed, label });
  return h("figure", { class: "unit-map" }, area,
    h("figcaption", {}, h("a", { href: urls.picture(picture.id), class: "clip" }, picture.name), output,
      facts([["highest", number(maps.hi[unit])], ["mean", number(maps.mean[unit])],
        ["lowest", number(maps.lo[unit])]])));
}
