/** Concepts: the surest image as concepts first of all, the strongest concepts, and which a class, image or unit belongs to. */

import { conceptImage } from "../concept_image.js";
import { conceptName, conceptNote, conceptTile, exampleTiles, firstSet } from "../concepts.js";
import { fill, h, hidden } from "../dom.js";
import { verdict } from "../finding.js";
import { number, percent, plural, signed } from "../format.js";
import { patternIndex, seenTile } from "../layer.js";
import { panel } from "../panel.js";
import { section } from "../section.js";
import { getDocument } from "../source.js";
import { loadLayer, reason, urls } from "../study.js";

const SHOWN = 8; // concepts on the overview
const CLASS = 6; // of a class
const PICKED = 12; // images to choose from

panel({
  name: "concepts",
  title: "Concepts",
  order: 25,
  document: "concepts",
  story: [{ head: true, order: 1, show: firstScreen }, { href: urls.concepts(), show: conceptsSection }],
  image: { head: true, show: ({ study, image, documents }) => {
    const set = firstSet(study, documents.concepts);
    return set?.shown[image.id] ? h("section", { class: "part", "aria-label": "The image as concepts" }, conceptImage(study, set, image.id)) : null;
  } },
  class: { column: "right", title: "Concepts", order: 5, show: conceptsOfClass },
  unit: { column: "left", title: "Concepts", heading: "h3", order: 60, show: conceptsOfUnit },
  cell: { title: "Concepts", show: conceptsOfCell },
  table({ study, documents: { concepts } }) {
    const sets = concepts?.sets ?? [];
    return { computed: sets.length ? sets.map((set) => `${plural(set.concepts.length, "concept")} of ${set.layer} (${set.name})`).join(", ") : null,
      missing: sets.length ? null : reason(study, "concepts", "not found"), done: 0, left: 0 };
  },
  async found() {
    const document = await getDocument("concepts");
    return (document?.sets ?? []).flatMap((set) => [
      { name: set.address, kind: `${plural(set.concepts.length, "concept")}, ${set.title}`, href: urls.concepts(set.layer, set.name), also: ["concepts"] },
      ...set.concepts.map((_, concept) => ({ name: conceptName(set, concept), kind: `concept ${set.address}:${concept}`,
        href: urls.concepts(set.layer, set.name, concept), also: [`${set.address}:${concept}`, `${set.name}:${concept}`, `concept ${concept}`] })),
    ]);
  },
});

/** The surest image as concepts; the others can be chosen. */
function firstScreen({ study, documents }) {
  const set = firstSet(study, documents.concepts);
  if (!set) return null;
  const sure = ({ prediction: [first] }) => (first ? first.probability ?? first.logit : -Infinity);
  const right = ({ truth, prediction: [first] }) => Number(truth === null || truth === first?.label);
  const images = study.images.filter(({ id }) => set.shown[id]).sort((a, b) => right(b) - right(a) || sure(b) - sure(a));
  const place = h("div", {});
  const picker = images.length > 1 ? h("div", { class: "picker", role: "group", "aria-label": "Image, the surest first" }) : null;
  const buttons = images.slice(0, PICKED).map((image) => h("button", { type: "button", "aria-pressed": "false", title: image.name,
    onclick: () => show(image) }, seenTile(study, image.id), hidden(image.name)));
  const show = (image) => {
    images.forEach((one, i) => buttons[i]?.setAttribute("aria-pressed", String(one === image)));
    fill(place, conceptImage(study, set, image.id, picker));
  };
  picker?.append(...buttons);
  show(images[0]);
  return h("section", { class: "first-screen", "aria-label": "Images as concepts" },
    h("p", { class: "lead" }, relies(set), findingsLine(documents.findings)), place,
    set.own ? h("p", { class: "quiet" }, `These concepts are groups of the ${plural(set.images, "image")} of this study. `,
      "Found over a data set (`innersight concepts MODEL FOLDER --out STUDY`), they are what the classes share.") : null);
}

/** What the network relies on, in a line. */
function relies(set) {
  const best = set.order.map((concept) => set.concepts[concept]).filter(({ share }) => share > 0);
  const names = [...new Set(best.slice(0, 5).map(({ label }) => label?.label).filter(Boolean))];
  let sum = 0;
  let many = 0;
  while (many < best.length && sum < 0.5) sum += best[many++].share;
  const most = names.length >= 2 ? `The network relies most on ${names.slice(0, 3).join(", ")}: ` : "";
  return `Each colour is a concept, something that ${set.layer} finds in ${set.own ? "these" : "many"} images. ${most}${most ? "h" : "H"}alf of what it predicts of ${plural(set.measured, "image")} `
    + `rests on ${many} of ${set.concepts.length} concepts. `;
}

function findingsLine(findings) {
  return findings ? h("a", { href: urls.findings() }, `${verdict(findings)} →`) : null;
}

/** The concepts that contribute most, each with its pattern and best example. */
function conceptsSection({ study, documents }) {
  const sets = documents.concepts?.sets ?? [];
  if (!sets.length) return null;
  const body = sets.map((set) => {
    const grid = h("ul", { class: "concept-strip" });
    loadLayer(study, set.address).then((own) => fill(grid, set.order.slice(0, SHOWN).map((concept) => h("li", {},
      h("a", { class: "tile", href: urls.concepts(set.layer, set.name, concept) }, tiles(set, own, concept),
        h("span", { class: "caption" }, h("span", { class: "unit" }, conceptName(set, concept)), h("span", { class: "note" }, percent(set.concepts[concept].share))),
        h("span", { class: "quiet" }, conceptNote(set, concept)))))));
    return h("div", { class: "group" }, h("h3", {}, h("a", { href: urls.concepts(set.layer, set.name) }, set.address), h("span", { class: "quiet" }, ` ${facts(set)}`)),
      grid, h("p", { class: "more" }, h("a", { href: urls.concepts(set.layer, set.name) }, `Show all ${set.concepts.length} concepts of ${set.layer} →`)));
  });
  return section("concepts", "Concepts", "What the network sees in many images",
    "A concept is a direction in the space of a layer's units, which many images share: one thing is often spread over several units. "
    + "The percentage is the concept's share of what all concepts add to the predicted scores.", body, study.how.concepts);
}

/** The best example, with the pattern in its corner where there is one. */
function tiles(set, own, concept) {
  const drawn = own && patternIndex(own, concept) >= 0;
  return h("span", { class: "pair" }, exampleTiles(set, concept, 1), drawn || !set.examples ? conceptTile(set, own, concept) : null);
}

function facts(set) {
  const kept = Number.isFinite(set.covered) ? `; rebuilt from them alone, the layer keeps ${percent(set.covered)} of the score` : "";
  return `${set.title} of ${plural(set.images, "image")}${kept}`;
}

/** The concepts that add most to a class, over the images predicted as it. */
function conceptsOfClass({ study, number: wanted, documents }) {
  const set = firstSet(study, documents.concepts) ?? documents.concepts?.sets[0];
  if (!set) return null;
  const rows = set.concepts.map(({ classes }, concept) => ({ concept, one: classes.find((own) => own.class === wanted) }))
    .filter(({ one }) => one && one.contribution.value > 0).sort((a, b) => b.one.contribution.value - a.one.contribution.value).slice(0, CLASS);
  if (!rows.length) return h("p", { class: "quiet" }, "No concept counts for this class first of all.");
  const grid = h("ul", { class: "concept-strip" });
  loadLayer(study, set.address).then((own) => fill(grid, rows.map(({ concept, one }) => h("li", {},
    h("a", { class: "tile", href: urls.concepts(set.layer, set.name, concept) }, tiles(set, own, concept),
      h("span", { class: "caption" }, h("span", { class: "unit" }, conceptName(set, concept)), h("span", { class: "note" }, signed(one.contribution.value))))))));
  return [h("p", { class: "quiet" }, `What each concept of ${set.layer} adds to the score of this class on average, in ${set.unit}.`), grid];
}

/** The concepts strongest in a cell of an atlas; null where no set of the layer was found. */
function conceptsOfCell(study, layer, { at, i }) {
  const rows = layer.atlas.levels[at].concepts[i];
  if (!rows.length) return null;
  const grid = h("ul", { class: "concept-strip" });
  getDocument("concepts").then((document) => fill(grid, rows.map(({ set: name, concept, value }) => {
    const set = document.sets.find((one) => one.layer === layer.name && one.name === name);
    return set && h("li", {}, h("a", { class: "tile", href: urls.concepts(set.layer, set.name, concept) }, exampleTiles(set, concept, 1),
      h("span", { class: "caption" }, h("span", { class: "unit" }, conceptName(set, concept)), h("span", { class: "note" }, number(value, 2)))));
  })));
  return grid;
}

/** The concepts that a unit is part of; of a concept, its card. */
function conceptsOfUnit(study, layer, unit) {
  const place = h("div", {}, h("p", { class: "quiet" }, "…"));
  getDocument("concepts").then((document) => {
    const sets = /** @type {ConceptSet[]} */ (document?.sets ?? []);
    const itself = sets.find(({ address }) => address === layer.name);
    const rows = sets.filter((set) => set.layer === layer.name).flatMap((set) => set.concepts.map(({ units }, concept) =>
      ({ set, concept, weight: units.find((one) => one.unit === unit)?.weight })).filter(({ weight }) => weight !== undefined));
    rows.sort((a, b) => Math.abs(b.weight ?? 0) - Math.abs(a.weight ?? 0));
    if (itself) {
      fill(place, h("p", {}, h("a", { href: urls.concepts(itself.layer, itself.name, unit) }, `${conceptName(itself, unit)}: examples, classes, stability →`)));
    } else if (rows.length) {
      fill(place, h("p", { class: "quiet" }, "Concepts in which this unit has one of the largest weights."),
        h("ul", { class: "statements" }, rows.map(({ set, concept, weight }) => h("li", {},
          h("a", { href: urls.concepts(set.layer, set.name, concept) }, conceptName(set, concept)),
          h("span", { class: "quiet" }, ` weight ${number(weight, 2)}, ${conceptNote(set, concept)}`)))));
    } else {
      fill(place, h("p", { class: "quiet" }, sets.some((set) => set.layer === layer.name)
        ? "This unit has a large weight in no concept." : "No concepts of this layer were found."));
    }
  });
  return place;
}
