/** How the network was trained: curves of the whole run and of one layer at a time. */

import { lineChart, ridges } from "../charts.js";
import { stepClock, stepsOf } from "../clock.js";
import { empty, facts, fill, h, select, settingsList } from "../dom.js";
import { percent, testImages } from "../format.js";
import { legend } from "../legend.js";
import { panel } from "../panel.js";
import { register } from "../router.js";
import { saveButton } from "../save.js";
import { scroller } from "../scroller.js";
import { section } from "../section.js";
import { drawOverlay, readMap } from "../sheet.js";
import { getDocument } from "../source.js";
import { layerStrips } from "../strips.js";
import { missing, reason, urls } from "../study.js";
import { tile } from "../tiles.js";

const LAYER_CURVES = [
  ["weight_norm", "weight norm"],
  ["gradient_norm", "gradient norm"],
  ["update_ratio", "update ratio"],
  ["dead", "share of dead units"],
];
const SHOWN = 4;
const FIRST = ["loss", "accuracy", "lr", "learning_rate"];

panel({
  name: "training",
  title: "Training",
  order: 100,
  document: "training",
  story: { show: trainingSection },
  found: () => [{ name: "Training step by step", kind: "page", href: urls.train() }],
  class: [
    { column: "head", title: null, show: recall },
    { column: "right", title: "Confused with", show: confusedWith },
  ],
  table({ study, documents: { training: train } }) {
    return { computed: train ? "training record" : null, missing: train ? null : reason(study, "training", "no training record"), done: 0, left: 0 };
  },
});

register("/train", async ({ study }) => {
  const train = await getDocument("training");
  const steps = train ? stepsOf(train) : [];
  const clock = steps.length > 1 ? stepClock(steps, train.axis) : null;
  return {
    title: "Training",
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Training"),
        h("h1", {}, `How ${study.model.name} was trained`)),
      train ? [metrics(train), origin(train), fixedImages(train.images), clock?.element, trainingCharts(train, clock), confusion(study, train.metrics), recipe(train.recipe)]
        : missing(study, "training", "This network comes without a training record.")),
  };
});

function trainingSection({ study, documents: { training: train } }) {
  return section("training", "Training", "How the network was trained",
    "Curves of the whole run, then of one layer at a time. The update ratio is the norm of the weight update divided by the norm "
    + "of the weights; in healthy layers it stays near 0.001, and few units are dead (never positive).",
    train ? [origin(train), trainingCharts(train), h("p", { class: "more" }, h("a", { href: urls.train() }, "All layers step by step, the confusion matrix and the settings →"))]
      : missing(study, "training", "This network comes without a training record."),
    study.how.training);
}

function trainingCharts(train, clock = /** @type {Clock | null} */ (null)) {
  const main = train.axis ?? "step";
  const charts = scalarGroups(train.scalars ?? {}, main)
    .map(([name, axis, series]) => lineChart(name, series, { axis, clock: axis === main ? clock : null })).filter(Boolean);
  const names = Object.keys(train.layers ?? {});
  const panel = h("div", { class: "charts" });
  const show = (name) => fill(panel, layerCharts(train.layers[name], clock));
  if (names.length) show(names[0]);
  return [
    charts.length ? h("div", { class: "charts" }, charts) : empty("No training curves were recorded."),
    lossNote(train),
    clock && names.length ? [h("h2", {}, "All layers"), allLayers(train.layers, clock)] : null,
    names.length ? [
      h("div", { class: "toolbar" }, h(clock ? "h2" : "h3", {}, "One layer"),
        select("Layer", names.map((name) => [name, name]), names[0], show)),
      panel,
    ] : empty(train.source ? "The log has no histograms of weights or gradients whose names match layers of this network."
      : "No statistics of single layers were recorded."),
  ];
}

/** Heatmaps of the same images in all epochs, under one slider and on one scale for each image. */
function fixedImages(images) {
  if (!images?.epoch.length) return null;
  const { epoch, rows, maps, pixels, unit } = images;
  const clock = stepClock(epoch, "epoch", "Epoch of the heatmaps");
  const figures = rows.map((row, i) => {
    const scale = { signed: row.signed, limit: row.high, clipped: false };
    const element = tile(() => null, pixels.tile, { crisp: true, label: row.name });
    const said = h("p", { class: "quiet tabular" });
    clock.follow((now) => {
      const at = epoch.indexOf(now);
      const place = at * rows.length + i;
      element.setAttribute("aria-label", `${row.name} after epoch ${now}: what counts for ${row.target[at]}`);
      element.painter = async (canvas, room) => drawOverlay(canvas, room, { scale, seen: pixels, index: i,
        map: await readMap(maps.sheet, place, maps.lo[place], maps.hi[place]) });
      said.textContent = `${row.target[at]} ${percent(row.probability[at])}${row.predicted[at] === row.target[at] ? "" : `, predicted ${row.predicted[at]}`}`;
    });
    return h("figure", { class: "heatmap" }, h("figcaption", {}, h("strong", {}, row.name)),
      saveButton(() => element.querySelector("canvas"), `heatmap ${row.name}`, () => ({ lines: [element.getAttribute("aria-label") ?? ""], scale, unit })),
      element, said, legend(scale, unit));
  });
  return h("section", { "aria-label": "Heatmaps during training" }, h("h2", {}, "Heatmaps during training"),
    h("p", { class: "quiet" }, `${images.title} at ${images.layer}: how much each location counted for the class, in ${unit}, with the weights of each epoch; epoch 0 is before the first. `
      + "All epochs of an image share one scale."),
    epoch.length > 1 ? clock.element : null, h("div", { class: "heatmaps" }, figures));
}

/** Where the numbers come from, if another program wrote them, and what of its log is not shown. */
function origin({ source }) {
  if (!source) return null;
  const { title, logs, notes } = source;
  return [h("p", { class: "quiet" }, `These numbers were read from a log (${title}: ${logs.slice(0, 3).join(", ")}`
    + `${logs.length > 3 ? ` and ${logs.length - 3} more` : ""}). The program that trained the network wrote them; Innersight did not measure them.`),
  notes.length ? h("ul", { class: "quiet" }, notes.map((note) => h("li", {}, note))) : null];
}

/** Why the loss in training may lie above that of the validation. */
function lossNote({ recipe }) {
  return recipe?.learning ? h("p", { class: "quiet" }, `Training: ${recipe.learning}${recipe.augmentation ? `, on augmented images (${recipe.augmentation})` : ""}. `
    + "The validation loss is the plain cross-entropy on images as they are, so it may be the lower of the two.") : null;
}

/** Every quantity as one row for each layer, over the whole training. */
function allLayers(layers, clock) {
  return h("div", { class: "charts" }, LAYER_CURVES.map(([key, title]) =>
    layerStrips(title, Object.entries(layers).map(([name, layer]) => ({ name, step: layer.step, value: layer[key] })), clock)));
}

/** Curves of the same quantity and axis in one chart: "train/loss" and "val/loss" become "loss". */
function scalarGroups(scalars, main) {
  const groups = new Map();
  for (const [name, { step, value, axis = main }] of Object.entries(scalars)) {
    const [quantity, run] = parts(name);
    const key = JSON.stringify([quantity, axis]);
    groups.set(key, { quantity, axis, series: [...(groups.get(key)?.series ?? []), { name: run, step, value }] });
  }
  const rank = ({ quantity }) => (FIRST.indexOf(quantity) + 1 || FIRST.length + 1);
  return [...groups.values()].sort((a, b) => rank(a) - rank(b))
    .map(({ quantity, axis, series }) => [{ lr: "learning rate" }[quantity] ?? quantity.replaceAll("_", " "), axis, series]);
}

function parts(name) {
  const path = name.split("/");
  if (path.length > 1) return [path.at(-1), path.slice(0, -1).join("/")];
  const [, run, quantity] = /^(train|val|valid|test)[_.](.+)$/.exec(name) ?? [];
  return run ? [quantity, run] : [name, ""];
}

function layerCharts(layer, clock) {
  return [
    ...LAYER_CURVES.map(([key, title]) => (layer[key]
      ? lineChart(title, [{ name: "", step: layer.step, value: layer[key] }], { clock }) : null)),
    layer.weight_histogram ? ridges("weights", layer.step, layer.weight_histogram, clock) : null,
    layer.gradient_histogram ? ridges("gradients", layer.step, layer.gradient_histogram, clock) : null,
  ].filter(Boolean);
}

function metrics({ metrics: found }) {
  if (!found) return null;
  const interval = found.interval
    ? ` (95% interval ${percent(found.interval[0])} to ${percent(found.interval[1])})` : "";
  return h("p", { class: "lead after" },
    `Accuracy ${percent(found.accuracy)}${interval} on ${testImages(found)}.`);
}

function confusion(study, found) {
  if (!found?.confusion?.length) return null;
  const { labels } = study.model;
  const totals = found.confusion.map((row) => row.reduce((a, b) => a + b, 0));
  return [
    h("h2", {}, "Confusion matrix"),
    h("p", { class: "quiet" }, "Rows are true classes, columns are predicted classes, cells are numbers of images."),
    scroller(h("table", { class: "confusion" },
      h("thead", {}, h("tr", {}, h("td"), labels.map((label) => h("th", { scope: "col" }, h("span", {}, label))),
        h("th", { scope: "col" }, h("span", {}, "recall")))),
      h("tbody", {}, found.confusion.map((row, truth) => h("tr", {},
        h("th", { scope: "row" }, h("a", { href: urls.class(truth) }, labels[truth])),
        row.map((amount, guess) => h("td", {
          class: amount ? (truth === guess ? "right" : "wrong") : null,
            style: { "--share": String(totals[truth] ? amount / totals[truth] : 0) },
        }, amount || "·")),
        h("td", { class: "tabular" }, percent(totals[truth] ? row[truth] / totals[truth] : NaN)))))), "Confusion matrix"),
  ];
}

function recipe(settings) {
  return settings && Object.keys(settings).length ? [h("h2", {}, "Training settings"), settingsList(settings)] : null;
}

function recall({ label, documents }) {
  const metric = documents.training?.metrics?.per_class?.[label];
  return metric ? h("p", { class: "lead" }, `Precision ${percent(metric.precision)}, recall ${percent(metric.recall)} on `
    + `${testImages(documents.training.metrics, metric.images)}.`) : null;
}

/** Which classes images of this class are predicted as, and which are predicted as it. */
function confusedWith({ study, documents, number }) {
  const table = documents.training?.metrics?.confusion;
  if (!table) return missing(study, "training", "This network comes without a confusion matrix.");
  const { labels } = study.model;
  const side = (amounts) => amounts.map((amount, other) => [other, amount]).filter(([other, amount]) => other !== number && amount)
    .sort((a, b) => b[1] - a[1]).slice(0, SHOWN).map(([other, amount], i) => [i ? ", " : "",
      h("a", { href: urls.class(other) }, labels[other]), ` (${amount})`]);
  const taken = side(table[number]);
  const others = side(table.map((row) => row[number]));
  return facts([[`${labels[number]} predicted as`, taken.length ? taken : "no other class"],
    [`Predicted as ${labels[number]}`, others.length ? others : "no other class"]]);
}
