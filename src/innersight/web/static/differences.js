/** A network beside the study's own: predictions, units, patterns, maps and heatmaps in pairs. */

import { breakable, h } from "./dom.js";
import { certainty, count, number, plural, size } from "./format.js";
import { imageTile, seenTile } from "./layer.js";
import { legend } from "./legend.js";
import { scroller } from "./scroller.js";
import { drawOverlay, readMap } from "./sheet.js";
import { urls } from "./study.js";
import { tile } from "./tiles.js";

const VERDICTS = ["same", "moved", "born", "died", "silent"];
const MEANINGS = {
  same: "its partner in the other network has the same number",
  moved: "its partner has another number",
  born: "active, without a partner beyond chance: beside it the unit of the same number",
  died: "silent here; it was active and has no successor",
  silent: "constant over all images",
};

/** What a network is called beside this one. */
export function networkName({ name, epoch }) {
  return epoch === null ? name : `epoch ${epoch}`;
}

/** What differs, in one sentence. */
export function summary(study, { own }, other) {
  const differ = changed(own, other).length;
  const images = plural(study.images.filter((image) => own.predictions[Number(image.id.slice(1))]).length, "image");
  const totals = Object.fromEntries(VERDICTS.map((kind) => [kind, other.matched.reduce((sum, row) => sum + row.counts[kind], 0)]));
  const units = other.matched.length
    ? ` Of the units matched, ${count(totals.same)} stayed, ${count(totals.moved)} moved, ${count(totals.born)} were born and ${count(totals.died)} died.` : "";
  return `${networkName(other)} predicts another class for ${differ} of ${images}.${units}`;
}

function changed(own, other) {
  return own.predictions.map((_, i) => i).filter((i) => own.predictions[i].label !== other.predictions[i].label);
}

/** Everything about one of the networks beside this one. */
export function differences(study, diff, other) {
  return [predictions(study, diff, other), heatmaps(study, diff, other), matching(other), units(study, diff, other)];
}

/** The images that the networks classify otherwise, before the others. */
function predictions(study, { own }, other) {
  const differ = changed(own, other);
  const order = [...differ, ...own.predictions.map((_, i) => i).filter((i) => !differ.includes(i))];
  const said = (one) => [breakable(one.label), " ", h("span", { class: "quiet tabular" }, certainty(one))];
  return [h("h2", {}, "Predictions"),
    h("p", { class: "quiet" }, differ.length ? `${plural(differ.length, "prediction")} of ${own.predictions.length} ${differ.length === 1 ? "differs" : "differ"}.` : "No prediction differs."),
    h("ul", { class: "diff-images" }, order.map((i) => {
      const image = study.images[i];
      return h("li", { class: differ.includes(i) ? "changed" : null },
        h("a", { href: urls.image(image.id), "aria-label": `Details of ${image.name}` }, seenTile(study, image.id, image.name)),
        h("p", { class: "clip", title: image.name }, image.name, image.truth ? h("span", { class: "quiet" }, `, true class ${image.truth}`) : null),
        h("dl", {}, h("div", {}, h("dt", {}, networkName(other)), h("dd", {}, said(other.predictions[i]))),
          h("div", {}, h("dt", {}, "this network"), h("dd", {}, said(own.predictions[i])))));
    }))];
}

/** The heatmaps of each image by both networks, on one scale. */
function heatmaps(study, diff, other) {
  const { own, heat_scales: scales } = diff;
  const refusal = other.heat.why ?? own.heat.why;
  const method = study.methods?.[own.heat.method]?.title ?? own.heat.method;
  const title = h("h2", {}, "Heatmaps of the same class");
  if (refusal) return [title, h("p", { class: "quiet" }, `There are no heatmaps to compare: ${refusal}`)];
  const left = own.heat.images.filter((i) => !other.heat.images.includes(i)).map((i) => own.predictions[i].label);
  return [title,
    h("p", { class: "quiet" }, `${method}: how much each location counts for the class that this network predicts, in ${own.heat.unit}. Both maps of an image share one scale.`
      + `${left.length ? ` ${networkName(other)} has no class ${[...new Set(left)].join(", ")}.` : ""}`),
    h("div", { class: "diff-pairs" }, other.heat.images.map((i) => h("figure", { class: "heatmap" },
      h("figcaption", {}, h("strong", {}, study.images[i].name), h("span", { class: "quiet" }, ` ${own.predictions[i].label}`)),
      pair(other, heatTile(study, other, i, scales[i], other), heatTile(study, own, i, scales[i], other)),
      legend(scales[i], own.heat.unit))))];
}

function heatTile(study, side, i, scale, other) {
  const { maps, images } = side.heat;
  const at = images.indexOf(i);
  const who = side === other ? networkName(other) : "this network";
  return overlaid({ maps, at, scale, seen: seenOf(study, side), index: i, label: `heatmap of ${study.images[i].name} by ${who}, ${size([maps.sheet.tile[1], maps.sheet.tile[0]])} cells` });
}

/** What a network sees of the images: its own crops where it is made for other ones. */
function seenOf(study, side) {
  return side.seen ?? study.seen;
}

function overlaid({ maps, at, scale, seen, index, label }) {
  return tile(async (canvas, room) => drawOverlay(canvas, room, { scale, seen, index,
    map: await readMap(maps.sheet, at, maps.lo[at], maps.hi[at]) }), seen.tile, { crisp: true, label });
}

/** Two things side by side, the other network's first. */
function pair(other, first, second) {
  return h("div", { class: "diff-pair" },
    h("div", {}, h("p", { class: "quiet clip", title: networkName(other) }, networkName(other)), first),
    h("div", {}, h("p", { class: "quiet" }, "this network"), second));
}

/** How many units of each layer stayed, moved, were born and died, and which. */
function matching(other) {
  const title = h("h2", {}, "Units matched");
  if (other.why) return [title, h("p", { class: "quiet" }, `The units were not matched: ${other.why}`)];
  const cell = (text) => h("td", { class: "tabular" }, text);
  const unit = (layer, number_) => h("a", { href: urls.unit(layer, number_) }, String(number_));
  const list = (items) => items.flatMap((item, i) => [i ? ", " : "", item]);
  return [title,
    other.over ? h("p", { class: "quiet" }, `By their activation maps over ${plural(other.over, "image")}.`) : null,
    scroller(h("table", { class: "diff-units" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "layer"), VERDICTS.map((kind) => h("th", { scope: "col", title: MEANINGS[kind] }, kind)),
        h("th", { scope: "col" }, "median correlation"), h("th", { scope: "col" }, "chance"), h("th", { scope: "col" }, "CKA"))),
      h("tbody", {}, other.matched.map((row) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: urls.layer(row.layer) }, row.layer)),
        VERDICTS.map((kind) => cell(row.counts[kind] ? count(row.counts[kind]) : "·")), cell(number(row.median ?? NaN, 2)), cell(number(row.threshold, 2)), cell(number(row.cka, 2)))))),
    "Units matched, by layer"),
    h("details", { class: "how" }, h("summary", {}, "Which units, and what the words mean"),
      other.matched.map(({ layer, born, moved, died }) => (born.length || moved.length || died.length ? h("p", {}, h("strong", {}, layer), ": ",
        [born.length ? ["born ", list(born.map((own) => unit(layer, own)))] : null,
          moved.length ? ["moved ", list(moved.map(([from, to]) => [`${from} → `, unit(layer, to)]))] : null,
          died.length ? ["died ", died.join(", ")] : null].filter(Boolean).flatMap((part, i) => [i ? "; " : "", part])) : null)),
      h("p", {}, VERDICTS.map((kind) => `${kind}: ${MEANINGS[kind]}`).join(". "), ". Correlations at or below chance pair nothing; CKA compares the layers as a whole."))];
}

/** Units in pairs: the pattern and the map of each, by both networks. */
function units(study, diff, other) {
  if (!other.layers.length) return null;
  const drawn = other.layers.some(({ at }) => other.patterns[String(at)] && diff.own.patterns[String(at)]);
  return [h("h2", {}, "Units side by side"),
    h("p", { class: "quiet" }, `For each unit of this network its partner in the other one, with the${drawn ? " pattern of each and its" : ""} activation map${drawn ? "" : " of each"} over the image that excites this network's unit most, on one scale.`
      + examplesLead(diff.own.examples)),
    other.layers.map((row) => {
      const { name, units: shown, images } = diff.layers[row.at];
      const at = String(row.at);
      return [h("h3", {}, h("a", { href: urls.layer(name) }, name)), h("div", { class: "diff-pairs" }, shown.map((unit, i) => {
        const found = row.rows[i];
        const scale = diff.map_scales[row.at][i];
        const maps = (side, own) => overlaid({ maps: side.maps[at], at: i, scale, seen: seenOf(study, side), index: images[i],
          label: `unit ${own} of ${name} over ${study.images[images[i]].name}` });
        return h("figure", {},
          h("figcaption", {}, h("a", { href: urls.unit(name, unit) }, `unit ${unit}`), " ", h("span", { class: "badge", title: MEANINGS[found.verdict] }, found.verdict),
            h("span", { class: "quiet" }, found.before === null ? ` beside unit ${row.units[i]}` : ` unit ${found.before}, r ${number(found.correlation, 2)}`)),
          sides(other.patterns[at] && diff.own.patterns[at] ? pair(other, imageTile(other.patterns[at], i, `pattern of unit ${row.units[i]}, ${networkName(other)}`),
            imageTile(diff.own.patterns[at], i, `pattern of unit ${unit}, this network`)) : null,
          pair(other, maps(other, row.units[i]), maps(diff.own, unit)),
          other.examples?.layers[at] && diff.own.examples?.layers[at] ? pair(other, exampleRow(other.examples.layers[at], i, row.units[i], networkName(other)),
            exampleRow(diff.own.examples.layers[at], i, unit, "this network")) : null),
          legend(scale, "activation", study.images[images[i]].name));
      }))];
    })];
}

/** What the examples below the units are, or why there are none. */
function examplesLead(examples) {
  if (!examples) return " Scan a data set into the study, and compare once more, to see examples of both beside them.";
  if (examples.why) return ` There are no examples: ${examples.why}.`;
  return ` Below stand the crops that each unit responds to most among the same ${plural(examples.images, "scanned image")}, dark where the activation is below half of its peak.`;
}

/** The crops that a unit of one of the networks responds to most. */
function exampleRow({ sheet, each, peaks }, i, unit, who) {
  if (!peaks[i].length) return h("p", { class: "quiet" }, "no image activates it");
  return h("ul", { class: "diff-examples" }, peaks[i].map((peak, at) => h("li", {},
    imageTile(sheet, i * each + at, `example ${at + 1} of unit ${unit}, ${who}`), h("span", { class: "quiet tabular" }, number(peak)))));
}

function sides(...parts) {
  return h("div", { class: "diff-sides" }, parts);
}
