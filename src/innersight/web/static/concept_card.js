/** A concept as a card: pattern, examples, label, the classes it counts for, how stable it is, the units it is made of. */

import { called } from "./annotations.js";
import { annotator } from "./annotator.js";
import { conceptName, conceptTile, exampleTiles } from "./concepts.js";
import { facts, h } from "./dom.js";
import { number, percent, plural, signed } from "./format.js";
import { urls } from "./study.js";
import { unitThumb } from "./thumb.js";

const UNITS = 6;
const SMALL = 0.05; // of the largest contribution of a concept: the class is left out

/**
 * @param {Study} study
 * @param {ConceptSet} set
 * @param {LayerDocument | null} own  the set as a layer
 * @param {number} concept
 */
export function conceptCard(study, set, own, concept) {
  const { label, classes, share, variance, seeds, halves, units } = set.concepts[concept];
  const address = `${set.address}:${concept}`;
  const shown = conceptTile(set, own, concept);
  const page = own ? urls.unit(set.address, concept) : null;
  const heading = conceptName(set, concept);
  return h("article", { class: "concept", id: `concept-${set.name}-${concept}`, "data-address": address, tabindex: "-1", "aria-labelledby": `concept-${set.name}-${concept}-name` },
    page ? h("a", { class: "tile concept-pattern", href: page, title: `Maps and connections of ${address}` }, shown) : h("span", { class: "concept-pattern" }, shown),
    h("div", { class: "concept-about" },
      h("h3", { id: `concept-${set.name}-${concept}-name` }, heading, heading === `${set.name}:${concept}` ? null : h("span", { class: "quiet" }, ` ${set.name}:${concept}`)),
      label ? h("p", { class: "quiet" }, `Labelled by ${label.by} ${number(label.score, 2)}`,
        label.interval ? ` (95% interval ${number(label.interval[0], 2)} to ${number(label.interval[1], 2)}).` : ".") : null,
      h("div", { class: "concept-examples" }, exampleTiles(set, concept)),
      facts([
        ["share of scores", percentOf(share)],
        ["share of variance", percentOf(variance)],
        ["stability", `${number(seeds, 2)} over seeds, ${number(halves, 2)} over halves (cosine)`],
        ["units", h("span", { class: "concept-units" }, units.slice(0, UNITS).map(({ unit, weight }) =>
          h("a", { href: urls.unit(set.layer, unit), title: `${set.layer}:${unit}, weight ${number(weight, 2)}` }, unitThumb(study, `${set.layer}:${unit}`), called(`${set.layer}:${unit}`, `${unit}`))))],
      ]),
      annotator(address)),
    h("div", { class: "concept-classes" }, told(classes).map((one) => effects(set, one, reach(classes)))));
}

function percentOf(value) {
  return Number.isFinite(value) ? `${value < 0 ? "−" : ""}${percent(Math.abs(value))}` : null;
}

/** The classes that there is something to say of: those with more than a small part of the largest contribution. */
function told(classes) {
  const most = Math.max(0, ...classes.map(({ contribution }) => Math.abs(contribution.value)).filter(Number.isFinite));
  return classes.filter(({ contribution }) => Math.abs(contribution.value) >= SMALL * most);
}

/**
 * The lowest and the highest value of all classes: one scale for a card.
 * @param {ConceptClass[]} classes
 * @returns {[number, number]}
 */
function reach(classes) {
  const ends = classes.flatMap(({ contribution, removal }) => [contribution, removal]).flatMap(({ value, interval }) => [value, ...(interval ?? [])]).filter(Number.isFinite);
  return [Math.min(0, ...ends), Math.max(0, ...ends)];
}

/** What a concept adds to a class, and what its removal changes, from a common zero with 95% intervals. */
function effects(set, { class: number_, label, images, contribution, removal }, [low, high]) {
  const rows = [["contribution", contribution, "above"], ["removal", removal, "below"]];
  const place = (value) => (100 * ((Number.isFinite(value) ? value : 0) - low)) / (high - low || 1);
  const between = (from, to) => ({ left: `${place(Math.min(from, to))}%`, width: `${Math.abs(place(to) - place(from))}%` });
  return h("figure", { class: "concept-class", style: { "--zero": `${place(0)}%` } },
    h("figcaption", {}, h("a", { href: urls.class(number_) }, label), h("span", { class: "quiet" }, ` ${plural(images, "image")}`)),
    rows.map(([name, { value, interval, p }, style]) => h("div", { class: "effect-row", title: stated(name, value, interval, p, set.unit) },
      h("span", { class: "quiet" }, name),
      h("span", { class: "effect-track", "aria-hidden": "true" }, h("span", { class: `effect-fill ${style}`, style: between(0, value) }),
        interval ? h("span", { class: "effect-whisker", style: between(interval[0], interval[1]) }) : null),
      h("span", { class: "tabular effect-value" }, signed(value, 2)))));
}

function stated(name, value, interval, p, unit) {
  const range = interval ? `, 95% interval ${signed(interval[0])} to ${signed(interval[1])}` : "";
  return `${name} ${signed(value)} ${unit}${range}${Number.isFinite(p) ? `, p = ${number(p, 2)}` : ""}`;
}
