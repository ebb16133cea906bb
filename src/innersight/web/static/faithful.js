/** Which heatmap of an image holds what the score depends on: measured by removing the fifth that it calls most important. */

import { h } from "./dom.js";
import { number } from "./format.js";

const TOP = "20%";

/** Heatmaps of one question, those first whose most important part costs the score most; those that were not measured last. */
export function byRemoval(entries) {
  const lost = (entry) => (entry.verdict ? -Infinity : entry.removal?.lost ?? Number.MIN_SAFE_INTEGER);
  return [...entries].sort((a, b) => lost(b) - lost(a));
}

/** Whether removing the most important part costs more than removing as much at random. */
function tells(entry) {
  return entry.removal.lost > Math.max(0, entry.removal.chance);
}

/** Why the first heatmap of a question is the first; nothing where fewer than two were measured. */
export function chosenNote(heatmaps, entries) {
  const [best, ...others] = byRemoval(entries).filter((entry) => entry.removal && !entry.verdict);
  if (!best || !others.length) return null;
  const titleOf = ({ method }) => heatmaps.methods[method]?.title ?? method;
  const { score, lost, chance, unit } = best.removal;
  const rest = `${others.map((entry) => `${titleOf(entry)} ${number(entry.removal.lost, 2)}`).join(", ")}; at random ${number(chance, 2)}`;
  if (!tells(best)) {
    return h("p", { class: "chosen", role: "note" }, h("strong", {}, "No method found what the score depends on"),
      `: without the top ${TOP} of any of these heatmaps it falls no more than without ${TOP} taken at random (${titleOf(best)} ${number(lost, 2)}, ${rest}).`);
  }
  return h("p", { class: "chosen", role: "note" }, h("strong", {}, titleOf(best)), ` comes first, because removing its top ${TOP} lowers the score most: by ${number(lost, 2)}`,
    score > 0 ? ` of ${number(score, 2)} ${unit}` : ` ${unit}`, ` (${rest}).`);
}

/** What the score loses without the most important part of one heatmap. */
export function removalNote(entry) {
  if (!entry.removal || entry.verdict) return null;
  const { lost, chance, unit } = entry.removal;
  return h("p", { class: "removal" }, tells(entry) ? null : [h("span", { class: "badge bad" }, "no better than chance here"), " "],
    `${lost < 0 ? "+" : "−"}${number(Math.abs(lost), 2)} ${unit} without its top ${TOP}`,
    h("span", { class: "quiet" }, `, ${chance < 0 ? "+" : "−"}${number(Math.abs(chance), 2)} at random`));
}

/** How the numbers are measured. */
export const HOW_REMOVED = `Removed are the ${TOP} of a grid of 14 × 14 cells where the heatmap is highest, or cells drawn at random; `
  + "they are filled with a blurred copy of the image, and with its mean colour, and the mean of both is given.";
