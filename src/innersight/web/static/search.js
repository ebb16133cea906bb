/** Search: units by address, layers, classes and images, in a dialog. */

import { unitOf } from "./address.js";
import { fill, h } from "./dom.js";
import { popup } from "./dialog.js";
import { plural } from "./format.js";
import { shownLayers, urls } from "./study.js";

const MAX_RESULTS = 30;

export function openSearch(study) {
  const list = h("ul", { class: "found", role: "listbox", id: "found", "aria-label": "Search results" });
  const input = h("input", { type: "text", class: "search", role: "combobox", "aria-expanded": "true",
    "aria-controls": "found", "aria-label": "Search", autocomplete: "off", spellcheck: "false",
    placeholder: "Unit (layer:7), layer, class or image",
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
    h("span", { class: "clip" }, result.name), h("span", { class: "quiet" }, result.kind)))
      : h("li", { class: "quiet", role: "option", "aria-selected": "false" }, "No matching unit, layer, class or image."));
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

/** What matches, best first: an address of a unit, then names that start with the text, then names that hold it. */
export function found(study, text) {
  const wanted = text.trim().toLowerCase();
  const layers = shownLayers(study);
  const everything = [
    ...layers.map(({ name, units }) => ({ name, kind: `layer, ${plural(units, "unit")}`, href: urls.layer(name) })),
    ...study.images.map(({ id, name }) => ({ name, kind: "image", href: urls.image(id) })),
    ...study.model.labels.map((name, number) => ({ name, kind: "class", href: urls.class(number) })),
  ];
  const rank = ({ name }) => {
    const at = name.toLowerCase().indexOf(wanted);
    return at < 0 ? null : Math.min(at, 1);
  };
  const named = everything.map((result) => [rank(result), result]).filter(([order]) => order !== null)
    .sort((a, b) => a[0] - b[0]).map(([, result]) => result);
  return [...units(layers, text.trim()), ...named].slice(0, MAX_RESULTS);
}

/** Units of the layers whose name holds what stands before the number: "stem 7", "stage:7", "7". */
function units(layers, text) {
  const exact = unitOf(text);
  const [, name, digits] = /^(.*?)[\s:]*(\d+)$/.exec(text) ?? [];
  if (digits === undefined) return [];
  const unit = Number(digits);
  const fits = layers.filter((layer) => unit < layer.units && layer.name.toLowerCase().includes(name.toLowerCase()));
  fits.sort((a, b) => Number(b.name === exact?.layer) - Number(a.name === exact?.layer));
  return fits.slice(0, 8).map((layer) => ({ name: `${layer.name}:${unit}`, kind: "unit", href: urls.unit(layer.name, unit) }));
}
