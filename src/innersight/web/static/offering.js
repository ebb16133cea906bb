/** Buttons that have something computed: an offer is a sentence, the requests behind it, and what they cost. */

import { fill, h } from "./dom.js";
import { seconds } from "./format.js";
import { compute, activeJobs } from "./jobs.js";

/** An offer: a button with what it takes; where this host cannot compute, what to do instead. */
export function offerPanel(offer, host) {
  if (!host.compute) return h("span", { class: "offer-row quiet" }, ` ${host.why}`);
  const button = h("button", { type: "button", class: "button offer", "data-requests": JSON.stringify(offer.requests),
    onclick: async () => {
      if (await start(offer, button, problem)) offer.requested?.();
    } }, offer.text);
  const problem = h("span", { class: "bad-text", role: "alert" });
  mark(button);
  return h("span", { class: "offer-row" }, button,
    h("span", { class: "quiet" }, [offer.note, estimate(host, offer.cost)].filter(Boolean).join(" ")), problem);
}

async function start(offer, button, problem) {
  button.disabled = true;
  fill(problem);
  try {
    for (const request of offer.requests) await compute(request);
    return true;
  } catch (error) {
    fill(problem, error.message);
    button.disabled = false;
    return false;
  }
}

/** A button whose work is under way cannot be pressed again. */
export function mark(button) {
  const wanted = new Set(JSON.parse(button.dataset.requests).map(essence));
  const busy = activeJobs().some((job) => wanted.has(essence(job.request)));
  button.disabled = busy;
  button.title = busy ? "Being computed, or waiting for what is" : "";
  button.toggleAttribute("data-busy", busy);
}

/** The key of a request; for units of a layer only the layer, because the units left to compute change. */
function essence({ units, ...request }) {
  return JSON.stringify(Object.entries(request).filter(([, value]) => value !== null).sort());
}

/** What jobs of this visit took, by the kind of request: {seconds, times}. */
const taken = new Map();

/** Remember what a job took, for the estimates to come. */
export function learn({ request, state, seconds: spent }) {
  if (state === "done") taken.set(request.kind, { seconds: spent, times: (request.units ?? request.classes ?? request.methods ?? [0]).length });
}

/**
 * How long an offer takes, in words: by the last job like it, else by what the study itself took, where the network has to be
 * opened first; empty where nothing like it was measured. A few at once take as long as one.
 */
function estimate(host, [kind, times]) {
  const last = taken.get(kind);
  const measured = host.cost[kind];
  const spent = last ? last.seconds * Math.max(1, times / last.times) : measured ? measured.seconds * times : null;
  if (spent === null) return "";
  return `${roughly(spent)}${taken.size ? "" : ", after the network is opened"}`;
}

/** A time that is not known exactly. */
export function roughly(time) {
  return time < 1 ? "less than a second" : `about ${seconds(Math.round(time))}`;
}
