/** The images, the part of each the network sees, and what it says. */

import { probabilityBars } from "../charts.js";
import { empty, h } from "../dom.js";
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
    forget: ({ image }, study) => `Taking ${study.images.find(({ id }) => id === image)?.name ?? image} out`,
  },
});

function imagesSection({ study }) {
  const body = study.images.length
    ? h("div", { class: "images" }, study.images.map((image) => imageCard(study, image)))
    : empty("No image could be read.");
  return section("images", "Images", "What goes in, what comes out",
    "The frame marks the part of the image the network sees. The bars are its probabilities for the best classes.",
    [body, skipped(study)]);
}

/** An image with the network's window and its prediction. */
function imageCard(study, image) {
  const best = image.prediction[0];
  return h("article", { class: "card image" },
    h("a", { href: urls.image(image.id), class: "image-link", "aria-label": `Everything about ${image.name}` },
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
  return h("span", { class: right ? "badge good" : "badge bad" }, right ? "right" : `wrong: it is ${image.truth}`);
}

function skipped(study) {
  return study.skipped.length
    ? h("details", { class: "how" }, h("summary", {}, `${plural(study.skipped.length, "file")} could not be read`),
      h("ul", {}, study.skipped.map((sentence) => h("li", {}, sentence))))
    : null;
}

/** The images of the study by how sure the network is of the class: the surest, and those it misses or doubts. */
function imageRows({ study, number, label }) {
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

/** An image that was dropped onto the page leaves the study again. */
function forgetRow(image, host) {
  return h("section", { class: "question", "aria-label": "Take this image out" }, offerPanel({
    text: "Take this image out of the study", note: "It was added later; what was computed for it alone goes too.",
    requests: [{ kind: "forget", image }], cost: ["forget", 1], asked: () => {
      setPins(pins().filter((address) => address !== image));
      location.hash = "#/";
    } }, host));
}
