/** Which part of an image decided the class: one figure per image, target and method. */

import { choice, h } from "../dom.js";
import { signed, size } from "../format.js";
import { legend } from "../legend.js";
import { probe, probeHint } from "../probe.js";
import { saveButton } from "../save.js";
import { section } from "../section.js";
import { drawMap, drawOverlay, drawImage, readMap } from "../sheet.js";
import { missing, imageIndex, reason, urls } from "../study.js";
import { tile } from "../tiles.js";

const METHODS = 2;

export function evidenceSection(study, heatmaps) {
  const entries = firstQuestions(heatmaps?.entries ?? []);
  return section("evidence", "Evidence", "Which part of the image decided the class",
    `How much each place counts for the class, in ${entries[0]?.unit ?? "logits"}. Where the map is signed, red speaks for the class and blue against it.`,
    entries.length ? evidence(study, heatmaps,
      entries) : missing(study, "heatmaps", "No heatmaps were computed."),
    study.how.heatmaps);
}

/** Of every image what was asked first, by the first methods; its page has the others. */
function firstQuestions(entries) {
  const first = new Map();
  for (const entry of entries) if (!first.has(entry.image)) first.set(entry.image, question(entry));
  const methods = [...new Set(entries.map((entry) => entry.method))].slice(0, METHODS);
  return entries.filter((entry) => first.get(entry.image) === question(entry) && methods.includes(entry.method));
}

/** What tells one question about an image from another: the class, and the class whose score is taken off. */
export function question({ target }) {
  return target.rival === null || target.rival === undefined ? `${target.class}` : `${target.class}-${target.rival}`;
}

/** The question in words. */
export function questionText({ target }) {
  return target.rival_label ? `${target.label} against ${target.rival_label}` : target.label;
}

/** The figures of the entries given, under one switch for the view and one slider for the overlay. */
export function evidence(study, heatmaps, entries, trust = null) {
  const view = { mode: "overlay", opacity: 0.9 };
  const tiles = [];
  const redraw = () => tiles.forEach((refresh) => refresh());
  const slider = h("input", { type: "range", min: "0", max: "100", value: "90", "aria-label": "Opacity of the map",
    oninput: () => {
      view.opacity = Number(slider.value) / 100;
      redraw();
    } });
  const groups = new Map();
  for (const entry of entries) groups.set(group(entry), [...(groups.get(group(entry)) ?? []), entry]);
  return h("div", {},
    h("div", { class: "toolbar" },
      choice("View", [["input", "Input"], ["overlay", "Overlay"], ["map", "Map"]], view.mode, (mode) => {
        view.mode = mode;
        slider.disabled = mode !== "overlay";
        redraw();
      }),
      h("label", { class: "field" }, h("span", {}, "Opacity"), slider), probeHint()),
    h("div", { class: `abreast${groups.size > 1 && entries.length <= 2 * groups.size ? " pairs" : ""}` },
      [...groups.values()].map((members) => h("div", { class: "group" },
        heading(study, members[0]),
        members[0].doubt ? h("p", { class: "doubt", role: "note" }, members[0].doubt) : null,
        h("div", { class: "heatmaps" }, members.map((entry) => figure(study, heatmaps, entry, view, tiles, trust)))))));
}

function group(entry) {
  return `${entry.image} ${question(entry)}`;
}

function heading(study, { image: id, target }) {
  const image = study.images[imageIndex(study, id)];
  return h("h3", {}, h("a", { href: urls.image(id) }, image.name), h("span", { class: "quiet" }, " for "),
    h("a", { href: urls.class(target.class) }, target.label),
    target.rival_label ? [h("span", { class: "quiet" }, " against "),
      h("a", { href: urls.class(target.rival) }, target.rival_label)] : null,
    h("span", { class: "quiet" }, ` logit ${signed(target.logit)}`, target.text ? `, ${target.text}` : ""));
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
    return view.mode === "map" ? drawMap(canvas, map, scale)
      : drawOverlay(canvas, room, { map, scale, seen: study.seen, index, opacity: view.opacity });
  };
  const about = [method.title, entry.layer ? ` at ${entry.layer.name}` : "", `, ${size(entry.grid)} cells`].join("");
  const caption = h("figcaption", {}, h("strong", {}, method.title),
    h("span", { class: "quiet" }, entry.layer ? `at ${entry.layer.name}, ` : "", `${size(entry.grid)} cells`));
  if (entry.verdict) {
    const plain = tile((canvas) => drawImage(canvas, study.seen, index), study.seen.tile,
      { label: "the image without a map" });
    return h("figure", { class: "heatmap none" }, caption, plain,
      h("p", { class: "verdict", role: "note" }, h("strong", {}, "No evidence. "), entry.verdict),
        methodNote(method, entry));
  }
  const element = tile(painter, study.seen.tile, { crisp: true, label: about });
  tiles.push(() => {
    element.painter = painter;
  });
  const probed = probe(element, { read, image: study.images[index], unit: entry.unit, isSigned, label: about });
  return h("figure", { class: "heatmap", "data-method": entry.method },
    caption, saveButton(() => element.querySelector("canvas"),
      `${entry.method} ${questionText(entry)} ${study.images[index].name}`),
    probed.area, legend(scale, entry.unit), probed.output, standing(trust, entry.method), methodNote(method, entry));
}

const STANDINGS = { believed: "good", doubtful: "bad", undecided: "" };

/** How the method stood the test of `innersight trust`, where there was one. */
function standing(trust, method) {
  const found = trust?.methods[method];
  return found ? h("p", { class: "badges" }, h("span", { class: `badge ${STANDINGS[found.standing] ?? ""}` }, found.standing),
    h("span", { class: "quiet" }, ` ${found.why}`)) : null;
}

/** What was found about the trust in heatmaps, or why nothing is known. */
export function trustNote(study, trust) {
  if (!trust) return h("p", { class: "quiet", role: "note" }, reason(study, "trust", "How far these maps can be trusted was not measured."));
  return h("div", { role: "note" }, h("p", {}, h("strong", {}, "Can they be trusted? "), trust.sentence),
    h("details", { class: "how" }, h("summary", {}, "How it was tested"), h("p", { class: "quiet" }, trust.note)));
}

function methodNote(method, entry) {
  const parts = [method.when, method.paper, entry.layer?.why].filter(Boolean);
  return parts.length ? h("details", { class: "how" }, h("summary", {}, "About this map"),
    parts.map((text) => h("p", {}, text))) : null;
}
