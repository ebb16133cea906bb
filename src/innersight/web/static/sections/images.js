/** The images, the part of each the network sees, and what it says. */

import { probabilityBars } from "../charts.js";
import { empty, h } from "../dom.js";
import { plural } from "../format.js";
import { section } from "../section.js";
import { getUrl } from "../source.js";
import { urls } from "../study.js";

export function imagesSection(study) {
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

/** The original image with the network's window drawn on it. */
export function framedImage(image) {
  const { width, height, file } = image.original;
  const shown = h("img", { width, height, alt: image.name, decoding: "async" });
  getUrl(file).then((url) => shown.setAttribute("src", url));
  const [left, top, right, bottom] = image.box;
  const share = (value, whole) => `${(100 * value) / whole}%`;
  return h("span", { class: "framed" }, shown, seesAll(image)
    ? null : h("span", { class: "frame", "aria-hidden": "true", style: {
    left: share(left, image.width), top: share(top, image.height),
    width: share(right - left, image.width), height: share(bottom - top, image.height) } }));
}

/** Whether the network sees the whole image. */
export function seesAll({ box: [left, top, right, bottom], width, height }) {
  return left <= 0 && top <= 0 && right >= width && bottom >= height;
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
