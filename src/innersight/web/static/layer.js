/** A layer's activation maps and patterns as tiles: their colour scale and captions. */

import { scaleOf } from "./colour.js";
import { number } from "./format.js";
import { drawMap, drawOverlay, drawImage, readMap } from "./sheet.js";
import { imageIndex } from "./study.js";
import { tile } from "./tiles.js";

const tileNumbers = new WeakMap();

/** The scale of one unit over the images named: the same colours mean the same values in all of them. */
export function unitScale(layer, unit, ids) {
  return scaleOf(...extent(layer, ids, (list) => [list[unit]]), layer.signed);
}

/** The scale shared by all units of the layer over the images named. */
export function layerScale(layer, ids) {
  return scaleOf(...extent(layer, ids, (list) => list), layer.signed);
}

/**
 * Return the map of a unit over an image.
 * @param {LayerDocument} layer
 * @param {number} unit
 * @param {string} id
 */
export function unitMap(layer, unit, id) {
  const maps = layer.activations[id];
  return readMap(maps.sheet, unit, maps.lo[unit], maps.hi[unit]);
}

/**
 * The tile of a unit's map over an image, plain or laid over what the network saw.
 * @param {Study} study
 * @param {LayerDocument} layer
 * @param {number} unit
 * @param {string} id
 * @param {{scale: Scale, overlay?: boolean, label?: string | null}} options
 */
export function mapTile(study, layer, unit, id, { scale, overlay = false, label = null }) {
  const index = imageIndex(study, id);
  const painter = async (canvas, room) => {
    const map = await unitMap(layer, unit, id);
    if (overlay) await drawOverlay(canvas, room, { map, scale, seen: study.seen, index });
    else drawMap(canvas, map, scale);
  };
  const shape = overlay ? study.seen.tile : layer.activations[id].sheet.tile;
  return tile(painter, shape, { crisp: !overlay, label });
}

/**
 * The tile of what the network saw of an image.
 * @param {Study} study
 * @param {string} id
 * @param {string | null} label
 */
export function seenTile(study, id, label = null) {
  const index = imageIndex(study, id);
  return tile((canvas) => drawImage(canvas, study.seen, index), study.seen.tile, { label });
}

/**
 * Tile `i` of a colour sheet.
 * @param {Sheet} sheet
 * @param {number} i
 * @param {string | null} label
 */
export function imageTile(sheet, i, label = null) {
  return tile((canvas) => drawImage(canvas, sheet, i), sheet.tile, { label });
}

/**
 * Which tile of the patterns shows this unit; -1 when none does.
 * @param {LayerDocument} layer
 * @param {number} unit
 */
export function patternIndex(layer, unit) {
  if (!layer.patterns) return -1;
  if (!tileNumbers.has(layer)) tileNumbers.set(layer, new Map(layer.patterns.units.map((own, i) => [own, i])));
  return tileNumbers.get(layer).get(unit) ?? -1;
}

/**
 * The units of a layer that this study or report shows.
 * @param {LayerDocument} layer
 * @returns {number[]}
 */
export function unitsOf(layer) {
  return layer.shown ?? [...Array(layer.units).keys()];
}

/** The unit `by` steps further, wrapping around at the end. */
export function unitBeside(layer, unit, by) {
  const units = unitsOf(layer);
  return units[(units.indexOf(unit) + by + units.length) % units.length];
}

/** Why a unit of this number is not shown; null where it is. */
export function whyNoUnit(layer, unit) {
  if (!Number.isInteger(unit) || unit < 0 || unit >= layer.units) return `${layer.name} has the units 0 to ${layer.units - 1}.`;
  return unitsOf(layer).includes(unit) ? null : `This file contains only the units ${unitsOf(layer).join(", ")} of ${layer.name}.`;
}

/** Whether a unit is 0 at every location of a map: it shows nothing but black. */
export function silent(maps, unit) {
  return maps.lo[unit] === 0 && maps.hi[unit] === 0;
}

/** How units can be sorted under a lens, as [value, label] pairs; only what there is. */
export function orders(layer, lens) {
  return [["number", "by unit number"],
    ...(lens === "activations" ? [["activity", "by mean activation"]] : []),
    ...(layer.scan ? [["often", "by activation frequency"]] : []),
    ...(layer.scan?.selectivity ? [["selectivity", "by selectivity"]] : []),
    ...(lens === "patterns" || layer.compare ? [["score", lens === "patterns" ? "by pattern score" : "by comparison score"]] : [])];
}

/**
 * Units in one of these orders: by number, or the highest first; those without a value come last.
 * @param {LayerDocument} layer
 * @param {number[]} units
 * @param {string} order
 * @param {string} id
 * @param {string} lens
 */
export function sortUnits(layer, units, order, id, lens) {
  const ranked = new Map((layer.compare?.rank ?? []).map((entry) => [entry.unit, entry.score]));
  const values = {
    activity: (unit) => layer.activations[id]?.mean[unit],
    often: (unit) => layer.scan?.positive[unit],
    selectivity: (unit) => layer.scan?.selectivity?.index[unit],
    score: (unit) => (lens === "patterns" ? patternScore(layer, unit) : ranked.get(unit)),
  }[order];
  if (!values) return [...units].sort((a, b) => a - b);
  const value = new Map(units.map((unit) => [unit, values(unit) ?? -Infinity]));
  return [...units].sort((a, b) => value.get(b) - value.get(a) || a - b);
}

/** How far the pattern got, as a sentence. */
export function patternSentence(score, what = "unit") {
  const measure = what === "class" ? "logit" : "activation";
  if (score.ratio !== null && score.ratio !== undefined) {
    if (Math.abs(score.ratio - 1) < 0.005) return `The pattern and the best image of this study give the same ${measure}.`;
    const times = `${number(score.ratio, 3)} times`;
    return score.ratio >= 1
      ? `The ${measure} on the pattern is ${times} that on the best image of this study.`
      : `The ${measure} on the pattern is only ${times} that on the best image of this study, so the pattern says little.`;
  }
  return `No image of this study gives a positive ${measure} to compare the pattern with.`;
}

/** Flags that speak against a pattern; "unconverged" is shown with its settings only. */
export function badFlags(score) {
  return (score?.flags ?? []).filter((flag) => flag !== "unconverged");
}

/** The short value below a pattern: how often it has the activation of the best image; nothing else stands in its place. */
export function patternNote(score) {
  if (!score) return null;
  return score.ratio === null || score.ratio === undefined ? "not in images" : `× ${number(score.ratio, 2)}`;
}

/** A map in words, for screen readers. */
export function mapLabel(layer, unit, id, name) {
  const maps = layer.activations[id];
  return `unit ${unit} of ${layer.name} over ${name}: from ${number(maps.lo[unit])} to ${number(maps.hi[unit])}, `
    + `mean ${number(maps.mean[unit])}`;
}

function patternScore(layer, unit) {
  const score = layer.patterns?.score[patternIndex(layer, unit)];
  return score?.ratio ?? undefined;
}

function extent(layer, ids, choose) {
  const known = ids.filter((id) => layer.activations[id]);
  const finite = (values) => values.filter((value) => Number.isFinite(value));
  const low = known.flatMap((id) => finite(choose(layer.activations[id].lo)));
  const high = known.flatMap((id) => finite(choose(layer.activations[id].hi)));
  return [low.reduce((a, b) => Math.min(a, b), 0), high.reduce((a, b) => Math.max(a, b), 0)];
}
