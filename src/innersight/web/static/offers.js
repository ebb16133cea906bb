/** What could be computed for the page that is shown: each offer is a sentence and the asks behind it. */

import { plural, seconds } from "./format.js";
import { getDocument } from "./source.js";
import { classNumber, loadLayer } from "./study.js";

const AT_ONCE = 16;
const METHODS = ["gradcam", "saliency"];

/** The offer for a panel that lacks `what` on the page with these address parts; null where nothing can be asked. */
export async function offerFor(study, what, parts) {
  const [, kind, name, , unit] = parts;
  if (kind === "l" && (what === "maps" || what === "compare")) return maps(study, [name]);
  if (kind === "l" && what === "patterns") return patterns(study, name, unit === undefined ? null : [Number(unit)]);
  if (kind === "l" && what === "connections" && unit !== undefined) return connections(name, Number(unit));
  if (kind === "i" && what === "heatmaps") return heatmaps(study, [name], {});
  const number = kind === "c" && what === "class" ? classNumber(study, name) : null;
  if (number !== null) return classes([number]);
  if (kind === "") return story(study, what);
  return null;
}

/** Offers below a page that is whole: more of the same. */
export async function offersBelow(study, parts, query) {
  const [, kind, name, sub] = parts;
  if (kind !== "l") return [];
  const layer = study.layers.find((entry) => entry.name === name);
  if (!layer) return [];
  if (!layer.document) return [maps(study, [name])];
  if (sub !== undefined) return [];
  const found = await loadLayer(study, name);
  const drawn = query.get("lens") === "patterns" && found?.patterns?.units.length;
  return drawn && drawn < layer.units ? [await patterns(study, name, null)] : [];
}

/**
 * Heatmaps of pictures for a class, or one against another.
 * @param {{target?: number | null, versus?: number | null, methods?: string[]}} question
 */
export function heatmaps(study, pictures, question) {
  const { target = null, versus = null, methods = METHODS } = question;
  return {
    text: pictures.length === 1 ? "Compute heatmaps" : `Compute heatmaps of ${plural(pictures.length, "picture")}`,
    asks: pictures.map((picture) => ({ kind: "heatmaps", picture, methods, target, versus })),
    cost: ["heatmaps", methods.length * pictures.length],
  };
}

/** How long an offer takes, in words, by what the study itself took; empty where nothing like it was measured. */
export function estimate(host, [kind, times]) {
  const measured = host.cost[kind];
  return measured ? `about ${seconds(Math.max(1, Math.round(measured.seconds * times)))}` : "";
}

function maps(study, names) {
  return {
    text: names.length === 1 ? "Compute the maps of this layer" : `Compute the maps of ${plural(names.length, "layer")}`,
    asks: names.map((layer) => ({ kind: "maps", layer })),
    cost: ["maps", names.length * Math.max(1, study.pictures.length)],
  };
}

async function patterns(study, name, wanted) {
  const layer = study.layers.find((entry) => entry.name === name);
  if (!layer) return null;
  const found = await loadLayer(study, name);
  const drawn = new Set(found?.patterns?.units ?? []);
  const ranked = found?.compare?.rank.map((row) => row.unit) ?? [];
  const order = [...new Set([...ranked, ...Array(layer.units).keys()])].filter((unit) => !drawn.has(unit));
  const units = wanted ?? order.slice(0, AT_ONCE);
  if (!units.length) return null;
  const first = drawn.size ? "more " : "";
  return {
    text: wanted ? "Draw the pattern of this unit" : `Draw ${units.length} ${first}patterns`,
    note: wanted || !drawn.size ? null : `${drawn.size} of ${plural(layer.units, "unit")} drawn.`,
    asks: [{ kind: "patterns", layer: name, units }],
    cost: ["patterns", units.length],
  };
}

function connections(layer, unit) {
  return { text: "Compute what this unit is connected to", asks: [{ kind: "connections", layer, units: [unit] }], cost: ["connections", 1] };
}

function classes(numbers) {
  return {
    text: numbers.length === 1 ? "Draw the pattern of this class" : `Draw ${numbers.length} classes`,
    asks: [{ kind: "classes", classes: numbers }],
    cost: ["classes", numbers.length],
  };
}

async function story(study, what) {
  if (what === "maps") return maps(study, study.story);
  if (what === "heatmaps") return heatmaps(study, study.pictures.map((picture) => picture.id), {});
  if (what === "patterns" && study.story.length) return patterns(study, study.story.at(-1), null);
  if (what !== "class") return null;
  const predicted = study.pictures.map((picture) => picture.prediction[0]?.class).filter((number) => number !== undefined);
  const known = (await getDocument("classes"))?.patterns.classes ?? [];
  const numbers = [...new Set(predicted)].filter((number) => !known.includes(number)).slice(0, AT_ONCE);
  return numbers.length ? classes(numbers) : null;
}
