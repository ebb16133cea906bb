/** How the network came about: curves of the whole training and of one layer at a time. */

import { lineChart, ridges } from "../charts.js";
import { empty, fill, h, select } from "../dom.js";
import { section } from "../section.js";
import { layerStrips } from "../strips.js";
import { missing } from "../study.js";

const LAYER_CURVES = [
  ["weight_norm", "weight norm"],
  ["gradient_norm", "gradient norm"],
  ["update_ratio", "update ratio"],
  ["dead", "share of dead units"],
];
const FIRST = ["loss", "accuracy", "lr", "learning_rate"];

export function trainingSection(study, train) {
  return section("training", "Training", "How all of this came about",
    "The whole run first, then one layer at a time. Healthy layers keep their update ratio near 0.001 and few dead units.",
    train ? trainingCharts(train) : missing(study, "train",
      "This network did not come with a record of its training."),
    study.how.training);
}

export function trainingCharts(train, clock = /** @type {Clock | null} */ (null)) {
  const charts = scalarGroups(train.scalars ?? {}).map(([name, series]) => lineChart(name, series, { clock })).filter(Boolean);
  const names = Object.keys(train.layers ?? {});
  const panel = h("div", { class: "charts" });
  const show = (name) => fill(panel, layerCharts(train.layers[name], clock));
  if (names.length) show(names[0]);
  return [
    charts.length ? h("div", { class: "charts" }, charts) : empty("No curves were recorded."),
    clock && names.length ? [h("h2", {}, "All layers"), allLayers(train.layers, clock)] : null,
    names.length ? [
      h("div", { class: "toolbar" }, h(clock ? "h2" : "h3", {}, "One layer"),
        select("Layer", names.map((name) => [name, name]), names[0], show)),
      panel,
    ] : empty("No layer was recorded during training."),
  ];
}

/** Every quantity as one row for each layer, over the whole training. */
function allLayers(layers, clock) {
  return h("div", { class: "charts" }, LAYER_CURVES.map(([key, title]) =>
    layerStrips(title, Object.entries(layers).map(([name, layer]) => ({ name, step: layer.step, value: layer[key] })), clock)));
}

/** Curves of the same quantity in one chart: "train/loss" and "val/loss" become "loss". */
function scalarGroups(scalars) {
  const groups = new Map();
  for (const [name, { step, value }] of Object.entries(scalars)) {
    const [quantity, run] = parts(name);
    groups.set(quantity, [...(groups.get(quantity) ?? []), { name: run, step, value }]);
  }
  const rank = (quantity) => (FIRST.indexOf(quantity) + 1 || FIRST.length + 1);
  return [...groups].sort(([a], [b]) => rank(a) - rank(b))
    .map(([quantity, series]) => [{ lr: "learning rate" }[quantity] ?? quantity.replaceAll("_", " "), series]);
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
