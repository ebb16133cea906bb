/** Concepts: their sets, names and colours, and where they are in an image. */

import { nameOf } from "./annotations.js";
import { h } from "./dom.js";
import { number, percent } from "./format.js";
import { imageTile, patternIndex, unitMap } from "./layer.js";
import { drawMasked } from "./sheet.js";
import { tile } from "./tiles.js";

// Distinct to colour-blind readers too: Okabe and Ito 2008, https://jfly.uni-koeln.de/color; grey is no concept here.
export const COLOURS = ["#e69f00", "#0072b2", "#cc79a7", "#009e73", "#d55e00", "#56b4e9", "#f0e442", "#7f3c8d"];

const WEAK = 0.1; // of the strongest cell of the image; one below is left without colour
const OPAQUE = 0.9;

/**
 * The set that an overview shows: of the deepest layer that has images as concepts; null where there is none.
 * @param {Study} study
 * @param {ConceptsDocument | null} concepts
 * @returns {ConceptSet | null}
 */
export function firstSet(study, concepts) {
  const depth = (set) => study.layers.findIndex(({ name }) => name === set.layer);
  const known = (concepts?.sets ?? []).filter((set) => study.images.some(({ id }) => set.shown[id]));
  return known.sort((a, b) => depth(b) - depth(a))[0] ?? null;
}

/**
 * What a concept is called: its label, else its number.
 * @param {ConceptSet} set
 * @param {number} concept
 */
export function conceptName(set, concept) {
  return nameOf(`${set.address}:${concept}`) || set.concepts[concept].label?.label || `${set.name}:${concept}`;
}

/** What else there is to say in a line: where the name comes from, or the class that it counts for most. */
export function conceptNote(set, concept) {
  const { label, classes } = set.concepts[concept];
  if (label) return `${set.name}:${concept}, ${label.by} ${number(label.score, 2)}`;
  const [first] = classes;
  return first && first.contribution.value > 0 ? `most for ${first.label}` : "for no class";
}

/**
 * The pattern of a concept; its best example where none was computed; null without both.
 * @param {ConceptSet} set
 * @param {LayerDocument | null} own  the set as a layer
 * @param {number} concept
 */
export function conceptTile(set, own, concept) {
  const at = own ? patternIndex(own, concept) : -1;
  return own?.patterns && at >= 0 ? imageTile(own.patterns.sheet, at, `pattern of ${set.address}:${concept}`) : exampleTiles(set, concept, 1)[0] ?? null;
}

/** Crops of the images in which a concept is strongest, dark where it is not. */
export function exampleTiles(set, concept, limit = Infinity) {
  const found = set.examples;
  if (!found) return [];
  return found.rows.map((row, i) => ({ row, i })).filter(({ row }) => row.concept === concept).slice(0, limit).map(({ row, i }) =>
    tile((canvas) => drawMasked(canvas, found.sheet, found.masks, i), found.sheet.tile, { label: `crop of ${row.name}, ${number(row.value)}` }));
}

/**
 * The maps of some concepts over an image.
 * @param {LayerDocument} own
 * @param {number[]} concepts
 * @param {string} id
 * @returns {Promise<CellMap[]>}
 */
export function conceptMaps(own, concepts, id) {
  return Promise.all(concepts.map((concept) => unitMap(own, concept, id)));
}

/**
 * Cells in the colour of the strongest concept there, the more opaque the stronger it is; of one alone where `only` names its place.
 * @param {CellMap[]} maps
 * @param {number | null} only
 */
export function colouredCells(maps, only = null) {
  const [{ width, height }] = maps;
  const shown = only === null ? [...maps.keys()] : [only];
  const most = Math.max(...shown.map((k) => maps[k].values.reduce((a, b) => Math.max(a, b), 0)));
  const cells = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const best = shown.reduce((a, b) => (maps[b].values[i] > maps[a].values[i] ? b : a));
    const strength = most > 0 ? maps[best].values[i] / most : 0;
    const opacity = OPAQUE * Math.max(0, (strength - WEAK) / (1 - WEAK)) ** 0.6;
    const hex = parseInt(COLOURS[best % COLOURS.length].slice(1), 16);
    cells.data.set([hex >> 16, (hex >> 8) & 255, hex & 255, Math.round(255 * opacity)], 4 * i);
  }
  return cells;
}

/** What an image's score is made of: what each group adds, the other concepts together, and what is left without any. */
export function partsOfScore(shown) {
  const groups = shown.groups.map((concept, place) => ({ concept, place, value: shown.values[concept] }));
  const all = shown.values.reduce((a, b) => a + b, 0);
  const own = groups.reduce((sum, { value }) => sum + value, 0);
  return { groups, others: all - own, count: shown.values.length - groups.length, rest: shown.rest + shown.missing, score: shown.score };
}

/** On how few concepts a prediction rests, in a sentence. */
export function restsOn(set, shown) {
  const total = shown.score - shown.rest;
  const raising = shown.values.map((value, concept) => ({ value, concept })).filter(({ value }) => value > 0).sort((a, b) => b.value - a.value);
  if (!(total > 0) || !raising.length) return "No concept raises this class.";
  let sum = 0;
  let many = 0;
  while (many < raising.length && sum < 0.8 * total) sum += raising[many++].value;
  const names = raising.slice(0, many).map(({ concept }) => set.concepts[concept].label?.label);
  const named = names.every(Boolean) && many <= 4 ? ` (${[...new Set(names)].join(", ")})` : "";
  const which = many === 1 ? `One of ${shown.values.length} concepts${named} gives` : `${many} of ${shown.values.length} concepts${named} give`;
  return `${which} ${percent(Math.min(1, sum / total))} of what all concepts add to the score.`;
}

/** A small square in a group's colour. */
export function swatch(place) {
  return h("span", { class: "swatch", style: { background: COLOURS[place % COLOURS.length] }, "aria-hidden": "true" });
}
