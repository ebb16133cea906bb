/** Keys that work on every page, and the dialog that lists them. */

import { h } from "./dom.js";
import { popup } from "./dialog.js";
import { unitBeside } from "./layer.js";
import { panelOf, partsOf } from "./panel.js";
import { togglePin } from "./pins.js";
import { shownPage } from "./router.js";
import { openSearch } from "./search.js";
import { shownLayers, urls } from "./study.js";

const KEYS = [
  // Panels have registered themselves before this module runs.
  { keys: ["j", "k"], what: "next / previous unit, or next / previous tile", run: (study, key) => step(study, key === "j" ? 1 : -1) },
  { keys: ["[", "]"], what: "previous / next layer", run: (study, key) => stepLayer(study, key === "]" ? 1 : -1) },
  { keys: partsOf("lens").slice(0, 9).map((_, i) => String(i + 1)), what: `view of a layer: ${partsOf("lens").map(({ name }) => panelOf(name)?.title.toLowerCase()).join(", ")}`,
    run: (study, key) => lens(Number(key)) },
  { keys: ["p"], what: "pin or unpin the focused unit or image, or the one this page shows", run: pin },
  { keys: ["x"], what: "show pinned units and images side by side", run: () => {
    location.hash = "#/x";
  } },
  { keys: ["/"], what: "search layers, units, classes, images, sections and heatmap methods", run: openSearch },
  { keys: ["?"], what: "show this list", run: openHelp },
];
const ELSEWHERE = [
  [["←", "→", "↑", "↓"], "on a focused map: read its values cell by cell"],
  [["←", "→"], "on a unit's page or an enlarged pattern: previous / next"],
  [["Ctrl P"], "print this page with everything drawn"],
  [["←", "→", "↑", "↓", "+", "−", "0"], "on an atlas: from cell to cell, closer, farther, all of it"],
  [["Esc"], "close a dialog"],
];

export function startKeys(study) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = /** @type {Element} */ (event.target);
    // A modal dialog may have lost the focus to the page by a click on its text.
    if (target.closest?.("input:not([type=range]), select, textarea") || document.querySelector("dialog[open]")) return;
    const entry = KEYS.find(({ keys }) => keys.includes(event.key));
    if (!entry) return;
    event.preventDefault();
    entry.run(study, event.key);
  });
}

export function openHelp() {
  const row = (keys, what) => h("div", {}, h("dt", {}, keys.map((key) => h("kbd", {}, key))), h("dd", {}, what));
  popup("Keyboard shortcuts", h("dl", { class: "facts keys" }, KEYS.map(({ keys, what }) => row(keys, what)),
    ELSEWHERE.map(([keys, what]) => row(keys, what))));
}

function step(study, by) {
  const { layer, unit } = shownPage().subject ?? {};
  if (layer && unit !== undefined) {
    location.hash = urls.unit(layer.name, unitBeside(layer, unit, by));
    return;
  }
  const tiles = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("main .tile, main .matrix-unit")]);
  const at = tiles.findIndex((tile) => tile === document.activeElement);
  tiles[at < 0 ? 0 : at + by]?.focus();
}

function stepLayer(study, by) {
  const { layer } = shownPage().subject ?? {};
  const names = shownLayers(study).map((entry) => entry.name);
  const next = names[(layer ? names.indexOf(layer.name) : by > 0 ? -1 : names.length) + by];
  if (next !== undefined) location.hash = urls.layer(next, { lens: shownPage().lens?.current() ?? null });
}

function lens(number) {
  const { lens: switched, subject } = shownPage();
  const { name } = partsOf("lens")[number - 1];
  if (switched) switched.change(name);
  else if (subject?.layer) location.hash = urls.layer(subject.layer.name, { lens: name });
}

function pin() {
  const focus = document.activeElement;
  const near = /** @type {HTMLElement | null | undefined} */ (focus?.closest("[data-address]")
    ?? focus?.closest("li, figure, [role=row]")?.querySelector("[data-address]"));
  const { subject } = shownPage();
  const own = subject?.layer && subject.unit !== undefined ? `${subject.layer.name}:${subject.unit}` : subject?.image;
  const address = near?.dataset.address ?? own;
  if (address) togglePin(address);
}
