/** The study: what there is, where its pages are, and why something is missing. */

import { joinAddresses } from "./address.js";
import { empty, h } from "./dom.js";
import { plural } from "./format.js";
import { getDocument } from "./source.js";

const AT_ONCE = 16;

/**
 * Return the study document; without one there is nothing to show.
 * @returns {Promise<Study>}
 */
export async function loadStudy() {
  const study = await getDocument("study");
  if (!study) throw new Error("This folder contains no study: the document “study” is missing.");
  return study;
}

/**
 * Return the document of a layer, or null where nothing was computed for it.
 * @param {Study} study
 * @param {string} name
 * @returns {Promise<LayerDocument | null>}
 */
export async function loadLayer(study, name) {
  const entry = study.layers.find((layer) => layer.name === name);
  return entry?.document ? getDocument(entry.document) : null;
}

/**
 * The layers that have something to show, from the input to the output.
 * @param {Study} study
 */
export function shownLayers(study) {
  return study.layers.filter((layer) => layer.document);
}

/** The layers of the network itself, without sets of concepts. */
export function ownLayers(layers) {
  return layers.filter(({ reads }) => reads === undefined);
}

/** The story's layers that exist. */
export function storyLayers(study) {
  const shown = shownLayers(study);
  const story = study.default_layers.map((name) => shown.find((layer) => layer.name === name)).filter(Boolean);
  return story.length ? story : shown;
}

/**
 * What `find(document, name)` gives for the deepest layer of the story for which it gives something.
 * @param {Study} study
 * @param {(layer: LayerDocument | null, name: string) => any} find
 */
export async function deepest(study, find) {
  for (const name of [...study.default_layers].reverse()) {
    const found = await find(await loadLayer(study, name), name);
    if (found) return found;
  }
  return null;
}

/**
 * The row of the table of a panel that is computed unit by unit: how many units have it, and how many of the main layers have not.
 * @param {LayerDocument[]} layers
 * @param {"patterns" | "negatives" | "connections"} name
 */
export function unitCounts(layers, name) {
  const done = layers.reduce((sum, layer) => sum + (layer[name]?.units.length ?? 0), 0);
  const left = layers.reduce((sum, layer) => sum + layer.units, 0) - done;
  return { computed: done ? plural(done, "unit") : null, missing: left ? `${plural(left, "unit")} of the main layers` : null, done, left };
}

/**
 * What is offered of such a panel: for the unit of a page, or on the overview for the units with a pattern that lack it.
 * @param {Study} study
 * @param {Where} where
 * @param {"negatives" | "connections"} panel
 * @param {(layer: string, units: number[]) => any} make
 */
export function offerLacking(study, { page, name, unit }, panel, make) {
  if (page === "l") return unit === undefined ? null : make(name, [Number(unit)]);
  return page === "" ? deepest(study, (layer, entry) => {
    const known = new Set(layer?.[panel]?.units ?? []);
    const left = (layer?.patterns?.units ?? []).filter((own) => !known.has(own)).slice(0, AT_ONCE);
    return left.length ? make(entry, left) : null;
  }) : null;
}

/**
 * @param {Study} study
 * @param {string} id
 */
export function imageIndex(study, id) {
  return study.images.findIndex((image) => image.id === id);
}

/**
 * The study's own reason for a missing panel, else `fallback`.
 * @param {Study} study
 * @param {string} what
 * @param {string} fallback
 */
export function reason(study, what, fallback) {
  const entries = study.missing.filter((entry) => entry.what === what);
  return entries.length ? entries.map((entry) => entry.why).join(" ") : fallback;
}

/** The number of the class that an address names, by number or label; null where the network has none such. */
export function classNumber(study, name) {
  const { labels } = study.model;
  const number = labels.includes(name) ? labels.indexOf(name) : Number(name);
  return Number.isInteger(number) && number >= 0 && number < labels.length ? number : null;
}

/** The reason why a panel is empty, marked with the panel's name so that an app can offer to compute it. */
export function missing(study, what, fallback) {
  const panel = empty(reason(study, what, fallback));
  panel.dataset.missing = what;
  return panel;
}

/** The same as a quiet line. */
export function lacking(what, why) {
  return h("p", { class: "quiet", "data-missing": what }, why);
}

/** Hash URLs of all pages; names may hold any character. */
export const urls = {
  story: (section) => (section ? `#/?at=${section}` : "#/"),
  layer: (name, query = {}) => `#/l/${encodeURIComponent(name)}${asQuery(query)}`,
  unit: (name, unit) => `#/l/${encodeURIComponent(name)}/u/${unit}`,
  image: (id, query = {}) => `#/i/${encodeURIComponent(id)}${asQuery(query)}`,
  class: (number) => `#/c/${number}`,
  train: () => "#/train",
  diff: () => "#/diff",
  atlas: (layer, query = {}) => `#/atlas/${encodeURIComponent(layer)}${asQuery(query)}`,
  /** @type {(query?: Partial<ErrorQuery>) => string} */
  errors: (query = {}) => `#/errors${asQuery(query)}`,
  findings: (at = null) => `#/findings${asQuery({ at })}`,
  /** @type {(layer?: string | null, name?: string | null, concept?: number | null) => string} */
  concepts: (layer = null, name = null, concept = null) => `#/${["concepts", layer, name, concept].filter((part) => part !== null).map((part) => encodeURIComponent(String(part))).join("/")}`,
  matrix: (units, images) => `#/x${asQuery({ units: joinAddresses(units), imgs: joinAddresses(images) })}`,
};

/** A query without what is empty; `:`, `,` and `/` stay readable. */
export function asQuery(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString().replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%2F", "/");
  return text ? `?${text}` : "";
}
