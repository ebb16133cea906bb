/** The images, the region of each that the network sees, and the predictions. */

import { probabilityBars } from "../charts.js";
import { bothEnds, empty, h } from "../dom.js";
import { percent, plural, signed } from "../format.js";
import { framedImage } from "../framed.js";
import { seenTile } from "../layer.js";
import { offerPanel } from "../offering.js";
import { panel } from "../panel.js";
import { pins, setPins } from "../pins.js";
import { section } from "../section.js";
import { urls } from "../study.js";

const SHOWN = 4;

panel({
  name: "images",
  title: "Images",
  order: 20,
  story: { show: imagesSection },
  class: { column: "wide", title: "Images", show: imageRows },
  below: { order: 99, show: (study, { page, name }, host, shown) =>
    (page === "i" && name.startsWith("d") && shown.querySelector(".image-page") ? forgetRow(name, host) : null) },
  jobs: {
    image: ({ name }) => `Image ${name}`,
    forget: ({ image }, study) => `Removing ${study.images.find(({ id }) => id === image)?.name ?? image}`,
  },
});

function imagesSection({ study }) {
  const body = study.images.length
    ? h("div", { class: "images" }, study.images.map((image) => imageCard(study, image)))
    : empty("No image could be read.");
  return section("images", "Images", "Inputs and predictions",
    "A frame marks the region of the image that the network sees. The bars show the most probable classes; a tick marks the true class.",
    [body, skipped(study)]);
}

/** An image with the network's window and its prediction. */
function imageCard(study, image) {
  const best = image.prediction[0];
  return h("article", { class: "card image" },
    h("a", { href: urls.image(image.id), class: "image-link", "aria-label": `Details of ${image.name}` },
      framedImage(image)),
    h("div", {},
      h("h3", {}, h("a", { href: urls.image(image.id) }, image.name)),
      h("p", { class: "quiet" }, `${image.width} × ${image.height} px`, verdict(image, best)),
      probabilityBars(image.prediction, image.truth, urls.class),
      image.notes.length ? h("p", { class: "quiet" }, image.notes.join("; ")) : null));
}

function verdict(image, best) {
  if (!image.truth || !best) return null;
  const right = image.truth === best.label;
  return h("span", { class: right ? "badge good" : "badge bad" }, right ? "correct" : `wrong: true class ${image.truth}`);
}

function skipped(study) {
  return study.skipped.length
    ? h("details", { class: "how" }, h("summary", {}, `${plural(study.skipped.length, "file")} could not be read`),
      h("ul", {}, study.skipped.map((sentence) => h("li", {}, sentence))))
    : null;
}

/** Images of the class by their score: those predicted as it, highest first, and those predicted as another. */
function imageRows({ study, number, label }) {
  const entryOf = (image) => image.prediction.find((entry) => entry.class === number);
  const predictedAs = (image) => image.prediction[0]?.class === number;
  const known = study.images.filter((image) => predictedAs(image) || (image.truth === null ? entryOf(image) : image.truth === label))
    .sort((a, b) => (entryOf(b)?.logit ?? -Infinity) - (entryOf(a)?.logit ?? -Infinity));
  if (!known.length) return empty("No image of this study belongs to this class or is predicted as it.");
  const best = known.filter((image) => predictedAs(image)).slice(0, SHOWN);
  const worst = known.filter((image) => !predictedAs(image)).reverse().slice(0, SHOWN);
  const row = (title, images) => (images.length ? h("div", { class: "group" }, h("h3", {}, title), h("div", { class: "strip" },
    images.map((image) => h("figure", { "data-address": image.id },
      h("a", { href: urls.image(image.id) }, seenTile(study, image.id, image.name)),
      h("figcaption", { class: "quiet" }, h("span", { class: "clip", title: image.name }, bothEnds(image.name)), predictionText(image, entryOf(image))))))) : null);
  return [row("Predicted as this class", best), row("Predicted as another class", worst)];
}

function predictionText(image, own) {
  const best = image.prediction[0];
  const share = !own ? "not in the top five" : own.probability === null ? signed(own.logit) : percent(own.probability);
  const is = image.truth !== null && image.truth !== best.label ? `; true class ${image.truth}` : "";
  return own && best.class === own.class ? share + is : `${share}; predicted ${best.label}`;
}

/** Removes an image that was added in the app. */
function forgetRow(image, host) {
  return h("section", { class: "request-form", "aria-label": "Remove this image" }, offerPanel({
    text: "Remove this image from the study", note: "Everything computed for this image alone is deleted.",
    requests: [{ kind: "forget", image }], cost: ["forget", 1], requested: () => {
      setPins(pins().filter((address) => address !== image));
      location.hash = "#/";
    } }, host));
}
