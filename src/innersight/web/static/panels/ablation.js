/** What the classes lose without a unit: on the pages of units, images and classes. */

import { barList } from "../bars.js";
import { empty, h } from "../dom.js";
import { plural, signed } from "../format.js";
import { panel } from "../panel.js";
import { deepest, lacking, loadLayer, missing, urls } from "../study.js";

const CAUSES = 10;

panel({
  name: "ablation",
  title: "Switching units off",
  order: 80,
  unit: { column: "half", title: "What switching it off does", order: 30, show: switchedOff },
  image: { title: "The units the answer hangs on", show: causes },
  class: { column: "right", title: "The units that speak for it", show: speaking },
  table({ study, layers }) {
    const done = layers.filter((layer) => layer.ablation).length;
    const left = layers.filter((layer) => layer.grid[0] * layer.grid[1] > 1).length - done;
    return { there: done ? plural(done, "layer") : null, missing: left > 0 ? plural(left, "layer") : null, done, left };
  },
  async offer(study, { page, name }) {
    if (page === "l") return ablation(study, [name]);
    if (page === "i") return ablation(study, await switched(study));
    return page === "" ? deepest(study, (layer, entry) => (layer?.ablation ? null : ablation(study, [entry]))) : null;
  },
  jobs: { ablation: ({ layer }) => `Switching units of ${layer} off` },
});

/** What the logits do when the unit is set to zero. */
function switchedOff(study, layer, unit) {
  const { ablation } = layer;
  if (!ablation) return missing(study, "ablation", layer.grid[0] * layer.grid[1] > 1 ? "The units of this layer were not switched off one by one."
    : "Only layers with places are switched off unit by unit.");
  if (ablation.why) return empty(ablation.why);
  const images = study.images.filter((image) => ablation.own[image.id]);
  const others = study.images.length - images.length;
  return [
    h("p", { class: "quiet" }, `Change of the ${ablation.unit} of the class each image is taken for when the unit's map is set to `
      + `${ablation.to}. Negative: the class depends on the unit.`),
    barList("Change when switched off", images.map((image) => {
      const { label, change } = ablation.own[image.id];
      return { name: `${label}, in ${image.name}`, value: change[unit], text: signed(change[unit]), href: urls.image(image.id) };
    })),
    others ? lacking("ablation", `Not on ${plural(others, "image")} added later.`) : null,
  ];
}

/** The units whose removal lowers a class most, over the layers that were switched off. */
function speakers(layers, number_, most = 12) {
  const rows = layers.flatMap((layer) => {
    const found = layer?.ablation?.classes.find((entry) => entry.class === number_);
    return (found?.mean ?? []).map((value, unit) => ({ layer, unit, value, note: found.note }));
  });
  return rows.filter((row) => row.value < 0).sort((a, b) => a.value - b.value).slice(0, most);
}

function speaking({ study, layers, number }) {
  const rows = speakers(layers, number);
  if (!rows.length) return missing(study, "ablation",
    "Units are switched off one by one only for the classes that the study's images are taken for.");
  return [h("p", { class: "quiet" }, `What the class loses without the unit, in ${rows[0].layer.ablation.unit}: ${rows[0].note}.`),
    barList("Units that speak for the class", rows.map(({ layer, unit, value }) => ({ name: `${layer.name}:${unit}`,
      value, text: signed(value), href: urls.unit(layer.name, unit) })))];
}

/** The units whose removal lowers the predicted class of this image most. */
function causes({ study, layers, image }) {
  const rows = layers.flatMap((layer) => (layer?.ablation?.own[image.id]?.change ?? [])
    .map((value, unit) => ({ layer, unit, value }))).filter((row) => row.value < 0)
    .sort((a, b) => a.value - b.value).slice(0, CAUSES);
  if (!rows.length) return missing(study, "ablation", "No unit was switched off on this image.");
  const { label } = rows[0].layer.ablation.own[image.id];
  return h("div", { class: "narrow" },
    h("p", { class: "quiet" }, `Change of the ${rows[0].layer.ablation.unit} of ${label} when the unit is set to zero, in the last layers.`),
    barList("Units it hangs on", rows.map(({ layer, unit, value }) => ({ name: `${layer.name}:${unit}`, value,
      text: signed(value), href: urls.unit(layer.name, unit) }))),
    h("p", { class: "more" }, h("a", { href: urls.matrix(rows.slice(0, 6).map(({ layer, unit }) => `${layer.name}:${unit}`),
      study.images.slice(0, 6).map((entry) => entry.id)) }, "These side by side over the images →")));
}

/** The layers whose units are switched off already; else the last of the story. */
async function switched(study) {
  const layers = await Promise.all(study.story.map((name) => loadLayer(study, name)));
  const found = study.story.filter((_, i) => layers[i]?.ablation);
  return found.length ? found : study.layers.filter(({ name, grid }) => study.story.includes(name) && grid[0] * grid[1] > 1)
    .slice(-2).map(({ name }) => name);
}

/** Only layers with places are switched off unit by unit. */
function ablation(study, names) {
  const gridded = study.layers.filter(({ name, grid }) => names.includes(name) && grid[0] * grid[1] > 1);
  if (!gridded.length) return null;
  return {
    text: gridded.length === 1 ? `Switch the units of ${gridded[0].name} off, one by one` : `Switch the units of ${gridded.length} layers off, one by one`,
    requests: gridded.map(({ name }) => ({ kind: "ablation", layer: name })),
    cost: ["ablation", gridded.length],
  };
}
