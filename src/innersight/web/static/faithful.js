/** Which heatmap of an image holds what the score depends on: measured by removing the fifth that it calls most important. */

import { h } from "./dom.js";
import { number } from "./format.js";

const TOP = "20%";

/** Heatmaps of one question, those first whose most important part costs more than the same shape elsewhere; those that were not measured last. */
export function byRemoval(entries) {
  const gain = (entry) => (entry.verdict ? -Infinity : entry.removal ? excess(entry) : Number.MIN_SAFE_INTEGER);
  return [...entries].sort((a, b) => gain(b) - gain(a));
}

function excess({ removal: { lost, elsewhere } }) {
  return lost - elsewhere;
}

/** Whether removing the most important part costs anything, and more than the same shape elsewhere. */
function tells(entry) {
  return entry.removal.lost > 0 && excess(entry) > 0;
}

/** Why the first heatmap of a question is the first; nothing where fewer than two were measured. */
export function chosenNote(heatmaps, entries) {
  const [best, ...others] = byRemoval(entries).filter((entry) => entry.removal && !entry.verdict);
  if (!best || !others.length) return null;
  const titleOf = ({ method }) => heatmaps.methods[method]?.title ?? method;
  const against = ({ removal: { lost, elsewhere } }) => `${number(lost, 2)} against ${number(elsewhere, 2)}`;
  const listed = (some) => some.map((entry) => `${titleOf(entry)} ${against(entry)}`).join(", ");
  if (!tells(best)) {
    return h("p", { class: "chosen", role: "note" }, h("strong", {}, "No method found what the score depends on"),
      `: without the top ${TOP} of a heatmap it falls no more than without the same shape elsewhere (${listed([best, ...others])}).`);
  }
  const { score, lost, elsewhere, unit } = best.removal;
  return h("p", { class: "chosen", role: "note" }, h("strong", {}, titleOf(best)), ` comes first: without its top ${TOP} the score falls by ${number(lost, 2)}`,
    score > 0 ? ` of ${number(score, 2)} ${unit}` : ` ${unit}`, `, without the same shape elsewhere by ${number(elsewhere, 2)} (${listed(others)}).`);
}

/** What the score loses without the most important part of one heatmap. */
export function removalNote(entry) {
  if (!entry.removal || entry.verdict) return null;
  const { lost, elsewhere, unit } = entry.removal;
  const change = (value) => `${value < 0 ? "+" : "−"}${number(Math.abs(value), 2)}`;
  return h("p", { class: "removal" }, tells(entry) ? null : [h("span", { class: "badge bad" }, "no better than chance here"), " "],
    `${change(lost)} ${unit} without its top ${TOP}`, h("span", { class: "quiet" }, `, ${change(elsewhere)} without the same shape elsewhere`));
}

/** How the numbers are measured. */
export const HOW_REMOVED = `Removed are the ${TOP} of a grid of 14 × 14 cells where the heatmap is highest, and the same cells shifted around the image `
  + "(three shifts, their mean). What is removed is filled with a blurred copy of the image, and with its mean colour; the mean of both is given. Methods come in the order of the difference.";
