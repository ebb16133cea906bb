/** Which regions of an image count for a class: one figure per image, target and method. */

import { scaleOf } from "../colour.js";
import { drawContours, drawTop } from "../contours.js";
import { choice, empty, fill, h, select } from "../dom.js";
import { HOW_REMOVED, byRemoval, chosenNote, removalNote } from "../faithful.js";
import { count, plural, signed, size } from "../format.js";
import { legend } from "../legend.js";
import { offerPanel } from "../offering.js";
import { panel } from "../panel.js";
import { probe, probeHint } from "../probe.js";
import { setQuery } from "../router.js";
import { saveButton } from "../save.js";
import { section } from "../section.js";
import { drawMap, drawOverlay, drawImage, readMap } from "../sheet.js";
import { missing, imageIndex, reason, urls } from "../study.js";
import { tile } from "../tiles.js";
import { standing } from "./trust.js";

const METHODS = 2;
const FIRST = ["gradcam", "saliency"];
const PARTS = [0.05, 0.1, 0.2, 0.5];
const WAYS = {
  cells: "",
  smooth: "Smooth maps are interpolated between the cells: only the cells were measured.",
  contours: "Lines at a quarter, a half and three quarters of the largest value, in blue below zero; interpolated between the cells, and of the means of 28 × 28 cells where a map is finer.",
  top: "The image where the heatmap is highest, the rest darkened.",
};
const SAVED = { cells: "", smooth: ", interpolated between the cells", contours: ", lines at 25, 50 and 75% of the largest value", top: "" };

panel({
  name: "heatmaps",
  title: "Heatmaps",
  order: 70,
  document: "heatmaps",
  story: { show: heatmapsSection },
  image: { title: "Heatmaps", class: "heatmaps-title", show: heatmapsOfImage },
  class: [
    { column: "wide", title: "Mean heatmap", show: averages },
    { column: "wide", title: "Heatmaps by image", show: heatmapsOfClass },
  ],
  table({ study, documents }) {
    const known = Object.keys(documents.heatmaps?.methods ?? {});
    const done = known.length;
    const others = Object.keys(study.methods ?? {}).filter((name) => !known.includes(name)).length;
    return { computed: done ? plural(done, "method") : null, done, left: 0,
      missing: others && done ? `${plural(others, "other method")}, available on the page of each image` : done ? null
        : reason(study, "heatmaps", "not requested") };
  },
  offer(study, { page, name }) {
    if (page === "i") return heatmaps(study, [name], {});
    return page === "" ? heatmaps(study, study.images.map((image) => image.id), {}) : null;
  },
  below: { show: (study, { page, name }, host, shown) =>
    (page === "i" && shown.querySelector(".heatmaps") && host.compute ? requestForm(study, name, host) : null) },
  found: (study) => Object.entries(study.methods ?? {}).map(([name, { title }]) => ({ name: title, also: [name], kind: "heatmap method",
    href: study.images.length ? urls.image(study.images[0].id, { method: name }) : urls.story("heatmaps") })),
  jobs: { heatmaps: ({ image }, study) => `Heatmaps of ${study.images.find(({ id }) => id === image)?.name ?? image}` },
});

function heatmapsSection({ study, documents }) {
  const { heatmaps } = documents;
  const entries = firstTargets(heatmaps?.entries ?? []);
  return section("heatmaps", "Heatmaps", "Which regions of the image count for the class",
    `A heatmap (attribution, saliency map) shows how much each location counts for the class, in ${entries[0]?.unit ?? "logits"}. `
      + "In signed maps, red counts for the class and blue against it.",
    entries.length ? figures(study, heatmaps, entries, null, heatmaps.entries) : missing(study, "heatmaps", "No heatmaps were computed."),
    study.how.heatmaps);
}

/** Of every image the first target, by the methods that hold most of it; its page has the others. */
function firstTargets(entries) {
  const first = new Map();
  for (const entry of entries) if (!first.has(entry.image)) first.set(entry.image, targetKey(entry));
  return [...first].flatMap(([image, target]) => byRemoval(entries.filter((entry) => entry.image === image && targetKey(entry) === target
    && !twin(entry, entries))).slice(0, METHODS));
}

/** The key of a target: the class, and the class it is compared with. */
function targetKey({ target }) {
  return target.rival === null || target.rival === undefined ? `${target.class}` : `${target.class}-${target.rival}`;
}

/** The target in words. */
function targetText({ target }) {
  return target.rival_label ? `${target.label} vs ${target.rival_label}` : target.label;
}

/** The figures of the entries given, under one switch for the view and one slider for the overlay. */
function figures(study, heatmaps, entries, trust = null, all = entries) {
  const view = { mode: "overlay", opacity: 0.9, way: "cells", share: 0.2 };
  const tiles = [];
  const redraw = () => tiles.forEach((refresh) => refresh());
  const slider = h("input", { type: "range", min: "0", max: "100", value: "90", "aria-label": "Opacity of the heatmap",
    oninput: () => {
      view.opacity = Number(slider.value) / 100;
      redraw();
    } });
  const note = h("p", { class: "quiet", role: "note", hidden: true });
  const part = select("Part", PARTS.map((share) => [String(share), `${100 * share}%`]), String(view.share), (share) => {
    view.share = Number(share);
    redraw();
  });
  part.hidden = true;
  const groups = new Map();
  for (const entry of entries) groups.set(group(entry), [...(groups.get(group(entry)) ?? []), entry]);
  return h("div", {},
    h("div", { class: "toolbar" },
      choice("View", [["input", "Image"], ["overlay", "Overlay"], ["map", "Heatmap"]], view.mode, (mode) => {
        view.mode = mode;
        slider.disabled = mode !== "overlay";
        redraw();
      }),
      choice("Drawn as", [["cells", "Cells"], ["smooth", "Smooth"], ["contours", "Contours"], ["top", "Top part"]], view.way, (way) => {
        view.way = way;
        note.textContent = WAYS[way];
        note.hidden = !WAYS[way];
        part.hidden = way !== "top";
        redraw();
      }), part,
      h("label", { class: "field" }, h("span", {}, "Opacity"), slider), probeHint()),
    note,
    h("div", { class: `abreast${groups.size > 1 && entries.length <= 2 * groups.size ? " pairs" : ""}` },
      [...groups.values()].map((members) => h("div", { class: "group" },
        heading(study, members[0]),
        chosenNote(heatmaps, all.filter((entry) => group(entry) === group(members[0]))),
        members[0].doubt ? h("p", { class: "doubt", role: "note" }, members[0].doubt) : null,
        h("div", { class: "heatmaps" }, byRemoval(members).filter((entry) => !twin(entry, members)).map((entry) => figure(study, heatmaps, entry, view, tiles, trust))),
        twins(heatmaps, members)))),
    entries.some((entry) => entry.removal) ? h("details", { class: "how" }, h("summary", {}, "How the methods were compared on the image"), h("p", {}, HOW_REMOVED)) : null);
}

const FINEST = 256; // levels of the values in a sheet

/** The entry before this one that shows the same map, up to what a sheet of values distinguishes. */
function twin(entry, entries) {
  const close = (a, b) => Math.abs(a - b) * FINEST <= entry.hi - entry.lo;
  return entries.slice(0, entries.indexOf(entry)).find((other) => group(other) === group(entry) && !entry.verdict && !other.verdict
    && other.unit === entry.unit && other.sheet.files[0] === entry.sheet.files[0] && close(other.lo, entry.lo) && close(other.hi, entry.hi));
}

/** Which methods show the map of another one. */
function twins(heatmaps, entries) {
  const titleOf = ({ method }) => heatmaps.methods[method]?.title ?? method;
  return entries.map((entry) => [entry, twin(entry, entries)]).filter(([, other]) => other).map(([entry, other]) =>
    h("p", { class: "quiet heatmap-twin", role: "note", "data-method": entry.method }, h("strong", {}, titleOf(entry)), `: identical to ${titleOf(other)} here.`));
}

function group(entry) {
  return `${entry.image} ${targetKey(entry)}`;
}

function heading(study, { image: id, target }) {
  const image = study.images[imageIndex(study, id)];
  return h("h3", {}, h("a", { href: urls.image(id) }, image.name), h("span", { class: "quiet" }, ", class "),
    h("a", { href: urls.class(target.class) }, target.label),
    target.rival_label ? [h("span", { class: "quiet" }, " vs "),
      h("a", { href: urls.class(target.rival) }, target.rival_label)] : null,
    h("span", { class: "quiet" }, `: logit ${signed(target.logit)}`, target.text ? `, ${target.text}` : ""));
}

function figure(study, heatmaps, entry, view, tiles, trust) {
  const method = heatmaps.methods[entry.method] ?? { title: entry.method };
  const index = imageIndex(study, entry.image);
  const isSigned = entry.lo < 0;
  const scale = { signed: isSigned, limit: entry.scale.high, clipped: entry.scale.clipped };
  const read = () => readMap(entry.sheet, 0, entry.lo, entry.hi);
  const painter = async (canvas, room) => {
    if (view.mode === "input") return drawImage(canvas, study.seen, index);
    const map = await read();
    const smooth = view.way === "smooth";
    canvas.classList.toggle("smooth", view.way !== "cells");
    if (view.way === "contours") return drawContours(canvas, { map, scale, seen: study.seen, index });
    if (view.way === "top") return drawTop(canvas, { map, share: view.share, seen: study.seen, index });
    return view.mode === "map" ? drawMap(canvas, map, scale)
      : drawOverlay(canvas, room, { map, scale, seen: study.seen, index, opacity: view.opacity, smooth });
  };
  const about = [method.title, entry.layer ? ` at ${entry.layer.name}` : "", `, ${size(entry.grid)} cells`].join("");
  const caption = h("figcaption", {}, h("strong", {}, method.title),
    h("span", { class: "quiet" }, entry.layer ? `at ${entry.layer.name}, ` : "", `${size(entry.grid)} cells`));
  if (entry.verdict) {
    const plain = tile((canvas) => drawImage(canvas, study.seen, index), study.seen.tile,
      { label: "the image without a heatmap" });
    return h("figure", { class: "heatmap none" }, caption, plain,
      h("p", { class: "verdict", role: "note" }, h("strong", {}, "Empty heatmap. "), entry.verdict),
        methodNote(method, entry));
  }
  const element = tile(painter, study.seen.tile, { crisp: true, label: about });
  tiles.push(() => {
    element.painter = painter;
  });
  const probed = probe(element, { read, image: study.images[index], unit: entry.unit, isSigned, label: about });
  return h("figure", { class: "heatmap", "data-method": entry.method },
    caption, saveButton(() => element.querySelector("canvas"),
      `${entry.method} ${targetText(entry)} ${study.images[index].name}`,
      () => ({ lines: [`${targetText(entry)}: ${about}${SAVED[view.way]}${view.way === "top" ? `, the highest ${100 * view.share}%` : ""}`, study.images[index].name],
        scale, unit: entry.unit })),
    probed.area, legend(scale, entry.unit), probed.output, removalNote(entry), standing(trust, entry.method, study.model), methodNote(method, entry));
}

function methodNote(method, entry) {
  const parts = [method.when, method.paper, entry.layer?.why].filter(Boolean);
  return parts.length ? h("details", { class: "how" }, h("summary", {}, "About this method"),
    parts.map((text) => h("p", {}, text))) : null;
}

function heatmapsOfImage({ study, image, documents, query }) {
  const entries = (documents.heatmaps?.entries ?? []).filter((entry) => entry.image === image.id);
  return entries.length ? [h("p", { class: "quiet" }, "A heatmap (attribution, saliency map) shows how much each location counts for the class. "
      + "In signed maps, red counts for the class and blue against it."),
    byTarget(study, documents.heatmaps, documents.trust, entries, query.get("target"))]
    : missing(study, "heatmaps", "No heatmaps of this image were computed.");
}

/** The maps for a class itself, not for its lead over another. */
function ofClass({ documents, number }) {
  return (documents.heatmaps?.entries ?? []).filter(({ target }) => target.class === number && (target.rival ?? null) === null);
}

function heatmapsOfClass(shown) {
  const entries = ofClass(shown);
  return entries.length ? figures(shown.study, shown.documents.heatmaps, entries)
    : empty("No heatmap of this study explains this class.");
}

/** The heatmaps of one target at a time: a class, or a class compared with another. */
function byTarget(study, heatmaps, trust, entries, wanted) {
  const names = new Map(entries.map((entry) => [targetKey(entry), targetText(entry)]).reverse());
  const order = [...new Set(entries.map(targetKey))];
  const panel = h("div", {});
  const show = (target) => fill(panel, figures(study, heatmaps, entries.filter((entry) => targetKey(entry) === target), trust));
  const current = order.includes(wanted) ? wanted : order[0];
  show(current);
  return [
    order.length > 1 ? h("div", { class: "toolbar" }, choice("Class explained",
      order.map((target) => [target, names.get(target)]), current, (target) => {
        setQuery({ target: target === order[0] ? null : target });
        show(target);
      })) : null,
    panel,
  ];
}

/** The mean of a method's maps over the images, in the frame of the network's input. */
function averages(shown) {
  const { heatmaps } = shown.documents;
  const entries = ofClass(shown);
  const methods = [...new Set(entries.filter((entry) => !entry.verdict).map((entry) => entry.method))];
  if (!methods.length) return empty("No heatmap of this study explains this class.");
  const panel = h("div", { class: "narrow" });
  const show = (method) => average(panel, heatmaps, entries.filter((entry) => entry.method === method && !entry.verdict));
  show(methods[0]);
  return [methods.length > 1 ? h("div", { class: "toolbar" }, choice("Method",
    methods.map((method) => [method, heatmaps.methods[method]?.title ?? method]), methods[0], show)) : null, panel];
}

async function average(panel, heatmaps, entries) {
  const same = entries.filter((entry) => String(entry.grid) === String(entries[0].grid));
  const maps = await Promise.all(same.map((entry) => readMap(entry.sheet, 0, entry.lo, entry.hi)));
  const [{ width, height }] = maps;
  const values = new Float32Array(width * height);
  for (const map of maps) map.values.forEach((value, i) => { values[i] += value / maps.length; });
  const lo = values.reduce((a, b) => Math.min(a, b), 0);
  const hi = values.reduce((a, b) => Math.max(a, b), 0);
  const scale = scaleOf(lo, hi, lo < 0);
  const name = heatmaps.methods[entries[0].method]?.title ?? entries[0].method;
  const element = tile((canvas) => drawMap(canvas, { width, height, values }, scale), [width, height],
    { crisp: true, label: `mean of ${name} over ${maps.length} images` });
  fill(panel, h("div", { class: "saved average" }, element, saveButton(() => element.querySelector("canvas"), `mean ${name}`,
    { lines: [`${entries[0].target.label}: mean of ${name} over ${maps.length} images`], scale, unit: entries[0].unit })),
    legend(scale, entries[0].unit, `mean of ${name} over ${count(maps.length)} ${maps.length === 1 ? "image" : "images"}`));
}

/** A form for heatmaps of any class, or of one class compared with another, by any method. */
function requestForm(study, image, host) {
  const offered = h("div", { class: "request-offer" });
  const chosen = { target: "", versus: "", method: "gradcam" };
  const labels = study.model.labels.map((label, number) => [String(number), label]);
  /** @type {(text: string) => number | null} */
  const number = (text) => (text === "" ? null : Number(text));
  // The new heatmap appears above, with the others: scroll there.
  const show = () => {
    const predicted = study.images.find((entry) => entry.id === image)?.prediction[0]?.class;
    setQuery({ target: `${chosen.target || predicted}${chosen.versus && `-${chosen.versus}`}` });
    document.querySelector(".heatmaps-title")?.scrollIntoView();
    dispatchEvent(new HashChangeEvent("hashchange"));
  };
  const offer = () => fill(offered, offerPanel({ ...heatmaps(study, [image], {
    target: number(chosen.target), versus: number(chosen.versus), methods: [chosen.method] }), requested: show }, host));
  const choose = (key) => (value) => {
    chosen[key] = value;
    offer();
  };
  offer();
  return h("section", { class: "request-form", "aria-label": "Compute another heatmap" },
    h("h2", {}, "Compute another heatmap"),
    h("div", { class: "toolbar" },
      select("Class", [["", "predicted class"], ...labels], "", choose("target")),
      select("Compared with", [["", "no other class"], ...labels], "", choose("versus")),
      select("Method", Object.entries(study.methods ?? {}).map(([name, { title }]) => [name, title]), "gradcam", choose("method"))),
    offered);
}

/**
 * Heatmaps of images for a class, or for one class compared with another.
 * @param {{target?: number | null, versus?: number | null, methods?: string[]}} request
 */
function heatmaps(study, images, request) {
  const { target = null, versus = null, methods = FIRST } = request;
  return {
    text: images.length === 1 ? "Compute heatmaps" : `Compute heatmaps of ${plural(images.length, "image")}`,
    requests: images.map((image) => ({ kind: "heatmaps", image, methods, target, versus })),
    cost: ["heatmaps", methods.length * images.length],
  };
}
