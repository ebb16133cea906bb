/** #/l/LAYER/u/7: one unit: its patterns beside its maps, its examples, the classes it tells, what it does. */

import { facts, h, settingsList } from "../dom.js";
import { classHistogram, connected, switchedOff } from "../effects.js";
import { patternFacts } from "../enlarged.js";
import { exampleBands } from "../examples.js";
import { number, percent, plural, signed } from "../format.js";
import { mapLabel, mapTile, objections, patternIndex, imageTile, unitBeside, unitMap, unitScale, whyNoUnit } from "../layer.js";
import { legend } from "../legend.js";
import { pinButton } from "../pins.js";
import { probe, probeHint } from "../probe.js";
import { lost, register } from "../router.js";
import { saveButton } from "../save.js";
import { lacking, loadLayer, missing, urls } from "../study.js";
import { unknownLayer } from "./layer.js";

register("/l/:layer/u/:unit", async ({ study, params, signal }) => {
  const layer = await loadLayer(study, params.layer);
  if (!layer) return unknownLayer(study, params.layer);
  const unit = Number(params.unit);
  const why = whyNoUnit(layer, /^\d+$/.test(params.unit) ? unit : NaN);
  if (why) return lost(`${layer.name}:${params.unit}`, why);
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
    title: `${layer.name} unit ${unit}`,
    place: { layer, unit },
    body: h("section", { class: "page" },
      h("header", { class: "page-head" },
        h("p", { class: "kicker" }, h("a", { href: urls.layer(layer.name) }, layer.name)),
        h("div", { class: "title-row" }, h("h1", { class: "tabular" }, `Unit ${unit}`),
          h("nav", { class: "steps", "aria-label": "Units" },
            h("button", { class: "icon", type: "button", title: "Previous unit (k)", "aria-label": "Previous unit",
              onclick: () => go(-1) }, "←"),
            h("button", { class: "icon", type: "button", title: "Next unit (j)", "aria-label": "Next unit",
              onclick: () => go(1) }, "→"), pinButton(address, address, { text: true }))),
        h("p", { class: "lead" }, `One of ${plural(layer.units, "unit")}. Address `, h("code", {}, address), "."),
        standing(layer, unit)),
      h("div", { class: "unit-page" }, patternColumn(study, layer, unit), mapsColumn(study, layer, unit)),
      part("Images that excite it", exampleBands(study, layer, unit)),
      h("div", { class: "columns parts" },
        part("Which classes it tells", classHistogram(study, layer, unit)),
        part("What switching it off does", switchedOff(study, layer, unit))),
      part("What it is connected to", connected(study, layer, unit))),
  };
});

function part(title, body) {
  return h("section", { class: "part", "aria-label": title }, h("h2", {}, title), body);
}

/** Rank in the comparison, and how often the unit is on in the scan. */
function standing(layer, unit) {
  const rank = layer.compare?.rank ?? [];
  const at = rank.findIndex((entry) => entry.unit === unit);
  const { scan } = layer;
  const badges = [
    at >= 0 ? [h("span", { class: "badge" }, `rank ${rank[at].place ?? at + 1} of ${layer.compare?.of ?? rank.length}`),
      h("span", {}, `score ${number(rank[at].score)}: ${rank[at].reason} `)] : null,
    scan?.dead.includes(unit) ? h("span", { class: "badge bad" }, "dead in the scan") : null,
    scan && !scan.dead.includes(unit) ? h("span", { class: "badge" }, `on in ${percent(scan.positive[unit])} of the scan, at ${percent(scan.on[unit])} of places`) : null,
  ].filter(Boolean);
  return badges.length ? h("p", { class: "badges" }, badges) : null;
}

function patternColumn(study, layer, unit) {
  const i = patternIndex(layer, unit);
  const kernel = layer.kernels ? imageTile(layer.kernels.sheet, unit, `weights of unit ${unit}`) : null;
  kernel?.classList.add("crisp");
  return h("div", { class: "unit-pattern" },
    h("h2", {}, "What it has learned"),
    i >= 0 ? [saved(imageTile(layer.patterns.sheet, i, `pattern of unit ${unit}`), `${layer.name} ${unit} pattern`),
      patternFacts(layer, unit), otherSeeds(layer, unit, i), negative(layer, unit)]
      : missing(study, "patterns", "No pattern of this unit was computed."),
    kernel ? [h("h3", {}, "Its weights"), h("div", { class: "kernel" }, saved(kernel, `${layer.name} ${unit} weights`))] : null);
}

function otherSeeds(layer, unit, i) {
  const { others } = layer.patterns;
  if (!others) return h("p", { class: "quiet" }, "One seed was drawn.");
  return [h("h3", {}, others.each > 1 ? "The same from other seeds" : "The same from another seed"),
    h("div", { class: "seeds" }, Array.from({ length: others.each }, (_, j) =>
      imageTile(others.sheet, i * others.each + j, `pattern of unit ${unit} from another seed`))),
    h("p", { class: "quiet" }, "Above is the one with the strongest response. What differs between them is chance.")];
}

function negative(layer, unit) {
  const found = layer.patterns.negatives;
  const i = found?.units.indexOf(unit) ?? -1;
  if (i < 0) return [h("h3", {}, "What switches it off"), lacking("negatives", "It was not drawn.")];
  const score = found.score[i];
  return [h("h3", {}, "What switches it off"),
    h("div", { class: "seeds" }, imageTile(found.sheet, i, `pattern that switches unit ${unit} off`)),
    h("p", { class: "quiet" }, `Made to lower the unit: response ${signed(-score.activation)}`,
      objections(score).length ? `; ${objections(score).join(", ")}` : "", "."),
    h("details", { class: "how" }, h("summary", {}, "Settings"), settingsList(found.settings))];
}

function mapsColumn(study, layer, unit) {
  const images = study.images.filter((image) => layer.activations[image.id]);
  if (!images.length) return h("div", {}, h("h2", {}, "What it responds to"),
    missing(study, "activations", "No maps were computed."));
  const scale = unitScale(layer, unit, images.map((image) => image.id));
  return h("div", {},
    h("h2", {}, "What it responds to"),
    legend(scale, "activation", "one scale for all images"),
    h("p", {}, probeHint()),
    h("div", { class: "unit-maps" }, images.map((image) => mapFigure(study, layer, unit, image, scale))),
    h("p", { class: "more" }, h("a", { href: urls.matrix([`${layer.name}:${unit}`], images.map((image) => image.id)) },
      "Side by side with other units →")));
}

function mapFigure(study, layer, unit, image, scale) {
  const maps = layer.activations[image.id];
  const label = mapLabel(layer, unit, image.id, image.name);
  const { area, output } = probe(mapTile(study, layer, unit, image.id, { scale, overlay: true, label }), {
    read: () => unitMap(layer, unit, image.id), image, unit: "activation", isSigned: layer.signed, label });
  return h("figure", { class: "unit-map", "data-address": image.id }, area,
    h("figcaption", {}, h("span", { class: "name-row" }, h("a", { href: urls.image(image.id), class: "clip" }, image.name),
      saveButton(() => area.querySelector("canvas"), `${layer.name} ${unit} ${image.name}`)), output,
    facts([["highest", number(maps.hi[unit])], ["mean", number(maps.mean[unit])],
      ["lowest", number(maps.lo[unit])]])));
}

/** A tile with a button that saves it. */
function saved(element, name) {
  return h("div", { class: "saved" }, element, saveButton(() => element.querySelector("canvas"), name));
}
