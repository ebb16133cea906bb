/** #/i/ID: one image, its prediction, and what every panel shows of it. */

import { called } from "../annotations.js";
import { annotator } from "../annotator.js";
import { probabilityBars } from "../charts.js";
import { breakable, facts, h } from "../dom.js";
import { percent, signed } from "../format.js";
import { framedImage, seesAll } from "../framed.js";
import { seenTile } from "../layer.js";
import { headed, loadDocuments, partsOf } from "../panel.js";
import { pinButton } from "../pins.js";
import { notFound, register } from "../router.js";
import { loadLayer, storyLayers, urls } from "../study.js";

register("/i/:id", async ({ study, params, query }) => {
  const image = study.images.find((entry) => entry.id === params.id);
  if (!image) return notFound(params.id,
    `This study contains the images ${study.images.map((entry) => entry.id).join(", ")}.`);
  const [documents, ...layers] = await Promise.all([loadDocuments(), ...storyLayers(study).map((entry) => loadLayer(study, entry.name))]);
  return {
    title: image.name,
    subject: { image: image.id },
    // Where its heatmap was not computed, the heatmaps there are, and in the app the form to ask for it.
    arrive: () => query.has("method") && (document.querySelector(`:is(.heatmap, .heatmap-twin)[data-method="${CSS.escape(query.get("method"))}"]`)
      ?? document.querySelector(".heatmaps-title"))?.scrollIntoView({ block: "start" }),
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Image"),
        h("div", { class: "title-row" }, h("h1", {}, breakable(called(image.id, image.name))),
          h("div", { class: "steps" }, pinButton(image.id, image.name, { text: true }))),
        annotator(image.id)),
      partsOf("image").filter(({ head }) => head).map(({ show }) => show({ study, image, layers, documents, query })),
      h("div", { class: "columns image-page" },
        h("div", {}, framedImage(image),
          h("p", { class: "quiet" }, seesAll(image)
            ? "The network sees the whole image." : "The frame marks the region that the network sees.")),
        h("div", {}, h("h2", {}, "Prediction"),
          probabilityBars(image.prediction, image.truth, urls.class),
          facts([
            ["true class", image.truth],
            ["highest logit", image.prediction[0] ? signed(image.prediction[0].logit) : null],
            ["margin", margin(image.prediction)],
            ["size", `${image.width} × ${image.height} px`],
            ["region seen", seenText(image)],
            ["notes", image.notes.join("; ")],
          ]),
          h("div", { class: "kernel" }, seenTile(study, image.id, "the input of the network")))),
      headed("image", null, { study, image, layers, documents, query })),
  };
});

function margin([first, second]) {
  if (!first || !second) return null;
  const ahead = first.probability === null
    ? signed(first.logit - second.logit) : percent(first.probability - second.probability);
  return `${ahead} over ${second.label}`;
}

function seenText({ box: [left, top, right, bottom] }) {
  return `x ${Math.round(left)}–${Math.round(right)}, y ${Math.round(top)}–${Math.round(bottom)} px`;
}
