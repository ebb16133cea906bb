/** One step of the training for a whole page: a slider that charts follow. */

import { h } from "./dom.js";
import { count } from "./format.js";

/** Return {element, follow}: a slider over `steps` (or epochs, as `axis` says), and `follow(listener)`, which calls the listener with the step at once and on every change. */
export function stepClock(steps, axis = "step", title = `Training ${axis}`, first = steps.length - 1) {
  const followers = [];
  const last = steps.length - 1;
  let at = first;
  const output = h("output", { class: "tabular clock-step" });
  const slider = h("input", { type: "range", min: "0", max: String(last), value: String(first), step: "1",
    "aria-label": title, oninput: () => set(Number(slider.value)) });

  function set(next) {
    at = next;
    slider.setAttribute("aria-valuetext", `${axis} ${steps[at]}`);
    output.textContent = `${axis} ${count(steps[at])} of ${count(steps[last])}`;
    for (const follower of followers) follower(steps[at]);
  }

  set(first);
  return {
    element: h("label", { class: "clock" }, h("span", {}, title), slider, output),
    follow(follower) {
      followers.push(follower);
      follower(steps[at]);
    },
  };
}

/** The index in `steps` (rising) of the last one that is not later than `step`. */
export function indexAt(steps, step) {
  let at = 0;
  while (at + 1 < steps.length && steps[at + 1] <= step) at++;
  return at;
}

/** All steps at which anything was recorded; curves with an axis of their own have others. */
export function stepsOf(train) {
  const lists = [...Object.values(train.scalars ?? {}).filter(({ axis }) => !axis || axis === train.axis), ...Object.values(train.layers ?? {})].map((entry) => entry.step);
  return [...new Set(lists.flat())].sort((a, b) => a - b);
}
