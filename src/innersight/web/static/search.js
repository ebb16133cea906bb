/** Search: units by address, layers, classes, images, sections, and what panels add, in a dialog. */

import { unitOf } from "./address.js";
import { called } from "./annotations.js";
import { bothEnds, fill, h } from "./dom.js";
import { popup } from "./dialog.js";
import { plural } from "./format.js";
import { sections } from "./navigation.js";
import { allPanels } from "./panel.js";
import { shownLayers, urls } from "./study.js";
import { unitThumb } from "./thumb.js";

const MAX_RESULTS = 30;

export function openSearch(study) {
  const list = h("ul", { class: "found", role: "listbox", id: "found", "aria-label": "Search results" });
  const input = h("input", { type: "text", class: "search", role: "combobox", "aria-expanded": "true",
    "aria-controls": "found", "aria-label": "Search", autocomplete: "off", spellcheck: "false",
    placeholder: "Unit (layer:7), name, label, layer, class, image",
    oninput: () => show(), onkeydown: (event) => pressed(event) });
  let chosen = 0;
  let results = [];
  let everything = /** @type {Found[]} */ ([]);
  const close = popup("Search", [input, list]);

  function show() {
    chosen = 0;
    results = found(study, everything, input.value);
    draw();
  }

  function draw() {
    fill(list, results.length ? results.map((result, i) => h("li", { role: "option", id: `found-${i}`,
      "aria-selected": String(i === chosen), onclick: () => go(result) },
    thumb(study, result), h("span", { class: "clip" }, bothEnds(result.name)), h("span", { class: "quiet" }, result.kind)))
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
    if (event.key === "Enter") {
      event.preventDefault();
      ready.then(() => results[chosen] && go(results[chosen]));
    }
  }

  function go(result) {
    close();
    location.hash = result.href;
  }

  show();
  input.focus();
  // What panels add is read when it is first searched.
  const ready = searchable(study).then((all) => {
    everything = all;
    show();
  });
}

/** What a unit or concept looks like, beside its name. */
function thumb(study, { href }) {
  const [, layer, unit] = /^#\/l\/([^/?]+)\/u\/(\d+)$/.exec(href) ?? [];
  return layer === undefined ? null : unitThumb(study, `${decodeURIComponent(layer)}:${unit}`);
}

/**
 * Everything that has a name.
 * @param {Study} study
 * @returns {Promise<Found[]>}
 */
async function searchable(study) {
  const added = await Promise.all(allPanels().map((own) => own.found?.(study) ?? []));
  return [
    ...shownLayers(study).map(({ name, units }) => ({ name, kind: `layer, ${plural(units, "unit")}`, href: urls.layer(name) })),
    ...study.images.map(({ id, name }) => ({ name, kind: "image", href: urls.image(id) })),
    ...study.model.labels.map((name, number) => ({ name, kind: "class", href: urls.class(number) })),
    ...sections(study).map(({ text: name, href }) => ({ name, kind: "section", href })),
    ...added.flat(),
  ];
}

/**
 * What matches, best first: an address of a unit, then names that are the text, hold it as words, begin with it, hold it.
 * @param {Study} study
 * @param {Found[]} everything
 * @param {string} text
 * @returns {Found[]}
 */
function found(study, everything, text) {
  const wanted = text.trim().toLowerCase();
  const layers = shownLayers(study);
  const named = everything.map((result) => ({ result, order: Math.min(...[result.name, ...result.also ?? []].map((name) => rank(name, wanted))) }))
    .filter(({ order }) => order < Infinity).sort((a, b) => a.order - b.order).map(({ result }) => result);
  // A unit may match by its name and by several labels.
  const all = [...units(layers, text.trim()), ...named];
  return all.filter((one, i) => all.findIndex((other) => other.href === one.href && other.name === one.name) === i).slice(0, MAX_RESULTS);
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
  return fits.slice(0, 8).map((layer) => ({ name: called(`${layer.name}:${unit}`), kind: "unit", href: urls.unit(layer.name, unit) }));
}
