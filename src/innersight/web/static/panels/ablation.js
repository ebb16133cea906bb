/** How class scores change when a unit is ablated: on the pages of units, images and classes. */

import { barList } from "../bars.js";
import { empty, h } from "../dom.js";
import { plural, signed } from "../format.js";
import { panel } from "../panel.js";
import { deepest, lacking, loadLayer, missing, urls } from "../study.js";

const CAUSES = 10;

panel({
  name: "ablation",
  title: "Ablation",
  order: 80,
  unit: { column: "half", title: "Effect of ablation", order: 30, show: ablated },
  image: { title: "Units this prediction depends on", show: unitsOfPrediction },
  class: { column: "right", title: "Units this class depends on", show: unitsOfClass },
  table({ study, layers }) {
    const done = layers.filter((layer) => layer.ablation).length;
    const left = layers.filter((layer) => layer.grid[0] * layer.grid[1] > 1).length - done;
    return { computed: done ? plural(done, "layer") : null, missing: left > 0 ? plural(left, "layer") : null, done, left };
  },
  async offer(study, { page, name }) {
    if (page === "l") return ablation(study, [name]);
    if (page === "i") return ablation(study, await ablatedLayers(study));
    return page === "" ? deepest(study, (layer, entry) => (layer?.ablation ? null : ablation(study, [entry]))) : null;
  },
  jobs: { ablation: ({ layer }) => `Ablation of ${layer}` },
});

/** How the logits change when the unit is ablated. */
function ablated(study, layer, unit) {
  const { ablation } = layer;
  if (!ablation) return missing(study, "ablation", layer.grid[0] * layer.grid[1] > 1 ? "The units of this layer were not ablated."
    : "Units are ablated only in layers whose activation maps have more than one location.");
  if (ablation.why) return empty(ablation.why);
  const images = study.images.filter((image) => ablation.own[image.id]);
  const others = study.images.length - images.length;
  return [
    h("p", { class: "quiet" }, `Ablating a unit sets its activation map to ${ablation.to}. The bars show how this changes the score of each image's predicted class, `
      + `in ${ablation.unit}. Negative: the class depends on the unit.`),
    barList("Change when ablated", images.map((image) => {
      const { label, change } = ablation.own[image.id];
      return { name: `${label}, ${image.name}`, value: change[unit], text: signed(change[unit]), image: image.id };
    }), { study }),
    others ? lacking("ablation", `Not computed for ${plural(others, "image")} added later.`) : null,
  ];
}

/** The units whose ablation lowers a class most, over the layers where it was computed. */
function unitsBehind(layers, wanted, limit = 12) {
  const rows = layers.flatMap((layer) => {
    const found = layer?.ablation?.classes.find((entry) => entry.class === wanted);
    return (found?.mean ?? []).map((value, unit) => ({ layer, unit, value, note: found.note }));
  });
  return rows.filter((row) => row.value < 0).sort((a, b) => a.value - b.value).slice(0, limit);
}

function unitsOfClass({ study, layers, number }) {
  const rows = unitsBehind(layers, number);
  if (!rows.length) return missing(study, "ablation",
    "Ablation is computed only for the classes that images of this study are predicted as.");
  return [h("p", { class: "quiet" }, `Change of the class score when the unit is ablated (its activation map is set to `
    + `${rows[0].layer.ablation.to}), in ${rows[0].layer.ablation.unit}: ${rows[0].note}.`),
    barList("Units this class depends on", rows.map(({ layer, unit, value }) => ({ address: `${layer.name}:${unit}`,
      value, text: signed(value) })), { study })];
}

/** The units whose ablation lowers the predicted class of this image most. */
function unitsOfPrediction({ study, layers, image }) {
  const rows = layers.flatMap((layer) => (layer?.ablation?.own[image.id]?.change ?? [])
    .map((value, unit) => ({ layer, unit, value }))).filter((row) => row.value < 0)
    .sort((a, b) => a.value - b.value).slice(0, CAUSES);
  if (!rows.length) return missing(study, "ablation", "Ablation was not computed for this image.");
  const { label } = rows[0].layer.ablation.own[image.id];
  return h("div", { class: "narrow" },
    h("p", { class: "quiet" }, `Change of the score of ${label} when a unit of the last layers is ablated (its activation map is set to `
      + `${rows[0].layer.ablation.to}), in ${rows[0].layer.ablation.unit}.`),
    barList("Units this prediction depends on", rows.map(({ layer, unit, value }) => ({ address: `${layer.name}:${unit}`, value,
      text: signed(value) })), { study, image: image.id }),
    h("p", { class: "more" }, h("a", { href: urls.matrix(rows.slice(0, 6).map(({ layer, unit }) => `${layer.name}:${unit}`),
      study.images.slice(0, 6).map((entry) => entry.id)) }, "Compare these units side by side →")));
}

/** The layers whose units are ablated already; else the last of the main ones. */
async function ablatedLayers(study) {
  const layers = await Promise.all(study.default_layers.map((name) => loadLayer(study, name)));
  const found = study.default_layers.filter((_, i) => layers[i]?.ablation);
  return found.length ? found : study.layers.filter(({ name, grid }) => study.default_layers.includes(name) && grid[0] * grid[1] > 1)
    .slice(-2).map(({ name }) => name);
}

/** Only layers with more than one location are ablated. */
function ablation(study, names) {
  const gridded = study.layers.filter(({ name, grid }) => names.includes(name) && grid[0] * grid[1] > 1);
  if (!gridded.length) return null;
  return {
    text: gridded.length === 1 ? `Ablate the units of ${gridded[0].name} one by one` : `Ablate the units of ${gridded.length} layers one by one`,
    requests: gridded.map(({ name }) => ({ kind: "ablation", layer: name })),
    cost: ["ablation", gridded.length],
  };
}
