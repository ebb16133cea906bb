/** How a pattern arose: a slider from random pixels to the finished image, and a button that plays it. */

import { h } from "./dom.js";
import { count } from "./format.js";
import { imageTile } from "./layer.js";
import { drawImage } from "./sheet.js";

const PAUSE = 220; // milliseconds between two stages

/**
 * Pattern `i`, above the stages it went through where they were kept; the finished one is shown first.
 * @param {Drawn} drawn
 * @param {number} i
 * @param {string} label
 */
export function growing(drawn, i, label) {
  const finished = imageTile(drawn.sheet, i, label);
  const { growth } = drawn;
  if (!growth) return finished;
  const { sheet, stages } = growth;
  // The stages are those of the pattern that took longest.
  const steps = drawn.score[i].steps ?? stages[stages.length - 1];
  const own = stages.findIndex((stage) => stage >= steps);
  const last = own > 0 ? own : stages.length - 1;
  let at = last;
  let timer = 0;
  const canvas = h("canvas", { role: "img", "aria-label": label, hidden: true });
  const output = h("output", { class: "tabular quiet" });
  const slider = h("input", { type: "range", min: "0", max: String(last), value: String(last), step: "1",
    "aria-label": `How the ${label} arose: number of updates`, oninput: () => { stop(); show(Number(slider.value)); } });
  const button = h("button", { class: "icon", type: "button", onclick: () => (timer ? stop() : play()) });

  function show(next) {
    at = next;
    slider.value = String(at);
    const words = at === 0 ? "random pixels" : at === last ? `finished after ${count(steps)} updates` : `after ${count(stages[at])} updates`;
    slider.setAttribute("aria-valuetext", words);
    output.textContent = words;
    finished.hidden = at < last;
    canvas.hidden = at === last;
    if (at < last) drawImage(canvas, sheet, i * stages.length + at);
  }

  function play() {
    show(at === last ? 0 : at);
    timer = window.setInterval(() => {
      if (canvas.isConnected) show(at + 1);
      if (!canvas.isConnected || at === last) stop();
    }, PAUSE);
    state();
  }

  function stop() {
    window.clearInterval(timer);
    timer = 0;
    state();
  }

  function state() {
    button.textContent = timer ? "❚❚" : "▶";
    const words = timer ? "Pause" : "Play how it arose";
    button.title = words;
    button.setAttribute("aria-label", words);
  }

  show(last);
  state();
  return h("div", { class: "growing" }, finished, canvas, h("div", { class: "growing-bar" }, button, slider, output));
}
