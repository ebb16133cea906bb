/** #/i/ID: one image, what the network says, why, and which units respond most. */

import { probabilityBars } from "../charts.js";
import { choice, facts, fill, h } from "../dom.js";
import { barList } from "../effects.js";
import { percent, signed } from "../format.js";
import { seenTile, unitsOf } from "../layer.js";
import { pinButton } from "../pins.js";
import { lost, register, setQuery } from "../router.js";
import { evidence, question, questionText, trustNote } from "../sections/evidence.js";
import { mapItem } from "../sections/activations.js";
import { framedImage, seesAll } from "../sections/images.js";
import { getDocument } from "../source.js";
import { loadLayer, missing, storyLayers, urls } from "../study.js";
import { tileGrid } from "../tiles.js";

const UNITS = 16;
const CAUSES = 10;

register("/i/:id", async ({ study, params, query }) => {
  const image = study.images.find((entry) => entry.id === params.id);
  if (!image) return lost(params.id,
    `This study has the images ${study.images.map((entry) => entry.id).join(", ")}.`);
  const [heatmaps, trust, ...layers] = await Promise.all([getDocument("heatmaps"), getDocument("trust"),
    ...storyLayers(study).map((entry) => loadLayer(study, entry.name))]);
  const entries = (heatmaps?.entries ?? []).filter((entry) => entry.image === image.id);
  return {
    title: image.name,
    place: { image: image.id },
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Image"),
        h("div", { class: "title-row" }, h("h1", {}, image.name),
          h("div", { class: "steps" }, pinButton(image.id, image.name, { text: true })))),
      h("div", { class: "columns image-page" },
        h("div", {}, framedImage(image),
          h("p", { class: "quiet" }, seesAll(image)
            ? "The network sees all of it." : "The frame marks what the network sees.")),
        h("div", {}, h("h2", {}, "What the network says"),
          probabilityBars(image.prediction, image.truth, urls.class),
          facts([
            ["truth", image.truth],
            ["best logit", image.prediction[0] ? signed(image.prediction[0].logit) : null],
            ["margin", margin(image.prediction)],
            ["size", `${image.width} × ${image.height} px`],
            ["seen", seenText(image)],
            ["notes", image.notes.join("; ")],
          ]),
          h("div", { class: "kernel" }, seenTile(study, image.id, "what the network sees")))),
      h("h2", { class: "why" }, "Which part decided"),
      entries.length ? [why(study, heatmaps, trust, entries, query.get("target")), trustNote(study, trust)]
        : missing(study, "heatmaps", "No heatmaps of this image were computed."),
      h("h2", {}, "The units the answer hangs on"), causes(study, layers, image),
      h("h2", {}, "The units that respond most"),
      layers.filter((layer) => layer?.activations[image.id]).map((layer) => strongest(study, layer, image))),
  };
});

/** The heatmaps of one question at a time: a class, or a class against another. */
function why(study, heatmaps, trust, entries, wanted) {
  const questions = new Map(entries.map((entry) => [question(entry), questionText(entry)]).reverse());
  const order = [...new Set(entries.map(question))];
  const panel = h("div", {});
  const show = (asked) => fill(panel, evidence(study, heatmaps, entries.filter((entry) => question(entry) === asked), trust));
  const current = order.includes(wanted) ? wanted : order[0];
  show(current);
  return [
    order.length > 1 ? h("div", { class: "toolbar" }, choice("What is explained",
      order.map((asked) => [asked, questions.get(asked)]), current, (asked) => {
        setQuery({ target: asked === order[0] ? null : asked });
        show(asked);
      })) : null,
    panel,
  ];
}

/** The units whose removal lowers the predicted class of this image most. */
function causes(study, layers, image) {
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

function strongest(study, layer, image) {
  const { hi } = layer.activations[image.id];
  const units = [...unitsOf(layer)].sort((a, b) => hi[b] - hi[a]).slice(0, UNITS);
  return h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name, { image: image.id, sort: "activity" }) }, layer.name)),
    tileGrid(units.map((unit) => mapItem(study, layer, unit, image, { overlay: true })),
      { label: `Strongest units of ${layer.name}`, small: true }));
}

function margin([first, second]) {
  if (!first || !second) return null;
  const ahead = first.probability === null
    ? signed(first.logit - second.logit) : percent(first.probability - second.probability);
  return `${ahead} ahead of ${second.label}`;
}

function seenText({ box: [left, top, right, bottom] }) {
  return `x ${Math.round(left)}–${Math.round(right)}, y ${Math.round(top)}–${Math.round(bottom)} px`;
}
