/** Numbers about units as bars: which classes excite one, what switching it off does, which units a class depends on. */

import { empty, h } from "./dom.js";
import { number, percent, plural, signed } from "./format.js";
import { lacking, missing, urls } from "./study.js";

/** A list of bars from a common zero; each row is {name, value, text, href}. */
export function barList(label, rows) {
  const most = Math.max(0, ...rows.map((row) => row.value));
  const lowest = Math.min(0, ...rows.map((row) => row.value));
  const span = most - lowest || 1;
  const start = (value) => (most === 0 ? 0 : Math.min(0, value) - lowest);
  const mixed = most > 0 && lowest < 0;
  return h("ul", { class: mixed ? "bars zeroed mixed" : "bars zeroed", "aria-label": label, style: { "--zero": String((-100 * lowest) / span) } }, rows.map(({ name, value, text, href }) => h("li", {},
    href ? h("a", { href, class: "bar-label", title: name }, name) : h("span", { class: "bar-label", title: name }, name),
    h("span", { class: "bar-value tabular" }, text ?? number(value)),
    h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: value < 0 ? "bar-fill below" : "bar-fill above",
      style: { "margin-left": `${(100 * start(value)) / span}%`, width: `${(100 * Math.abs(value)) / span}%` } })))));
}

/** Which classes excite a unit in the scan, and how selective it is. */
export function classHistogram(study, layer, unit) {
  const { scan } = layer;
  if (!scan) return missing(study, "examples", "No data set was scanned: `innersight scan MODEL IMAGES --out STUDY`.");
  if (!scan.classes) return empty("The class of no image of the scan is known: put them into folders named like the classes.");
  const rows = scan.classes[unit] ?? [];
  const found = scan.selectivity;
  const { labels } = study.model;
  if (!rows.length) return empty("No map of this unit over the scan was finite.");
  const known = Number.isFinite(found?.index[unit]) && found.best[unit] >= 0;
  return [
    known ? h("p", { class: "quiet" }, `Selectivity ${number(found.index[unit], 2)} for ${labels[found.best[unit]]}`
      + ` (95% interval ${number(found.low[unit], 2)} to ${number(found.high[unit], 2)}); the class explains `
      + `${percent(found.share[unit])} of its peaks.`) : null,
    barList("Mean peak by class", rows.map(([label, mean, images]) => ({ name: label, value: mean,
      text: `${number(mean)} on ${images}`, href: urls.class(labels.indexOf(label)) }))),
    h("p", { class: "quiet" }, "Mean of the peaks of the unit's maps over the images of each class, highest first."),
  ];
}

/** What the logits do when the unit is set to zero. */
export function switchedOff(study, layer, unit) {
  const { ablation } = layer;
  if (!ablation) return missing(study, "ablation", layer.grid[0] * layer.grid[1] > 1 ? "The units of this layer were not switched off one by one."
    : "Only layers with places are switched off unit by unit.");
  if (ablation.why) return empty(ablation.why);
  const images = study.images.filter((image) => ablation.own[image.id]);
  const others = study.images.length - images.length;
  return [
    h("p", { class: "quiet" }, `Change of the ${ablation.unit} of the class each image is taken for when the unit's map is set to `
      + `${ablation.to}. Negative: the class depends on the unit.`),
    barList("Change when switched off", images.map((image) => {
      const { label, change } = ablation.own[image.id];
      return { name: `${label}, in ${image.name}`, value: change[unit], text: signed(change[unit]), href: urls.image(image.id) };
    })),
    others ? lacking("ablation", `Not on ${plural(others, "image")} added later.`) : null,
  ];
}

/** The units whose removal lowers a class most, over the layers that were switched off. */
export function speakers(layers, number_, most = 12) {
  const rows = layers.flatMap((layer) => {
    const found = layer?.ablation?.classes.find((entry) => entry.class === number_);
    return (found?.mean ?? []).map((value, unit) => ({ layer, unit, value, note: found.note }));
  });
  return rows.filter((row) => row.value < 0).sort((a, b) => a.value - b.value).slice(0, most);
}

/** The units before and after that matter most to this one, where they were computed. */
export function connected(study, layer, unit) {
  const { connections } = layer;
  const at = connections?.units.indexOf(unit) ?? -1;
  if (at < 0) {
    return missing(study, "connections", connections ? `Computed for ${connections.units.length} units of this layer, not for this one.`
      : "Connections between units were not computed.");
  }
  const sides = connections.links.map((link, i) => {
    const rows = connections.rows[at][i].map(({ unit: other, value, share }) => ({ ...end(study, link.layer, other),
      value: Math.sign(value) * share, text: `${signed(value)} · ${percent(share)}` }));
    const title = `${link.direction === "in" ? "From" : "To"} ${ENDS[link.layer] ?? link.layer}, by ${link.by}`;
    return h("div", { title: link.title }, h("h3", {}, title), rows.length ? barList(title, rows) : empty("None."));
  });
  return [h("div", { class: "columns parts" }, sides), connections.notes.map((note) => h("p", { class: "quiet" }, `${note}.`)),
    h("details", { class: "how" }, h("summary", {}, "How to read it"), h("p", { class: "quiet" }, connections.definition))];
}

const ENDS = { class: "the classes", input: "the image" };

/** What stands at the other end of a connection: a class, a band of the image, or a unit. */
function end(study, name, number_) {
  if (name === "class") return { name: study.model.labels[number_], href: urls.class(number_) };
  if (name === "input") return { name: `band ${number_}`, href: null };
  return { name: `${name}:${number_}`, href: urls.unit(name, number_) };
}
