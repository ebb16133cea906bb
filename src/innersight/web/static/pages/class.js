/** #/c/CLASS: one class, by number or label: its pattern, its units, its images and the evidence for it. */

import { scaleOf } from "../colour.js";
import { choice, empty, facts, fill, h } from "../dom.js";
import { barList, speakers } from "../effects.js";
import { scoreFacts } from "../enlarged.js";
import { count, judgedOn, percent, signed } from "../format.js";
import { imageTile, seenTile } from "../layer.js";
import { legend } from "../legend.js";
import { lost, register } from "../router.js";
import { saveButton } from "../save.js";
import { evidence } from "../sections/evidence.js";
import { drawMap, readMap } from "../sheet.js";
import { getDocument } from "../source.js";
import { classNumber, loadLayer, missing, storyLayers, urls } from "../study.js";
import { tile } from "../tiles.js";

const SHOWN = 4;

register("/c/:class", async ({ study, params }) => {
  const { labels } = study.model;
  const number = classNumber(study, params.class);
  if (number === null) {
    return lost(params.class, `${study.model.name} has the classes 0 to ${labels.length - 1}.`);
  }
  const [classes, heatmaps, train, ...layers] = await Promise.all([...["classes", "heatmaps", "train"].map(getDocument),
    ...storyLayers(study).map((entry) => loadLayer(study, entry.name))]);
  const label = labels[number];
  const i = classes?.patterns?.classes.indexOf(number) ?? -1;
  const entries = (heatmaps?.entries ?? []).filter(({ target }) => target.class === number && (target.rival ?? null) === null);
  const metric = train?.metrics?.per_class?.[label];
  return {
    title: label,
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, `Class ${number}`), h("h1", {}, label),
        metric ? h("p", { class: "lead" }, `Precision ${percent(metric.precision)}, recall ${percent(metric.recall)} on `
          + `${count(metric.images)} images ${judgedOn(train.metrics)}.`) : null),
      h("div", { class: "unit-page" },
        h("div", { class: "unit-pattern" }, h("h2", {}, "What the network looks for"),
          i >= 0 ? [h("div", { class: "saved" }, imageTile(classes.patterns.sheet, i, `pattern of ${label}`)),
            scoreFacts(classes.patterns.score?.[i], classes.patterns.settings, "class")]
            : missing(study, "class", "No pattern of this class was computed.")),
        h("div", {}, h("h2", {}, "The units that speak for it"), speaking(study, layers, number),
          h("h2", {}, "What it is taken for"), confusions(study, train, number))),
      part("Images", imageRows(study, number, label)),
      part("Where the evidence lies, on average", averages(heatmaps, entries)),
      part("Evidence image by image", entries.length ? evidence(study, heatmaps, entries)
        : empty("No heatmap of this study has this class as its target."))),
  };
});

function part(title, body) {
  return h("section", { class: "part", "aria-label": title }, h("h2", {}, title), body);
}

function speaking(study, layers, number) {
  const rows = speakers(layers, number);
  if (!rows.length) return missing(study, "ablation",
    "Units are switched off one by one only for the classes that the study's images are taken for.");
  return [h("p", { class: "quiet" }, `What the class loses without the unit, in ${rows[0].layer.ablation.unit}: ${rows[0].note}.`),
    barList("Units that speak for the class", rows.map(({ layer, unit, value }) => ({ name: `${layer.name}:${unit}`,
      value, text: signed(value), href: urls.unit(layer.name, unit) })))];
}

/** What images of the class are taken for, and what is taken for it. */
function confusions(study, train, number) {
  const table = train?.metrics?.confusion;
  if (!table) return missing(study, "train", "No record of training names its mistakes.");
  const { labels } = study.model;
  const side = (amounts) => amounts.map((amount, other) => [other, amount]).filter(([other, amount]) => other !== number && amount)
    .sort((a, b) => b[1] - a[1]).slice(0, SHOWN).map(([other, amount], i) => [i ? ", " : "",
      h("a", { href: urls.class(other) }, labels[other]), ` (${amount})`]);
  const taken = side(table[number]);
  const mistaken = side(table.map((row) => row[number]));
  return facts([[`${labels[number]} taken for`, taken.length ? taken : "nothing else"],
    [`taken for ${labels[number]}`, mistaken.length ? mistaken : "nothing else"]]);
}

/** The images of the study by how sure the network is of the class: the surest, and those it misses or doubts. */
function imageRows(study, number, label) {
  const sure = (image) => image.prediction.find((entry) => entry.class === number);
  const takenFor = (image) => image.prediction[0]?.class === number;
  const known = study.images.filter((image) => takenFor(image) || (image.truth === null ? sure(image) : image.truth === label))
    .sort((a, b) => (sure(b)?.logit ?? -Infinity) - (sure(a)?.logit ?? -Infinity));
  if (!known.length) return empty("No image of this study is of this class or taken for it.");
  const best = known.filter((image) => takenFor(image)).slice(0, SHOWN);
  const worst = known.filter((image) => !takenFor(image)).reverse().slice(0, SHOWN);
  const row = (title, images) => (images.length ? h("div", { class: "group" }, h("h3", {}, title), h("div", { class: "strip" },
    images.map((image) => h("figure", { "data-address": image.id },
      h("a", { href: urls.image(image.id) }, seenTile(study, image.id, image.name)),
      h("figcaption", { class: "quiet" }, h("span", { class: "clip", title: image.name }, image.name), said(image, sure(image))))))) : null);
  return [row("Surest", best), row("Least sure, or missed", worst)];
}

function said(image, own) {
  const best = image.prediction[0];
  const share = !own ? "not among the best five" : own.probability === null ? signed(own.logit) : percent(own.probability);
  const is = image.truth !== null && image.truth !== best.label ? `; is ${image.truth}` : "";
  return own && best.class === own.class ? share + is : `${share}; taken for ${best.label}`;
}

/** The mean of a method's maps over the images, in the frame of the network's input. */
function averages(heatmaps, entries) {
  const methods = [...new Set(entries.filter((entry) => !entry.verdict).map((entry) => entry.method))];
  if (!methods.length) return empty("No heatmap of this study has this class as its target.");
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
  fill(panel, h("div", { class: "saved average" }, element, saveButton(() => element.querySelector("canvas"), `mean ${name}`)),
    legend(scale, entries[0].unit, `mean of ${name} over ${count(maps.length)} ${maps.length === 1 ? "image" : "images"}`));
}
