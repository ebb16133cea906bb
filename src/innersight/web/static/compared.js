/** The ranking of a layer's units over some of the images that were compared. */

import { number, percent } from "./format.js";

/**
 * The units ranked over the images named, all of those compared or fewer. Strength, sparsity and agreement are those that were measured;
 * the score is made of these images' alone. Of a comparison without the agreement of each pair, the order over all images.
 * @param {LayerDocument} layer
 * @param {string[]} ids
 * @returns {Ranked[]}
 */
export function ranked({ compare }, ids) {
  const every = compare?.rank ?? [];
  if (!compare || ids.length === compare.images.length) return every;
  const at = ids.map((id) => compare.images.indexOf(id));
  const rows = every.map((entry) => (entry.pairs ? scored(entry, at, compare.images.length) : { ...entry, ...measured(entry, at) }));
  return every.some(({ pairs }) => pairs) ? rows.sort((a, b) => b.score - a.score) : rows;
}

function measured(entry, at) {
  return { strength: at.map((i) => entry.strength[i]), sparsity: at.map((i) => entry.sparsity[i]) };
}

function scored(entry, at, images) {
  const { strength, sparsity } = measured(entry, at);
  const cosines = at.flatMap((a, i) => at.slice(i + 1).map((b) => entry.pairs[place(Math.min(a, b), Math.max(a, b), images)]));
  const agreement = Math.min(1, Math.max(0, cosines.reduce((sum, one) => sum + one, 0) / cosines.length));
  const [weakest, spread] = [Math.min(...strength), Math.min(...sparsity)];
  return { ...entry, strength, sparsity, agreement, score: entry.padding ? 0 : Math.cbrt(Math.max(0, weakest * spread * agreement)),
    reason: entry.padding ? entry.reason : `peaks above ${percent(weakest)} of the layer's units in every image, sparsity ${number(spread, 2)} or more, agreement ${number(agreement, 2)}` };
}

/** Where the pair (a, b), a < b, is among all pairs of so many images. */
function place(a, b, images) {
  return a * images - (a * (a + 1)) / 2 + b - a - 1;
}
