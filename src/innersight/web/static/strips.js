/** A quantity of all layers over all steps: a row of cells for each layer, dark to light. */

import { indexAt } from "./clock.js";
import { MAGMA } from "./colour.js";
import { h, svg } from "./dom.js";
import { number, shortened } from "./format.js";
import { saveButton } from "./save.js";

const ROW = 13;
const CELLS = 72;
const LEFT = 108;
const PLOT = 220;
const RIGHT = 44;
const NAME = 17; // characters
const COLOURS = MAGMA.trim().split(/\s+/);

/** `rows` is [{name, step [..], value [..]}]; the values at the clock's step stand at the end of each row. */
export function layerStrips(title, rows, clock) {
  const known = rows.filter((row) => row.value?.some(Number.isFinite));
  if (!known.length) return null;
  const values = known.flatMap((row) => row.value.filter(Number.isFinite));
  const positive = values.filter((value) => value > 0);
  const [low, high] = [positive.reduce((a, b) => Math.min(a, b), Infinity), positive.reduce((a, b) => Math.max(a, b), 0)];
  const logarithmic = high / low > 10;
  const range = positive.length ? `${number(low, 2)} to ${number(high, 2)}` : "0 throughout";
  const share = (value) => {
    if (!(value > 0) || !high) return 0;
    return logarithmic ? Math.log(value / low) / Math.log(high / low) : value / high;
  };
  const last = known.reduce((most, row) => Math.max(most, row.step.at(-1)), 0) || 1;
  const marker = svg("line", { class: "now", y1: 0, y2: known.length * ROW });
  const ends = known.map((_, i) => svg("text", { class: "tick", x: LEFT + PLOT + 5, y: (i + 0.75) * ROW }));
  const plot = svg("svg", { viewBox: `0 0 ${LEFT + PLOT + RIGHT} ${known.length * ROW}`, role: "img",
    "aria-label": `${title} of ${known.length} layers over training: ${range}` },
  known.map((row, i) => [
    svg("text", { class: "tick", x: LEFT - 6, y: (i + 0.75) * ROW, "text-anchor": "end" }, shortened(row.name, NAME)),
    cells(row, last).map(([x, width, value]) => svg("rect", { x: LEFT + x, y: i * ROW + 1, width, height: ROW - 2,
      style: { fill: Number.isFinite(value) ? colour(share(value)) : "none" } }))]),
  marker, ends);
  clock?.follow((step) => {
    const x = LEFT + (Math.min(step, last) / last) * PLOT;
    marker.setAttribute("x1", x);
    marker.setAttribute("x2", x);
    known.forEach((row, i) => { ends[i].textContent = number(row.value[indexAt(row.step, step)], 2); });
  });
  return h("figure", { class: "chart strips" },
    h("figcaption", {}, h("strong", {}, title), h("span", { class: "chart-readout" },
      `${range}${logarithmic ? ", log scale" : ""}`, saveButton(() => plot, title))), plot);
}

/** [x, width, value] of at most CELLS cells. */
function cells({ step, value }, last) {
  const every = Math.max(1, Math.ceil(step.length / CELLS));
  const chosen = step.map((_, i) => i).filter((i) => i % every === 0);
  return chosen.map((i, at) => {
    const x = (step[i] / last) * PLOT;
    const next = at + 1 < chosen.length ? (step[chosen[at + 1]] / last) * PLOT : PLOT;
    return [x, Math.max(0.6, next - x + 0.3), value[i]];
  });
}

function colour(share) {
  return `#${COLOURS[Math.round(Math.max(0, Math.min(1, share)) * (COLOURS.length - 1))]}`;
}
