/** #/i/ID: one picture, what the network says, why, and which units respond most. */

import { probabilityBars } from "../charts.js";
import { choice, facts, fill, h } from "../dom.js";
import { barList } from "../effects.js";
import { percent, signed } from "../format.js";
import { seenTile, unitsOf } from "../layer.js";
import { pinButton } from "../pins.js";
import { lost, register, setQuery } from "../router.js";
import { evidence, question, questionText, trustNote } from "../sections/evidence.js";
import { mapItem } from "../sections/maps.js";
import { framedPicture, seesAll } from "../sections/pictures.js";
import { getDocument } from "../source.js";
import { loadLayer, missing, storyLayers, urls } from "../study.js";
import { tileGrid } from "../tiles.js";

const UNITS = 16;
const CAUSES = 10;

register("/i/:id", async ({ study, params, query }) => {
  const picture = study.pictures.find((entry) => entry.id === params.id);
  if (!picture) return lost(params.id,
    `This study has the pictures ${study.pictures.map((entry) => entry.id).join(", ")}.`);
  const [heatmaps, trust, ...layers] = await Promise.all([getDocument("heatmaps"), getDocument("trust"),
    ...storyLayers(study).map((entry) => loadLayer(study, entry.name))]);
  const entries = (heatmaps?.entries ?? []).filter((entry) => entry.picture === picture.id);
  return {
    title: picture.name,
    place: { picture: picture.id },
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Picture"),
        h("div", { class: "title-row" }, h("h1", {}, picture.name),
          h("div", { class: "steps" }, pinButton(picture.id, picture.name, { text: true })))),
      h("div", { class: "columns picture-page" },
        h("div", {}, framedPicture(picture),
          h("p", { class: "quiet" }, seesAll(picture)
            ? "The network sees all of it." : "The frame marks what the network sees.")),
        h("div", {}, h("h2", {}, "What the network says"),
          probabilityBars(picture.prediction, picture.truth, urls.class),
          facts([
            ["truth", picture.truth],
            ["best logit", picture.prediction[0] ? signed(picture.prediction[0].logit) : null],
            ["margin", margin(picture.prediction)],
            ["size", `${picture.width} × ${picture.height} px`],
            ["seen", seenText(picture)],
            ["notes", picture.notes.join("; ")],
          ]),
          h("div", { class: "kernel" }, seenTile(study, picture.id, "what the network sees")))),
      h("h2", { class: "why" }, "Which part decided"),
      entries.length ? [why(study, heatmaps, trust, entries, query.get("target")), trustNote(study, trust)]
        : missing(study, "heatmaps", "No heatmaps of this picture were computed."),
      h("h2", {}, "The units the answer hangs on"), causes(study, layers, picture),
      h("h2", {}, "The units that respond most"),
      layers.filter((layer) => layer?.maps[picture.id]).map((layer) => strongest(study, layer, picture))),
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

/** The units whose removal lowers the predicted class of this picture most. */
function causes(study, layers, picture) {
  const rows = layers.flatMap((layer) => (layer?.ablation?.own[picture.id]?.change ?? [])
    .map((value, unit) => ({ layer, unit, value }))).filter((row) => row.value < 0)
    .sort((a, b) => a.value - b.value).slice(0, CAUSES);
  if (!rows.length) return missing(study, "ablation", "No unit was switched off on this picture.");
  const { label } = rows[0].layer.ablation.own[picture.id];
  return h("div", { class: "narrow" },
    h("p", { class: "quiet" }, `Change of the ${rows[0].layer.ablation.unit} of ${label} when the unit is set to zero, in the last layers.`),
    barList("Units it hangs on", rows.map(({ layer, unit, value }) => ({ name: `${layer.name}:${unit}`, value,
      text: signed(value), href: urls.unit(layer.name, unit) }))),
    h("p", { class: "more" }, h("a", { href: urls.matrix(rows.slice(0, 6).map(({ layer, unit }) => `${layer.name}:${unit}`),
      study.pictures.slice(0, 6).map((entry) => entry.id)) }, "These side by side over the pictures →")));
}

function strongest(study, layer, picture) {
  const { hi } = layer.maps[picture.id];
  const units = [...unitsOf(layer)].sort((a, b) => hi[b] - hi[a]).slice(0, UNITS);
  return h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name, { picture: picture.id, sort: "activity" }) }, layer.name)),
    tileGrid(units.map((unit) => mapItem(study, layer, unit, picture, { overlay: true })),
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
