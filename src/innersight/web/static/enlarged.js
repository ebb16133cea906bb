/** A pattern enlarged: its score and settings, and the maps of the same unit over the images. */

import { called } from "./annotations.js";
import { enlarge } from "./dialog.js";
import { facts, h, settingsList } from "./dom.js";
import { number } from "./format.js";
import { growing } from "./growth.js";
import { mapLabel, mapTile, badFlags, patternIndex, patternSentence, unitScale } from "./layer.js";
import { legend } from "./legend.js";
import { urls } from "./study.js";

const IMAGES = 6;

/** Open the dialog on the pattern of `units[at]`; the arrow keys go through `units`. */
export function dialogPatterns(study, layer, units, at) {
  enlarge(units, at, (unit) => ({
    title: [called(`${layer.name}:${unit}`, `${layer.name}, unit ${unit}`)],
    body: [
      h("div", { class: "enlarged" },
        growing(layer.patterns, patternIndex(layer, unit), `pattern of unit ${unit}`),
        h("div", {}, patternFacts(layer, unit),
          h("p", {}, h("a", { class: "button", href: urls.unit(layer.name, unit) }, `Details of unit ${unit}`)))),
      h("h3", {}, "Activation maps of the same unit"),
      unitStrip(study, layer, unit),
    ],
  }));
}

/** Score, highest natural response, flags and settings of a unit's pattern. */
export function patternFacts(layer, unit) {
  const { score: scores, settings } = layer.patterns;
  const score = scores[patternIndex(layer, unit)];
  return scoreFacts(score, settings);
}

/** `what` the pattern activates: "unit" or "class". */
export function scoreFacts(score, settings, what = "unit") {
  return [
    score ? h("p", {}, patternSentence(score, what)) : null,
    badFlags(score).length ? h("p", { class: "badges" },
      badFlags(score).map((flag) => h("span", { class: "badge bad" }, flag))) : null,
    facts([
      ["on the pattern", score ? number(score.activation) : null],
      ["steps", score?.steps ? `${score.steps}, ${score.converged ? "converged" : "not converged"}` : null],
      [h("span", { title: "Mean under random transforms that the optimization did not use" }, "under transforms"), score ? number(score.held) : null],
      ["best image", score ? number(score.natural) : null],
      [h("span", { title: "Over all locations of the images of this study" }, "99.9th percentile"), score && what !== "class" ? number(score.p999) : null],
      ["seed agreement", score?.agreement === null || score?.agreement === undefined ? null : `${number(score.agreement, 2)} (cosine similarity)`],
    ]),
    h("details", { class: "how" }, h("summary", {}, "Settings"),
      settingsList(settings)),
  ];
}

/** The maps of one unit over the images, on one scale. */
function unitStrip(study, layer, unit) {
  const images = study.images.filter((image) => layer.activations[image.id]);
  if (!images.length) return h("p", { class: "quiet" }, "The activation maps of this layer were not computed.");
  const scale = unitScale(layer, unit, images.map((image) => image.id));
  return [
    h("div", { class: "strip" }, images.slice(0, IMAGES).map((image) => h("figure", {},
      mapTile(study, layer, unit, image.id,
        { scale, overlay: true, label: mapLabel(layer, unit, image.id, image.name) }),
      h("figcaption", { class: "clip quiet" }, image.name)))),
    legend(scale, "activation", "one scale for all images"),
  ];
}
