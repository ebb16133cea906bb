/** The pictures, the part of each the network sees, and what it says. */

import { probabilityBars } from "../charts.js";
import { empty, h } from "../dom.js";
import { plural } from "../format.js";
import { section } from "../section.js";
import { getUrl } from "../source.js";
import { urls } from "../study.js";

export function picturesSection(study) {
  const body = study.pictures.length
    ? h("div", { class: "pictures" }, study.pictures.map((picture) => pictureCard(study, picture)))
    : empty("No picture could be read.");
  return section("pictures", "Pictures", "What goes in, what comes out",
    "The frame marks the part of the picture the network sees. The bars are its probabilities for the best classes.",
    [body, skipped(study)]);
}

/** A picture with the network's window and its prediction. */
function pictureCard(study, picture) {
  const best = picture.prediction[0];
  return h("article", { class: "card picture" },
    h("a", { href: urls.picture(picture.id), class: "picture-link", "aria-label": `Everything about ${picture.name}` },
      framedPicture(picture)),
    h("div", {},
      h("h3", {}, h("a", { href: urls.picture(picture.id) }, picture.name)),
      h("p", { class: "quiet" }, `${picture.width} × ${picture.height} px`, verdict(picture, best)),
      probabilityBars(picture.prediction, picture.truth, urls.class),
      picture.notes.length ? h("p", { class: "quiet" }, picture.notes.join("; ")) : null));
}

/** The original picture with the network's window drawn on it. */
export function framedPicture(picture) {
  const { width, height, file } = picture.original;
  const image = h("img", { width, height, alt: picture.name, decoding: "async" });
  getUrl(file).then((url) => image.setAttribute("src", url));
  const [left, top, right, bottom] = picture.box;
  const share = (value, whole) => `${(100 * value) / whole}%`;
  return h("span", { class: "framed" }, image, seesAll(picture)
    ? null : h("span", { class: "frame", "aria-hidden": "true", style: {
    left: share(left, picture.width), top: share(top, picture.height),
    width: share(right - left, picture.width), height: share(bottom - top, picture.height) } }));
}

/** Whether the network sees the whole picture. */
export function seesAll({ box: [left, top, right, bottom], width, height }) {
  return left <= 0 && top <= 0 && right >= width && bottom >= height;
}

function verdict(picture, best) {
  if (!picture.truth || !best) return null;
  const right = picture.truth === best.label;
  return h("span", { class: right ? "badge good" : "badge bad" }, right ? "right" : `wrong: it is ${picture.truth}`);
}

function skipped(study) {
  return study.skipped.length
    ? h("details", { class: "how" }, h("summary", {}, `${plural(study.skipped.length, "file")} could not be read`),
      h("ul", {}, study.skipped.map((sentence) => h("li", {}, sentence))))
    : null;
}
