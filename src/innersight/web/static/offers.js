/** What could be computed for the page that is shown: each offer is a sentence and the asks behind it. */

import { plural, seconds } from "./format.js";
import { getDocument } from "./source.js";
import { classNumber, loadLayer } from "./study.js";

const AT_ONCE = 16;
const METHODS = ["gradcam", "saliency"];

/** The offer for a panel that lacks `what` on the page with these address parts; null where nothing can be asked. */
export async function offerFor(study, what, parts) {
  const [, kind, name, , unit] = parts;
  if (kind === "l" && (what === "activations" || what === "compare")) return maps(study, [name]);
  if (kind === "l" && what === "patterns") return patterns(study, name, unit === undefined ? null : [Number(unit)]);
  if (kind === "l" && what === "connections" && unit !== undefined) return connections(name, [Number(unit)]);
  if (kind === "l" && what === "negatives" && unit !== undefined) return negatives(name, [Number(unit)]);
  if (kind === "l" && what === "ablation") return ablation(study, [name]);
  if (kind === "i" && what === "ablation") return ablation(study, await switched(study));
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
 * Heatmaps of images for a class, or one against another.
 * @param {{target?: number | null, versus?: number | null, methods?: string[]}} question
 */
export function heatmaps(study, images, question) {
  const { target = null, versus = null, methods = METHODS } = question;
  return {
    text: images.length === 1 ? "Compute heatmaps" : `Compute heatmaps of ${plural(images.length, "image")}`,
    asks: images.map((image) => ({ kind: "heatmaps", image, methods, target, versus })),
    cost: ["heatmaps", methods.length * images.length],
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
    asks: names.map((layer) => ({ kind: "activations", layer })),
    cost: ["activations", names.length * Math.max(1, study.images.length)],
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

function connections(layer, units) {
  const text = units.length === 1 ? "Compute what this unit is connected to" : `Compute what ${plural(units.length, "unit")} of ${layer} are connected to`;
  return { text, asks: [{ kind: "connections", layer, units }], cost: ["connections", units.length] };
}

function negatives(layer, units) {
  const text = units.length === 1 ? "Draw what switches it off" : `Draw what switches ${plural(units.length, "unit")} of ${layer} off`;
  return { text, asks: [{ kind: "negatives", layer, units }], cost: ["negatives", units.length] };
}

/** The layers whose units are switched off already; else the last of the story. */
async function switched(study) {
  const layers = await Promise.all(study.story.map((name) => loadLayer(study, name)));
  const found = study.story.filter((_, i) => layers[i]?.ablation);
  return found.length ? found : study.layers.filter(({ name, grid }) => study.story.includes(name) && grid[0] * grid[1] > 1)
    .slice(-2).map(({ name }) => name);
}

/** Only layers with places are switched off unit by unit. */
function ablation(study, names) {
  const gridded = study.layers.filter(({ name, grid }) => names.includes(name) && grid[0] * grid[1] > 1);
  if (!gridded.length) return null;
  return {
    text: gridded.length === 1 ? `Switch the units of ${gridded[0].name} off, one by one` : `Switch the units of ${gridded.length} layers off, one by one`,
    asks: gridded.map(({ name }) => ({ kind: "ablation", layer: name })),
    cost: ["ablation", gridded.length],
  };
}

function classes(numbers) {
  return {
    text: numbers.length === 1 ? "Draw the pattern of this class" : `Draw ${numbers.length} classes`,
    asks: [{ kind: "classes", classes: numbers }],
    cost: ["classes", numbers.length],
  };
}

async function story(study, what) {
  if (what === "activations") {
    const left = study.layers.filter(({ document }) => !document).map(({ name }) => name);
    const first = study.story.filter((name) => left.includes(name));
    return left.length ? maps(study, first.length ? first : left.slice(0, AT_ONCE)) : null;
  }
  if (what === "heatmaps") return heatmaps(study, study.images.map((image) => image.id), {});
  if (what === "patterns") return firstOf(study, async (name) => named(await patterns(study, name, null), name));
  if (what === "negatives" || what === "connections") {
    const ask = { negatives, connections }[what];
    return firstOf(study, async (name) => {
      const layer = await loadLayer(study, name);
      const known = new Set((what === "negatives" ? layer?.patterns?.negatives : layer?.connections)?.units ?? []);
      const left = (layer?.patterns?.units ?? []).filter((unit) => !known.has(unit)).slice(0, AT_ONCE);
      return left.length ? ask(name, left) : null;
    });
  }
  if (what === "ablation") {
    return firstOf(study, async (name) => ((await loadLayer(study, name))?.ablation ? null : ablation(study, [name])));
  }
  if (what !== "class") return null;
  const predicted = study.images.map((image) => image.prediction[0]?.class).filter((number) => number !== undefined);
  const known = (await getDocument("classes"))?.patterns?.classes ?? [];
  const numbers = [...new Set([...predicted, ...study.model.labels.keys()])].filter((number) => !known.includes(number)).slice(0, AT_ONCE);
  return numbers.length ? classes(numbers) : null;
}

/** The offer for the deepest layer of the story that still lacks something. */
async function firstOf(study, offer) {
  for (const name of [...study.story].reverse()) {
    const found = await offer(name);
    if (found) return found;
  }
  return null;
}

function named(offer, layer) {
  return offer && { ...offer, text: `${offer.text} of ${layer}` };
}
