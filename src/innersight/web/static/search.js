/** Search: units by address, layers, classes, images, sections, and what panels add, in a dialog. */

import { unitOf } from "./address.js";
import { bothEnds, fill, h } from "./dom.js";
import { popup } from "./dialog.js";
import { plural } from "./format.js";
import { sections } from "./navigation.js";
import { allPanels } from "./panel.js";
import { shownLayers, urls } from "./study.js";

const MAX_RESULTS = 30;

export function openSearch(study) {
  const list = h("ul", { class: "found", role: "listbox", id: "found", "aria-label": "Search results" });
  const input = h("input", { type: "text", class: "search", role: "combobox", "aria-expanded": "true",
    "aria-controls": "found", "aria-label": "Search", autocomplete: "off", spellcheck: "false",
    placeholder: "Unit (layer:7), layer, class, image or method",
    oninput: () => show(), onkeydown: (event) => pressed(event) });
  let chosen = 0;
  let results = [];
  const close = popup("Search", [input, list]);

  function show() {
    chosen = 0;
    results = found(study, input.value);
    draw();
  }

  function draw() {
    fill(list, results.length ? results.map((result, i) => h("li", { role: "option", id: `found-${i}`,
      "aria-selected": String(i === chosen), onclick: () => go(result) },
    h("span", { class: "clip" }, bothEnds(result.name)), h("span", { class: "quiet" }, result.kind)))
      : h("li", { class: "quiet", role: "option", "aria-selected": "false" }, "No matching unit, layer, class, image, section or method."));
    input.setAttribute("aria-activedescendant", results.length ? `found-${chosen}` : "");
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  function pressed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && results.length) {
      event.preventDefault();
      chosen = (chosen + step + results.length) % results.length;
      draw();
    }
    if (event.key === "Enter" && results[chosen]) {
      event.preventDefault();
      go(results[chosen]);
    }
  }

  function go(result) {
    close();
    location.hash = result.href;
  }

  show();
  input.focus();
}

/**
 * What matches, best first: an address of a unit, then names that are the text, hold it as words, begin with it, hold it.
 * @param {Study} study
 * @param {string} text
 * @returns {Found[]}
 */
export function found(study, text) {
  const wanted = text.trim().toLowerCase();
  const layers = shownLayers(study);
  const everything = /** @type {Found[]} */ ([
    ...layers.map(({ name, units }) => ({ name, kind: `layer, ${plural(units, "unit")}`, href: urls.layer(name) })),
    ...study.images.map(({ id, name }) => ({ name, kind: "image", href: urls.image(id) })),
    ...study.model.labels.map((name, number) => ({ name, kind: "class", href: urls.class(number) })),
    ...sections(study).map(({ text: name, href }) => ({ name, kind: "section", href })),
    ...allPanels().flatMap((own) => own.found?.(study) ?? []),
  ]);
  const named = everything.map((result) => ({ result, order: Math.min(...[result.name, ...result.also ?? []].map((name) => rank(name, wanted))) }))
    .filter(({ order }) => order < Infinity).sort((a, b) => a.order - b.order).map(({ result }) => result);
  return [...units(layers, text.trim()), ...named].slice(0, MAX_RESULTS);
}

/** How well a name fits, 0 best: it is the text, holds it as whole words, begins with it, holds it; Infinity where it does not. */
function rank(name, wanted) {
  const own = name.toLowerCase();
  const at = own.indexOf(wanted);
  if (at < 0) return Infinity;
  if (own === wanted) return 0;
  const words = (text) => ` ${text.replaceAll(/[^\p{L}\p{N}]+/gu, " ").trim()} `;
  if (wanted && words(own).includes(words(wanted))) return 1;
  return at === 0 ? 2 : 3;
}

/** Units of the layers whose name holds what stands before the number: "stem 7", "stage:7", "unit 7", "7". */
function units(layers, text) {
  const exact = unitOf(text);
  const [, before, digits] = /^(.*?)[\s:]*(\d+)$/.exec(text) ?? [];
  if (digits === undefined) return [];
  const unit = Number(digits);
  const name = before.toLowerCase().replace(/\s*\bunit$/, "");
  const fits = layers.filter((layer) => unit < layer.units && layer.name.toLowerCase().includes(name));
  fits.sort((a, b) => Number(b.name === exact?.layer) - Number(a.name === exact?.layer));
  return fits.slice(0, 8).map((layer) => ({ name: `${layer.name}:${unit}`, kind: "unit", href: urls.unit(layer.name, unit) }));
}
