/** Panels: what a study can show. `panels/NAME.js` shows what `study/panels/NAME.py` computes; both register themselves. */

import { h } from "./dom.js";
import { getDocument } from "./source.js";

const panels = new Map();

/**
 * Register a panel.
 * @param {Panel} given
 */
export function panel(given) {
  panels.set(given.name, given);
}

/**
 * The panel of this name, if there is one.
 * @param {string} name
 * @returns {Panel | undefined}
 */
export function panelOf(name) {
  return panels.get(name);
}

/**
 * All panels in their order.
 * @returns {Panel[]}
 */
export function allPanels() {
  return [...panels.values()].sort((a, b) => a.order - b.order);
}

/**
 * What panels show on one kind of page, in order: each part with its panel's name, and its order where it has none of its own.
 * @param {"story" | "lens" | "unit" | "image" | "class" | "cell" | "below"} kind
 * @param {string | null} column
 */
export function partsOf(kind, column = null) {
  return allPanels().flatMap((own) => [own[kind] ?? []].flat().map((part) => ({ name: own.name, order: own.order, ...part })))
    .filter((part) => column === null || part.column === column).sort((a, b) => a.order - b.order);
}

/** The documents of the panels that have one, by key; null where the study has none. */
export async function loadDocuments() {
  const keys = allPanels().map((own) => own.document).filter((key) => key !== undefined);
  const found = await Promise.all(keys.map(getDocument));
  return Object.fromEntries(keys.map((key, i) => [key, found[i]]));
}

/**
 * The parts of a page's column, each below its heading; parts that show nothing are left out.
 * @param {"unit" | "image" | "class"} kind
 * @param {string | null} column
 * @param {any[]} given
 */
export function headed(kind, column, ...given) {
  return partsOf(kind, column).filter(({ head }) => !head).map((part) => {
    const body = part.show(...given);
    return body && [part.title ? h(part.heading ?? "h2", { class: part.class ?? null }, part.title) : null, body];
  });
}

/** The same as sections of their own; those of half the width stand side by side. */
export function boxed(kind, ...given) {
  const box = ({ title, show }) => h("section", { class: "part", "aria-label": title }, h("h2", {}, title), show(...given));
  const rows = [];
  for (const part of partsOf(kind).filter(({ column }) => column === "wide" || column === "half")) {
    if (part.column === "half" && rows.at(-1)?.column === "half") rows.at(-1).parts.push(part);
    else rows.push({ column: part.column, parts: [part] });
  }
  return rows.map(({ column, parts }) => (column === "half" ? h("div", { class: "columns parts" }, parts.map(box)) : parts.map(box)));
}
