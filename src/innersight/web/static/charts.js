/** Small SVG charts: lines over steps, histograms over time, probability bars. */

import { bothEnds, h, svg } from "./dom.js";
import { certainty, number } from "./format.js";
import { saveButton } from "./save.js";

const WIDTH = 360;
const HEIGHT = 200;
const EDGE = { left: 46, right: 10, top: 10, bottom: 24 };

/**
 * Lines over steps. `series` is [{name, step [..], value [..]}]; values spread over more than two powers of ten are
 * drawn on a logarithmic axis, which the title then states. At rest the chart shows the step of the `clock`.
 * @param {string} title
 * @param {{name: string, step: number[], value: number[]}[]} series
 * @param {{axis?: string, clock?: Clock | null}} [options]
 */
export function lineChart(title, series, { axis = "step", clock = null } = {}) {
  const lines = series.map((line) => ({ ...line, points: line.step.map((step, i) => [step, line.value[i]])
    .filter(([step, value]) => Number.isFinite(step) && Number.isFinite(value)) })).filter((line) => line.points.length);
  if (!lines.length) return null;
  const values = lines.flatMap((line) => line.points.map(([, value]) => value));
  const steps = lines.flatMap((line) => line.points.map(([step]) => step));
  const logarithmic = values.every((value) => value > 0) && largest(values) / smallest(values) > 100;
  const x = linear(smallest(steps), largest(steps), EDGE.left, WIDTH - EDGE.right);
  const y = scaleY(values, logarithmic);
  const cursor = svg("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom, visibility: "hidden" });
  const dots = lines.map((_, i) => svg("circle", { class: `dot s${i % 5}`, r: 3, visibility: "hidden" }));
  const readout = h("span", { class: "chart-readout tabular" });
  const summary = lines.map((line) =>
    `${line.name || title} from ${number(line.points[0][1])} to ${number(line.points[line.points.length - 1][1])}`).join("; ");
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${summary}` },
    y.ticks.map((tick) => [
      svg("line", { class: "grid", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: EDGE.left - 6, y: y(tick) + 3.5, "text-anchor": "end" }, number(tick, 4))]),
    ends(steps, x, axis),
    lines.map((line, i) => svg("path", { class: `line s${i % 5}`, d: path(line.points, x, y) })),
    cursor, dots);

  let now = /** @type {number | null} */ (null);

  function rest() {
    if (now !== null) {
      show(now);
      return;
    }
    readout.replaceChildren(...(lines.length > 1
      ? lines.map((line, i) => h("span", { class: `key s${i % 5}` }, line.name))
      : [h("span", {}, `${number(lines[0].points[0][1])} → ${number(lines[0].points[lines[0].points.length - 1][1])}`)]));
    for (const mark of [cursor, ...dots]) mark.setAttribute("visibility", "hidden");
  }

  function show(step) {
    const near = lines.map((line) => nearest(line.points, step));
    cursor.setAttribute("visibility", "visible");
    cursor.setAttribute("x1", x(near[0][0]));
    cursor.setAttribute("x2", x(near[0][0]));
    near.forEach(([at, value], i) => {
      dots[i].setAttribute("visibility", "visible");
      dots[i].setAttribute("cx", x(at));
      dots[i].setAttribute("cy", y(value));
    });
    readout.replaceChildren(now === null ? h("span", {}, `${axis} ${number(near[0][0], 6)}`) : "", ...near.map(([, value], i) =>
      h("span", { class: lines.length > 1 ? `key s${i % 5}` : null, title: lines[i].name }, lines.length > 1 ? `${lines[i].name} ` : "",
        number(value))));
  }

  plot.addEventListener("pointermove", (event) => {
    const bounds = plot.getBoundingClientRect();
    show(x.invert(((event.clientX - bounds.left) / bounds.width) * WIDTH));
  });
  plot.addEventListener("pointerleave", rest);
  rest();
  clock?.follow((step) => {
    now = step;
    rest();
  });
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("strong", {}, title, logarithmic ? h("span", { class: "quiet" }, " log scale") : null), readout,
      saveButton(() => plot, title)),
      plot);
}

/**
 * A histogram per step, each as high as the others, the last in front: `edges_low`, `edges_high` per step and `counts`
 * [step][bin]. The one of the clock's step is marked.
 * @param {string} title
 * @param {number[]} step
 * @param {{edges_low: number[], edges_high: number[], counts: number[][]}} histogram
 * @param {Clock | null} clock
 */
export function ridges(title, step, { edges_low: low, edges_high: high, counts }, clock = null) {
  const chosen = thin(step.map((_, i) => i).filter((i) => counts[i] && high[i] > low[i]), 22);
  if (!chosen.length) return null;
  const x = linear(smallest(chosen.map((i) => low[i])), largest(chosen.map((i) => high[i])), 8,
    WIDTH - EDGE.right - 34);
  const rise = 46;
  const gap = (HEIGHT - EDGE.bottom - EDGE.top - rise) / Math.max(1, chosen.length - 1);
  const shapes = chosen.map((i, row) => {
    const base = EDGE.top + rise + row * gap;
    const width = (high[i] - low[i]) / counts[i].length;
    const top = Math.max(1, largest(counts[i]));
    const points = counts[i].map((amount, bin) =>
      `${round(x(low[i] + (bin + 0.5) * width))},${round(base - (amount / top) * rise)}`);
    const share = chosen.length > 1 ? row / (chosen.length - 1) : 1;
    return svg("path", { class: "ridge", style: { "--age": share.toFixed(2) },
      d: `M${round(x(low[i]))},${round(base)} L${points.join(" L")} L${round(x(high[i]))},${round(base)}` });
  });
  clock?.follow((now) => {
    const row = chosen.reduce((best, i, at) => (Math.abs(step[i] - now) < Math.abs(step[chosen[best]] - now) ? at : best), 0);
    shapes.forEach((shape, at) => shape.classList.toggle("now", at === row));
  });
  const edges = [x.from, ...(x.from < 0 && x.to > 0 ? [0] : []), x.to];
  const label = `Histograms of the ${title} over training; at the last step from ${number(low[chosen.at(-1)])} to ${number(high[chosen.at(-1)])}`;
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, shapes,
      edges.map((edge, i) => svg("text", { class: "tick", x: x(edge), y: HEIGHT - 8,
        "text-anchor": i === 0 ? "start" : i === edges.length - 1 ? "end" : "middle" }, number(edge, 2))),
      [chosen[0], chosen.at(-1)].map((i, end) => svg("text", { class: "tick", x: WIDTH - 2, "text-anchor": "end",
        y: EDGE.top + rise + (end ? chosen.length - 1 : 0) * gap }, number(step[i], 4))));
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("strong", {}, title), h("span", { class: "chart-readout quiet" }, "last step in front"),
      saveButton(() => plot, title)), plot);
}

/** The classes of a prediction, best first, as bars; `href(class)` links them. */
export function probabilityBars(prediction, truth, href) {
  return h("ol", { class: "bars", "aria-label": "Prediction" }, prediction.map((entry, i) =>
    h("li", { class: [i === 0 ? "best" : "", entry.label === truth ? "true" : ""].join(" ").trim() || null },
      h("a", { href: href(entry.class), class: "bar-label", title: entry.label }, bothEnds(entry.label)),
      h("span", { class: "bar-value tabular" }, certainty(entry)),
      h("span", { class: "bar-track", "aria-hidden": "true" },
        h("span", { class: "bar-fill", style: { width: `${Math.max(0.4, 100 * entry.probability)}%` } })))));
}

/** @returns {((value: number) => number) & {ticks: number[]}} */
function scaleY(values, logarithmic) {
  let [low, high] = [smallest(values), largest(values)];
  if (logarithmic) {
    const inner = linear(Math.log10(low), Math.log10(high), HEIGHT - EDGE.bottom, EDGE.top);
    const powers = [];
    for (let power = Math.ceil(Math.log10(low)); power <= Math.log10(high); power++) powers.push(10 ** power);
    return Object.assign((/** @type {number} */ value) => inner(Math.log10(value)), { ticks: powers.length > 1 ? powers : [low, high] });
  }
  if (low > 0 && low < 0.6 * high) low = 0;
  if (low === 0 && high === 0) high = 1;
  if (low === high) [low, high] = [low - Math.abs(low || 1) / 2, high + Math.abs(high || 1) / 2];
  const ticks = ticksBetween(low, high);
  low = Math.min(low, ticks[0]);
  high = Math.max(high, ticks.at(-1));
  return Object.assign(linear(low, high, HEIGHT - EDGE.bottom, EDGE.top), { ticks });
}

/** Round numbers that enclose a range. */
function ticksBetween(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5].map((factor) => factor * power).find((size) => size >= rough * 0.999) ?? 10 * power;
  const ticks = [];
  for (let i = Math.floor(low / step + 1e-9); i <= Math.ceil(high / step - 1e-9); i++) ticks.push(i * step);
  return ticks;
}

function linear(from, to, start, end) {
  const scale = (value) => (to === from ? (start + end) / 2 : start + ((value - from) / (to - from)) * (end - start));
  scale.invert = (position) => from + ((position - start) / (end - start)) * (to - from);
  scale.from = from;
  scale.to = to;
  return scale;
}

function ends(steps, x, axis) {
  const [first, last] = [smallest(steps), largest(steps)];
  const text = (step, anchor, words) =>
    svg("text", { class: "tick", x: x(step), y: HEIGHT - 6, "text-anchor": anchor }, words);
  return first === last ? [text(first, "middle", `${axis} ${number(first, 6)}`)]
    : [text(first, "start", number(first, 6)), text(last, "end", `${axis} ${number(last, 6)}`)];
}

function path(points, x, y) {
  return points.map(([step, value], i) => `${i ? "L" : "M"}${round(x(step))},${round(y(value))}`).join("");
}

function nearest(points, step) {
  return points.reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));
}

function thin(list, limit) {
  if (list.length <= limit) return list;
  return Array.from({ length: limit }, (_, i) => list[Math.round((i * (list.length - 1)) / (limit - 1))]);
}

function smallest(values) {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

function largest(values) {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}

function round(value) {
  return Math.round(10 * value) / 10;
}
