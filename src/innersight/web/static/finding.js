/** A finding as a card: the statement, its effect beside the control, and the images that show it. */

import { unitOf } from "./address.js";
import { called } from "./annotations.js";
import { h, hidden } from "./dom.js";
import { count, number, plural } from "./format.js";
import { putBox } from "./field.js";
import { imageTile } from "./layer.js";
import { urls } from "./study.js";

const LISTED = 8; // images named before the rest is folded away

/**
 * @param {Study} study
 * @param {Findings} findings
 * @param {number} at
 */
export function findingCard(study, findings, at) {
  const one = findings.findings[at];
  const title = findings.checked.find(({ check }) => check === one.check)?.title ?? one.check;
  const kind = one.fault ? "bad" : one.confirmed ? "known" : "";
  return h("article", { class: one.fault ? "finding fault" : "finding", id: `finding-${at + 1}`, "data-check": one.check,
    "aria-labelledby": `finding-${at + 1}-text` },
  h("div", { class: "finding-words" },
    h("p", { class: "badges" }, h("span", { class: `badge ${kind}` }, standing(one)),
      h("span", { class: "quiet" }, title, one.reason ? `: ${one.reason}` : null, one.class === null ? null : [", class ",
        one.number === null ? one.class : h("a", { href: urls.class(one.number) }, one.class)])),
    h("h3", { id: `finding-${at + 1}-text` }, linked(study, one.sentence)),
    one.next ? h("p", { class: "finding-next" }, h("strong", {}, "Next: "), linked(study, one.next)) : null),
  one.effect ? effectBars(one.effect, kind) : null,
  one.proof ? montage(one.proof) : null,
  imageList(one));
}

/** Whether a finding was confirmed, and whether it is a fault. */
export function standing({ confirmed, fault }) {
  return !confirmed ? "not confirmed" : fault ? "confirmed" : "confirmed, no fault";
}

/** A text in which the addresses of units that the study has are links. */
function linked(study, text) {
  return text.split(/(\s+)/).map((word) => {
    const [, address, rest] = /^(.*?)([.,;)]*)$/s.exec(word) ?? [];
    const unit = unitOf(address ?? "");
    const layer = unit && study.layers.find(({ name, document, units }) => name === unit.layer && document && unit.unit < units);
    return layer ? [h("a", { href: urls.unit(unit.layer, unit.unit) }, called(address)), rest] : word;
  });
}

/** A value of an effect as text: a share in percent. */
function amount(value, unit) {
  return unit.startsWith("share") && Number.isFinite(value) ? `${value < 0 ? "−" : ""}${Math.round(100 * Math.abs(value))}%` : number(value);
}

/** The effect above its control, from a common zero; a whisker is the 95% interval. */
function effectBars({ value, interval, control, p, unit }, kind) {
  const ends = (interval ?? []).filter(Number.isFinite);
  const reach = [0, value, control ?? 0, ...ends].filter(Number.isFinite);
  const low = Math.min(...reach);
  const high = unit.startsWith("share") && low >= 0 ? Math.max(1, ...reach) : Math.max(...reach);
  const place = (number) => `${(100 * ((Number.isFinite(number) ? number : 0) - low)) / (high - low || 1)}%`;
  const span = (from, to) => ({ left: place(Math.min(from, to)), width: `calc(${place(Math.max(from, to))} - ${place(Math.min(from, to))})` });
  const stated = [ends.length === 2 ? `95% interval ${amount(ends[0], unit)} to ${amount(ends[1], unit)}` : null, probability(p)].filter(Boolean);
  /** @param {number[]} [whisker] both ends of the interval, where there is one */
  const row = (name, number, style, whisker = []) => h("div", { class: "effect-row" },
    h("span", { class: "quiet" }, name),
    h("span", { class: "effect-track", "aria-hidden": "true" },
      h("span", { class: `effect-fill ${style}`, style: span(0, number) }),
      whisker.length === 2 ? h("span", { class: "effect-whisker", style: span(whisker[0], whisker[1]) }) : null),
    h("span", { class: "tabular effect-value" }, amount(number, unit)));
  return h("figure", { class: "effect", style: { "--zero": place(0) } },
    row("effect", value, kind || "open", ends),
    control === null ? null : row("control", control, "control"),
    h("figcaption", { class: "quiet" }, [unit, ...stated].filter(Boolean).join("; ")));
}

function probability(p) {
  if (p === null) return null;
  return p < 0.001 ? "p < 0.001" : `p = ${number(p, 2)}`;
}

/** The images that show a finding, with the region that matters in each. */
function montage({ sheet, regions, captions }) {
  return h("ul", { class: "montage" }, captions.map((caption, i) => h("li", {},
    h("span", { class: "crossed" }, imageTile(sheet, i, caption || `image ${i + 1}`), regions[i] ? frame(regions[i]) : null),
    h("span", { class: "quiet" }, caption, regions[i] ? hidden(" (the region that matters is framed)") : null))));
}

function frame([x0, y0, x1, y1]) {
  const element = h("span", { class: "field-box finding-box", "aria-hidden": "true" });
  putBox(element, { left: x0, top: y0, width: x1 - x0, height: y1 - y0 });
  return element;
}

/** The images concerned; those that the study has are links to their pages, where their heatmaps are. */
function imageList({ images, images_total: total }) {
  if (!images.length) return null;
  const item = ({ name, id }) => h("li", {}, id ? h("a", { href: urls.image(id), title: name }, short(name)) : h("span", { title: name }, short(name)));
  const more = Math.max(total, images.length) - Math.min(LISTED, images.length);
  const rest = images.slice(LISTED);
  return h("div", { class: "finding-images quiet" },
    h("span", {}, `${plural(Math.max(total, images.length), "image")}: `),
    h("ul", {}, images.slice(0, LISTED).map(item)),
    more ? h("details", {}, h("summary", {}, `${count(more)} more`), h("ul", {}, rest.map(item)),
      total > images.length ? h("p", {}, `The first ${count(images.length)} are listed.`) : null) : null);
}

/** The last two parts of a path. */
function short(name) {
  return name.split(/[\\/]/).slice(-2).join("/");
}

/** What was checked, what was not and why, and what this could have missed. */
export function checkedList({ checked, skipped, notes }) {
  const badge = (done) => h("span", { class: done ? "badge good" : "badge" }, done ? "checked" : "not checked");
  return h("div", { class: "checked" },
    h("ul", {}, checked.map(({ title, done, sentence, limits }) => h("li", {},
      h("h4", {}, title, badge(done)), h("p", {}, sentence),
      done && limits ? h("p", { class: "quiet" }, h("strong", {}, "Could have missed: "), limits) : null))),
    notes.length ? h("p", { class: "quiet" }, notes.join("; ")) : null,
    skipped.length ? h("details", { class: "how" }, h("summary", {}, `${plural(skipped.length, "file")} could not be read`),
      h("ul", {}, skipped.map((sentence) => h("li", {}, sentence)))) : null);
}

/**
 * How much was found, as a heading.
 * @param {Findings} findings
 */
export function verdict({ findings, clean }) {
  const faults = findings.filter(({ fault }) => fault).length;
  return clean ? "Nothing confirmed: what was checked, and what this could have missed" : `${plural(faults, "fault")} confirmed`;
}

/** Over what, at which cost, and what else there is. */
export function extent({ findings, images, passes, budget, checked }) {
  const others = findings.filter(({ fault }) => !fault).length;
  const ran = checked.filter(({ done }) => done).length;
  return `${plural(ran, "check")} of ${count(checked.length)} ran on ${plural(images, "image")} (budget ${budget}, ${count(passes)} forward passes)`
    + `${others ? `; ${plural(others, "further finding")} below: what classes rely on, and what to look at` : ""}.`;
}
