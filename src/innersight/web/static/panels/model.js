/** What the study is about: the network, and the way of one image through it. */

import { scaleOf } from "../colour.js";
import { computedTable, layerStrip } from "../computed.js";
import { firstSet } from "../concepts.js";
import { bothEnds, breakable, facts, h } from "../dom.js";
import { certainty, compact, count, day, percent, plural, signed, size } from "../format.js";
import { mapTile, patternIndex, imageTile, seenTile, silent, unitsOf } from "../layer.js";
import { panel } from "../panel.js";
import { section } from "../section.js";
import { ownLayers, shownLayers, storyLayers, urls } from "../study.js";

const STRONGEST = 3;

panel({
  name: "model",
  title: "Network",
  order: 10,
  story: [
    { head: true, order: 0, show: (shown) => [opening(shown), told(shown) ? null : journey(shown)] },
    { show: (shown) => [told(shown) ? journey(shown) : null, modelSection(shown)] },
  ],
});

/** Whether other things come first: images as concepts, or findings. */
function told({ study, documents }) {
  return Boolean(documents.findings) || firstSet(study, documents.concepts) !== null;
}

/** The opening: title and one sentence, brief where images as concepts follow. */
function opening({ study, documents }) {
  const { images } = study;
  if (firstSet(study, documents.concepts)) {
    return h("section", { class: "opening brief", "aria-labelledby": "title" },
      h("p", { class: "kicker" }, "Innersight study, ", day(study.created)), h("h1", { id: "title" }, study.title));
  }
  return h("section", { class: "opening", "aria-labelledby": "title" },
    h("p", { class: "kicker" }, "Innersight study, ", day(study.created)),
    h("h1", { id: "title" }, study.title),
    h("p", { class: "lead" },
      `${plural(images.length, "image")}, ${plural(ownLayers(shownLayers(study)).length, "layer")}: which units (channels, filters) respond, which pattern each `
      + "has learned, and which regions of an image count for the predicted class."));
}

/** One image, the strongest units of every main layer with their patterns, and the prediction. */
function journey({ study, layers }) {
  if (!study.images.length || !layers.size) return null;
  const image = surest(study.images);
  const best = image.prediction[0];
  const stops = storyLayers(study).filter((entry) => layers.get(entry.name).activations[image.id] && entry.grid[0] > 1).slice(0, 5);
  const measured = best && stops.some((entry) => layers.get(entry.name).ablation?.own[image.id]);
  return h("figure", { class: "journey", "aria-label": `${image.name} on its way through the network` },
    h("div", { class: "stops" },
      h("a", { class: "stop source", href: urls.image(image.id) },
        h("span", { class: "stop-name" }, "Input"),
        seenTile(study, image.id, image.name)),
      stops.map((entry) => stop(study, layers.get(entry.name), image.id)),
      best ? h("a", { class: "stop prediction", href: urls.class(best.class) },
        h("span", { class: "stop-name" }, "Prediction"),
        h("span", { class: "prediction-label" }, breakable(best.label)),
          h("span", { class: "prediction-value tabular" }, certainty(best))) : null),
    h("figcaption", { class: "quiet" },
      `${image.name} on its way through the network. For each layer: the activation maps of up to ${STRONGEST} units `
      + (measured ? `that respond most; where units were ablated, of those whose loss lowers the score of ${best.label} most` : "that respond most")
      + inCorners(stops.flatMap((entry) => strongest(layers.get(entry.name), image.id).map((unit) => patternIndex(layers.get(entry.name), unit) >= 0)))));
}

/** What stands in the corners of maps, given for which of them a pattern was drawn. */
function inCorners(drawn) {
  if (!drawn.some(Boolean)) return ".";
  return `. In the corner${drawn.every(Boolean) ? "" : ", where it was drawn"}: the pattern that a unit has learned.`;
}

/** The image that the network is surest of, one that it classifies rightly before others. */
function surest(images) {
  const rank = ({ truth, prediction: [best] }) => [Number(best !== undefined && (truth === null || truth === best.label)), best?.probability ?? best?.logit ?? -Infinity];
  return images.reduce((found, image) => {
    const [[a, b], [c, d]] = [rank(image), rank(found)];
    return a > c || (a === c && b > d) ? image : found;
  });
}

/** The units of a layer that the journey shows: those whose loss lowers the score most, or those that respond most. */
function strongest(layer, id) {
  const maps = layer.activations[id];
  const stuck = (unit) => (layer.patterns?.score[patternIndex(layer, unit)]?.flags.some((flag) => ["stuck", "dead"].includes(flag)) ? 1 : 0);
  const change = layer.ablation?.own[id]?.change;
  return unitsOf(layer).filter((unit) => !silent(maps, unit) && (change || !layer.patterns || patternIndex(layer, unit) >= 0))
    .sort((a, b) => (change ? change[a] - change[b] : 0) || stuck(a) - stuck(b) || maps.hi[b] - maps.hi[a] || maps.mean[b] - maps.mean[a]).slice(0, STRONGEST);
}

function stop(study, layer, id) {
  const maps = layer.activations[id];
  const change = layer.ablation?.own[id]?.change;
  return h("div", { class: "stop" }, h("a", { class: "stop-name", href: urls.layer(layer.name), title: layer.name }, bothEnds(layer.name)),
    strongest(layer, id).map((unit) => h("a", {
    class: "pair", href: urls.unit(layer.name, unit), "aria-label": `unit ${unit} of ${layer.name}`,
    title: `unit ${unit}${change ? `: ${signed(change[unit])} ${layer.ablation.unit} when ablated` : ""}` },
  mapTile(study, layer, unit, id, { scale: scaleOf(maps.lo[unit], maps.hi[unit], layer.signed) }),
  patternIndex(layer, unit) >= 0 ? imageTile(layer.patterns.sheet, patternIndex(layer, unit)) : null)));
}

/** The model card, the list of layers, and what there is. */
function modelSection({ study, layers, documents }) {
  const { model } = study;
  const { input } = model;
  const kept = input.fit === "squash" ? "whole image resized, aspect ratio not kept"
    : input.crop < 1 ? `centre crop of ${percent(input.crop)}, aspect ratio kept` : "largest centre crop, aspect ratio kept";
  const labels = model.labels.length > 12
    ? `${model.labels.slice(0, 12).join(", ")} and ${count(model.labels.length - 12)} more`
    : model.labels.join(", ");
  return section("model", "Network", model.name, null, [
    h("div", { class: "columns" },
      facts([
        ["source", h("code", {}, model.source)],
        ["parameters", compact(model.parameters)],
        ["input", `${input.channels} × ${input.height} × ${input.width}, ${kept}`],
        ["normalization", `mean ${input.mean.map((v) => +v.toFixed(3)).join(", ")}; standard deviation ${input.std.map((v) => +v.toFixed(3)).join(", ")}`],
        ["classes", `${count(model.labels.length)}: ${labels}`],
        ["warnings", (model.warnings ?? []).join(" ")],
        ["notes", model.notes.join(" ")],
      ]),
      layerList(study)),
    h("h3", { class: "apart" }, "Main layers"), layerStrip(study, layers),
    [...layers.values()].some((layer) => layer.scan)
      ? h("p", { class: "quiet" }, "Dead units are positive nowhere in the scanned images; always active units are positive everywhere.") : null,
    h("h3", { class: "apart" }, "What this study contains"), computedTable({ study, layers, documents }),
  ]);
}

function layerList(study) {
  const shown = new Set(shownLayers(study).map((layer) => layer.name));
  const widest = Math.max(1, ...study.layers.map((layer) => layer.units));
  const rows = study.layers.map((layer) => h("li", {},
    shown.has(layer.name)
      ? h("a", { href: urls.layer(layer.name) }, layer.name) : h("span", { class: "quiet" }, layer.name),
    h("span", { class: "quiet tabular" }, `${count(layer.units)} @ ${size(layer.grid)}`),
    h("span", { class: "meter", "aria-hidden": "true" },
      h("span", { style: { width: `${(100 * layer.units) / widest}%` } }))));
  return h("div", { class: "layers" },
    h("h3", {}, plural(ownLayers(study.layers).length, "layer"),
      h("span", { class: "quiet" }, " from input to output: units @ height × width of the activation maps")),
    h("ol", { tabindex: "0", "aria-label": "All layers" }, rows));
}
