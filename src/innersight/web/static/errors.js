/** What the network gets wrong: what is confused with what, how far its confidence holds, and the images of a selection. */

import { probabilityBars } from "./charts.js";
import { conceptName, conceptTile } from "./concepts.js";
import { enlarge } from "./dialog.js";
import { facts, fill, h, hidden, svg } from "./dom.js";
import { count, number, percent, plural, signed } from "./format.js";
import { hostInfo, sendScanned } from "./jobs.js";
import { imageTile } from "./layer.js";
import { scroller } from "./scroller.js";
import { isReport } from "./source.js";
import { urls } from "./study.js";
import { unitThumb } from "./thumb.js";
import { tileGrid } from "./tiles.js";

const SHOWN = 12; // classes of the matrix
const LISTED = 8; // confusions in the list
const FIRST = 36; // images that are shown before the reader asks for all

/** What each measure of an image is called where there is more, and where there is less of it. */
const MEASURES = {
  brightness: ["brighter", "darker"], contrast: ["higher contrast", "lower contrast"], red: ["redder", "less red"], blue: ["bluer", "less blue"],
  saturation: ["stronger colours", "paler colours"], sharpness: ["sharper", "more blurred"], noise: ["noisier", "less noise"],
  rows: ["plain borders above and below", "no plain borders above and below"], columns: ["plain borders left and right", "no plain borders left and right"],
  across: ["content further right", "content further left"], down: ["content further down", "content further up"],
  lines: ["more horizontal edges", "more vertical edges"], blocks: ["JPEG blocks", "fewer JPEG blocks"],
  size: ["larger files", "smaller files"], aspect: ["wider files", "taller files"],
};

/**
 * How many images there are of each class, predicted as each, and right.
 * @param {Errors} errors
 */
export function totals({ classes }) {
  const own = new Map(), predicted = new Map(), right = new Map();
  for (const [one, images, named, hits] of classes) {
    if (images) own.set(one, images);
    if (named) predicted.set(one, named);
    if (hits) right.set(one, hits);
  }
  return { own, predicted, right };
}

/** How many images of a known class are right. */
export function rightImages({ classes }) {
  return classes.reduce((sum, [, , , hits]) => sum + hits, 0);
}

/** The 95% Wilson interval of a share of so many images. */
export function wilson(hits, images) {
  if (!images) return [0, 1];
  const z = 1.959964, share = hits / images, scale = 1 + z * z / images;
  const middle = share + z * z / (2 * images), half = z * Math.sqrt(share * (1 - share) / images + z * z / (4 * images * images));
  return [Math.max(0, (middle - half) / scale), Math.min(1, (middle + half) / scale)];
}

/** A share with its interval: 81.0% (95%: 72.1 to 87.6%). */
export function shareText(hits, images) {
  const [low, high] = wilson(hits, images);
  return `${percent(hits / images)} (95%: ${(100 * low).toFixed(1)} to ${percent(high)})`;
}

/**
 * The most frequent confusions as bars, each a link to its images.
 * @param {Study} study
 * @param {Errors} errors
 * @param {(row: [number, number, number]) => boolean} [wanted]
 * @param {{limit?: number, current?: ErrorQuery | null}} [options]
 */
export function confusions(study, errors, wanted = () => true, { limit = LISTED, current = null } = {}) {
  const { own } = totals(errors);
  const rows = errors.pairs.filter((row) => row[0] !== row[1] && wanted(row)).slice(0, limit);
  if (!rows.length) return null;
  const most = rows[0][2];
  const { labels } = study.model;
  return h("ol", { class: "confusions", "aria-label": "The most frequent confusions" }, rows.map(([row, column, images]) => h("li", {},
    h("a", { href: urls.errors({ class: row, predicted: column }),
      "aria-current": current?.class === row && current?.predicted === column ? "true" : null },
    h("span", { class: "confusion-names" }, h("strong", {}, labels[row]), h("span", { class: "quiet" }, " taken for "), h("strong", {}, labels[column])),
    h("span", { class: "quiet tabular" }, `${count(images)} of ${count(own.get(row))}`),
    h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: "bar-fill bad", style: { width: `${(100 * images) / most}%` } }))))));
}

/**
 * The confusion matrix of the classes with the most mistakes, and of those chosen. Rows are the true classes.
 * @param {Study} study
 * @param {Errors} errors
 * @param {ErrorQuery} query
 */
export function matrix(study, errors, query) {
  const { labels } = study.model;
  const { own } = totals(errors);
  const mistakes = new Map();
  for (const [row, column, images] of errors.pairs) {
    if (row !== column) for (const one of [row, column]) mistakes.set(one, (mistakes.get(one) ?? 0) + images);
  }
  const order = [...new Set([...own.keys(), ...mistakes.keys()])].sort((a, b) => (mistakes.get(b) ?? 0) - (mistakes.get(a) ?? 0) || a - b);
  const chosen = [...new Set([query.class, query.predicted].filter((one) => one !== null && order.includes(one)))];
  const shown = [...chosen, ...order.filter((one) => !chosen.includes(one))].slice(0, SHOWN).sort((a, b) => a - b);
  const cells = new Map(errors.pairs.map(([row, column, images]) => [`${row},${column}`, images]));
  const cell = (row, column) => {
    const images = cells.get(`${row},${column}`) ?? 0;
    const share = images / (own.get(row) || 1);
    const kind = !images ? "none" : row === column ? "hit" : "miss";
    const words = `${labels[row]} predicted as ${labels[column]}: ${plural(images, "image")}`;
    return h("td", { class: `error-cell ${kind}`, style: images ? { "--share": share.toFixed(3) } : null },
      images ? h("a", { href: urls.errors({ class: row, predicted: column }), title: words, "aria-label": words,
        "aria-current": query.class === row && query.predicted === column ? "true" : null }, count(images)) : null);
  };
  const name = (one) => h("a", { href: urls.class(one), title: labels[one] }, labels[one]);
  return h("figure", { class: "error-matrix" },
    scroller(h("table", { class: "error-table" },
      h("caption", { class: "sr" }, "Confusion matrix: rows are the true classes, columns the predicted ones"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "quiet" }, "true ↓ predicted →")),
        shown.map((one) => h("th", { scope: "col", class: "error-column" }, h("span", {}, name(one)))))),
      h("tbody", {}, shown.map((row) => h("tr", {}, h("th", { scope: "row" }, name(row)), shown.map((column) => cell(row, column))))))),
    h("figcaption", { class: "quiet" }, order.length > shown.length
      ? `The ${shown.length} of ${count(order.length)} classes with the most mistakes. ` : "",
    "Numbers are images; the darker, the larger the share of the true class. A cell opens its images."));
}

/**
 * How often predictions of a confidence are right: a reliability diagram, whose bars are links.
 * @param {Errors} errors
 */
export function reliability({ bins }) {
  const some = bins.map(([images, correct, confidence], i) => ({ images, correct, confidence, low: i / bins.length, high: (i + 1) / bins.length }))
    .filter(({ images }) => images);
  if (!some.length) return null;
  const W = 340, H = 250, left = 40, top = 10, right = 12, bottom = 58;
  const x = (value) => left + value * (W - left - right);
  const y = (value) => H - bottom - value * (H - top - bottom);
  const most = Math.max(...some.map(({ images }) => images));
  const text = (share) => `${Math.round(100 * share)}%`;
  const summary = some.map(({ images, correct, low, high }) => `${text(low)} to ${text(high)}: ${text(correct / images)} of ${plural(images, "image")} right`).join("; ");
  return h("figure", { class: "chart reliability" }, h("figcaption", {}, h("strong", {}, "Is its confidence right?")),
    svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `Reliability diagram. ${summary}` },
      [0, 0.5, 1].map((tick) => [svg("line", { class: "grid", x1: left, x2: W - right, y1: y(tick), y2: y(tick) }),
        svg("text", { class: "tick", x: left - 6, y: y(tick) + 3.5, "text-anchor": "end" }, text(tick)),
        svg("text", { class: "tick", x: x(tick), y: H - 20, "text-anchor": tick ? tick === 1 ? "end" : "middle" : "start" }, text(tick))]),
      svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
      some.map(({ images, correct, confidence, low, high }) => {
        const [from, to] = wilson(correct, images);
        return svg("a", { href: urls.errors({ from: low || null, to: high === 1 ? null : high }), "aria-label": `Images of ${text(low)} to ${text(high)} confidence` },
          svg("rect", { class: "bin", x: x(low) + 1, width: x(high) - x(low) - 2, y: H - 34 - (16 * images) / most, height: Math.max(1, (16 * images) / most) }),
          svg("line", { class: "spread", x1: x(confidence), x2: x(confidence), y1: y(from), y2: y(to) }),
          svg("circle", { class: "dot s0", cx: x(confidence), cy: y(correct / images), r: 4 }),
          svg("title", {}, `${text(low)} to ${text(high)} sure: ${text(correct / images)} of ${plural(images, "image")} right`));
      }),
      svg("text", { class: "tick", x: (left + W - right) / 2, y: H - 5, "text-anchor": "middle" }, "confidence; bars: how many images")),
    h("p", { class: "quiet" }, "Height: the share that is right, with its 95% interval. On the line, 80% sure means right 8 times in 10; below it the network is too sure."));
}

/**
 * The images of a selection as thumbnails; one opens its prediction, its concepts, and the way to its heatmaps.
 * @param {Study} study
 * @param {Errors} errors
 * @param {ErrorImage[]} images
 * @param {any} documents
 */
export function thumbnails(study, errors, images, documents) {
  const { labels } = study.model;
  const sheet = /** @type {Sheet} */ (errors.sheet);
  const items = images.map((image, i) => ({
    tile: imageTile(sheet, errors.images.indexOf(image)),
    name: image.class < 0 ? labels[image.best[0][0]] : image.class === image.best[0][0] ? labels[image.class] : `${labels[image.class]} → ${labels[image.best[0][0]]}`,
    note: certain(image),
    warn: image.class >= 0 && image.class !== image.best[0][0],
    label: `${image.name}: ${sentence(study, image)}`,
    onopen: () => enlarge(images, i, (one) => details(study, errors, one, documents)),
  }));
  const place = h("div", { class: "error-images" });
  const draw = (some) => fill(place, tileGrid(some, { label: "Images of the selection" }), some.length < items.length
    ? h("p", { class: "more" }, h("button", { type: "button", class: "button", onclick: () => draw(items) }, `Show all ${count(items.length)} images`)) : null);
  draw(items.slice(0, FIRST));
  return place;
}

/** @param {ErrorImage} image */
function certain({ best }) {
  const [, score, probability] = best[0];
  return probability === null ? signed(score) : percent(probability);
}

function sentence(study, image) {
  const { labels } = study.model;
  const as = `predicted as ${labels[image.best[0][0]]}, ${certain(image)}`;
  return image.class < 0 ? `${as}; its class is not known` : image.class === image.best[0][0] ? `${as}, right` : `${as}; it is ${labels[image.class]}`;
}

/** One image: its prediction, the concepts that are on, and where its heatmaps are. */
function details(study, errors, image, documents) {
  const { labels } = study.model;
  const prediction = image.best.map(([own, logit, probability]) => ({ class: own, label: labels[own], logit, probability }));
  const added = study.images.find(({ scanned }) => scanned === image.number);
  const on = conceptsOf(errors, image);
  return {
    title: [image.name.split(/[\\/]/).slice(-2).join("/")],
    body: h("div", { class: "enlarged error-image" }, imageTile(errors.sheet, errors.images.indexOf(image), image.name),
      h("div", {}, h("p", {}, sentence(study, image)), probabilityBars(prediction, image.class < 0 ? null : labels[image.class], urls.class),
        facts([["rank of its class", image.rank], ["probability of its class", image.own === null ? null : percent(image.own)],
          ["trained on it", image.trained === null ? null : image.trained ? "yes" : "no"],
          ["concepts that are on", on.length ? h("ul", { class: "inline-list" }, on.map((one) => h("li", {}, conceptLink(errors, documents, one)))) : null],
          ["file", h("code", {}, image.name)]]),
        added ? h("p", {}, h("a", { class: "button", href: urls.image(added.id) }, "Its heatmaps, units and concepts"))
          : h("div", { "data-scanned": image.number }, adding(study, image)))),
  };
}

/** What adds an image of the scan to the study: a button where the host computes, else the command. */
function adding(study, image) {
  const command = h("p", { class: "quiet" }, "Its heatmaps: ", h("code", {}, `innersight explain ${quoted(study.model.source)} ${quoted(image.name)}`));
  if (isReport) return command;
  const place = h("div", {}, command);
  hostInfo().then((host) => {
    if (!host?.compute) return;
    const problem = h("span", { class: "bad-text", role: "alert" });
    const button = h("button", { type: "button", class: "button offer", onclick: async () => {
      button.disabled = true;
      fill(problem);
      try {
        const { request } = await sendScanned(image.number);
        follow(study, `d${request.file.slice(0, 8)}`);
        // Pages do not change below an open dialog; the list of jobs shows how far it is.
        place.closest("dialog")?.close();
      } catch (error) {
        fill(problem, error.message);
        button.disabled = false;
      }
    } }, "Show its heatmaps, units and concepts");
    fill(place, button, " ", problem);
  });
  return place;
}

/** A word of a command for a shell: a study may come from a stranger, and what it names is pasted. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) && !word.startsWith("-") ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Open the page of an image as soon as the study has it. */
function follow(study, id) {
  const open = () => {
    if (!study.images.some((one) => one.id === id)) return;
    removeEventListener("study", open);
    location.hash = urls.image(id);
  };
  addEventListener("study", open);
  open();
}

/** The concepts that are on in an image: whose peak is at least half the highest among the images looked at. */
export function conceptsOf(errors, image) {
  const own = errors.strength[errors.images.indexOf(image)] ?? [];
  return own.map((value, concept) => ({ concept, share: value / (peaks(errors)[concept] || 1) })).filter(({ share }) => share >= 0.5)
    .sort((a, b) => b.share - a.share).map(({ concept }) => concept);
}

/** The highest peak of each concept, once for each document. */
const highest = new WeakMap();
function peaks(errors) {
  if (!highest.has(errors)) {
    const found = (errors.strength[0] ?? []).map((_, concept) => errors.strength.reduce((most, row) => Math.max(most, row[concept]), 0));
    highest.set(errors, found);
  }
  return highest.get(errors);
}

/** What a concept is called in the set whose strengths there are. */
export function nameOf(errors, documents, concept) {
  const set = documents.concepts?.sets.find(({ address }) => address === errors.set);
  return set?.concepts[concept] ? conceptName(set, concept) : `${errors.set}:${concept}`;
}

function conceptLink(errors, documents, concept) {
  const [layer, name] = errors.set.split(/~(?=[^~]*$)/);
  return h("a", { href: urls.concepts(layer, name, concept) }, nameOf(errors, documents, concept));
}

/**
 * What the wrong images of a selection have in common that right ones of the same classes lack.
 * @param {Study} study
 * @param {Errors} errors
 * @param {ErrorQuery} query
 * @param {any} documents
 */
export function differences(study, errors, query, documents) {
  const found = errors.differences.find((one) => one.class === query.class && one.predicted === query.predicted)
    ?? (query.class === null && query.predicted !== null ? null : undefined);
  if (!found) return h("p", { class: "quiet" }, found === null ? "Mistakes are compared by their true class: choose one to see what they have in common."
    : "Too few images of this selection to test what its mistakes have in common: that takes 8 wrong and 8 right ones.");
  const basis = `${plural(found.wrong, "wrong image")} against ${plural(found.right, "right one")} of the same ${query.class === null ? "classes" : "class"}`;
  if (!found.rows.length) return h("p", { class: "quiet" }, `Nothing that stands out: none of ${count(found.tested)} units, concepts and measures differs between ${basis}.`);
  const order = ["property", "concept", "unit"];
  const rows = [...found.rows].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  return h("div", { class: "differences" },
    h("p", { class: "quiet" }, `${basis}; ${count(found.tested)} units, concepts and measures were tested.`),
    h("ul", {}, rows.map((one) => h("li", {}, thumb(study, errors, documents, one), h("span", { class: "difference-name" }, difference(errors, documents, one)),
      effectBar(one), h("span", { class: "quiet tabular" }, `${number(one.wrong)} against ${number(one.right)}; ${one.p < 0.001 ? "p < 0.001" : `p = ${number(one.p, 2)}`}`)))));
}

/** What a unit or concept looks like; nothing for a measure of the image. */
function thumb(study, errors, documents, { kind, number: own }) {
  if (kind === "unit") return unitThumb(study, `${errors.layer}:${own}`);
  const set = documents.concepts?.sets.find(({ address }) => address === errors.set);
  return h("span", { class: "thumb" }, kind === "concept" && set?.concepts[own] ? conceptTile(set, null, own) : null);
}

function difference(errors, documents, { kind, number: own, effect }) {
  const more = effect > 0.5;
  if (kind === "property") {
    const name = errors.properties[own];
    return h("strong", {}, (MEASURES[name] ?? [`more ${name}`, `less ${name}`])[more ? 0 : 1]);
  }
  const strength = h("span", { class: "quiet" }, more ? " stronger" : " weaker");
  return kind === "concept" ? [conceptLink(errors, documents, own), strength]
    : [h("a", { href: urls.unit(errors.layer, own) }, `${errors.layer}:${own}`), strength];
}

/** In how many pairs the wrong image has more of it than the right one; half is no difference. */
function effectBar({ effect }) {
  const words = `in ${percent(effect)} of the pairs the wrong image has more of it`;
  return h("span", { class: "pairs-bar", title: words }, hidden(words), h("span", { class: "pairs-bar-fill", "aria-hidden": "true",
    style: { left: `${100 * Math.min(0.5, effect)}%`, width: `${100 * Math.abs(effect - 0.5)}%` } }));
}
