/** #/i/ID: one picture, what the network says, why, and which units respond most. */

import { probabilityBars } from "../charts.js";
import { empty, facts, h } from "../dom.js";
import { percent, signed } from "../format.js";
import { seenTile } from "../layer.js";
import { lost, register } from "../router.js";
import { evidence } from "../sections/evidence.js";
import { mapItem } from "../sections/maps.js";
import { framedPicture, seesAll } from "../sections/pictures.js";
import { getDocument } from "../source.js";
import { loadLayer, reason, storyLayers, urls } from "../study.js";
import { tileGrid } from "../tiles.js";

const UNITS = 16;

register("/i/:id", async ({ study, params }) => {
  const picture = study.pictures.find((entry) => entry.id === params.id);
  if (!picture) return lost(params.id,
    `This study has the pictures ${study.pictures.map((entry) => entry.id).join(", ")}.`);
  const [heatmaps, ...layers] = await Promise.all([getDocument("heatmaps"),
    ...storyLayers(study).map((entry) => loadLayer(study, entry.name))]);
  const entries = (heatmaps?.entries ?? []).filter((entry) => entry.picture === picture.id);
  return {
    title: picture.name,
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Picture"), h("h1", {}, picture.name)),
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
      h("h2", {}, "Which part decided"),
      entries.length ? evidence(study, heatmaps, entries)
        : empty(reason(study, "heatmaps", "No heatmaps of this picture were computed.")),
      h("h2", {}, "The units that respond most"),
      layers.filter((layer) => layer?.maps[picture.id]).map((layer) => strongest(study, layer, picture))),
  };
});

function strongest(study, layer, picture) {
  const { hi } = layer.maps[picture.id];
  const units = hi.map((_, unit) => unit).sort((a, b) => hi[b] - hi[a]).slice(0, UNITS);
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
