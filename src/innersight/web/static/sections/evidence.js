/** Which part of a picture decided the class: one figure per picture, target and method. */

import { choice, empty, h } from "../dom.js";
import { signed, size } from "../format.js";
import { legend } from "../legend.js";
import { probe, probeHint } from "../probe.js";
import { section } from "../section.js";
import { drawMap, drawOverlay, drawPicture, readMap } from "../sheet.js";
import { pictureIndex, reason, urls } from "../study.js";
import { tile } from "../tiles.js";

export function evidenceSection(study, heatmaps) {
  const entries = heatmaps?.entries ?? [];
  return section("evidence", "Evidence", "Which part of the picture decided the class",
    `How much each place counts for the class, in ${entries[0]?.unit ?? "logits"}. Where the map is signed, red speaks for the class and blue against it.`,
    entries.length ? evidence(study, heatmaps,
      entries) : empty(reason(study, "heatmaps", "No heatmaps were computed.")),
    study.how.heatmaps);
}

/** The figures of the entries given, under one switch for the view and one slider for the overlay. */
export function evidence(study, heatmaps, entries) {
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
        h("div", { class: "heatmaps" }, members.map((entry) => figure(study, heatmaps, entry, view, tiles)))))));
}

function group(entry) {
  return `${entry.picture} ${entry.target.class}`;
}

function heading(study, { picture: id, target }) {
  const picture = study.pictures[pictureIndex(study, id)];
  return h("h3", {}, h("a", { href: urls.picture(id) }, picture.name), h("span", { class: "quiet" }, " for "),
    h("a", { href: urls.class(target.class) }, target.label),
    h("span", { class: "quiet" }, ` logit ${signed(target.logit)}`, target.text ? `, ${target.text}` : ""));
}

function figure(study, heatmaps, entry, view, tiles) {
  const method = heatmaps.methods[entry.method] ?? { title: entry.method };
  const index = pictureIndex(study, entry.picture);
  const isSigned = entry.lo < 0;
  const scale = { signed: isSigned, limit: entry.scale.high, clipped: entry.scale.clipped };
  const read = () => readMap(entry.sheet, 0, entry.lo, entry.hi);
  const painter = async (canvas, room) => {
    if (view.mode === "input") return drawPicture(canvas, study.seen, index);
    const map = await read();
    return view.mode === "map" ? drawMap(canvas, map, scale)
      : drawOverlay(canvas, room, { map, scale, seen: study.seen, index, opacity: view.opacity });
  };
  const about = [method.title, entry.layer ? ` at ${entry.layer.name}` : "", `, ${size(entry.grid)} cells`].join("");
  const caption = h("figcaption", {}, h("strong", {}, method.title),
    h("span", { class: "quiet" }, entry.layer ? `at ${entry.layer.name}, ` : "", `${size(entry.grid)} cells`));
  if (entry.verdict) {
    const plain = tile((canvas) => drawPicture(canvas, study.seen, index), study.seen.tile,
      { label: "the picture without a map" });
    return h("figure", { class: "heatmap none" }, caption, plain,
      h("p", { class: "verdict", role: "note" }, h("strong", {}, "No evidence. "), entry.verdict),
        methodNote(method, entry));
  }
  const element = tile(painter, study.seen.tile, { crisp: true, label: about });
  tiles.push(() => {
    element.painter = painter;
  });
  const probed = probe(element, { read, picture: study.pictures[index], unit: entry.unit, isSigned, label: about });
  return h("figure", { class: "heatmap" }, caption, probed.area, legend(scale, entry.unit), probed.output,
    methodNote(method, entry));
}

function methodNote(method, entry) {
  const parts = [method.when, method.paper, entry.layer?.why].filter(Boolean);
  return parts.length ? h("details", { class: "how" }, h("summary", {}, "About this map"),
    parts.map((text) => h("p", {}, text))) : null;
}
