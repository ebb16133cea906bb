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
  button.toggleAttribute("data-busy", busy);
}

/** The key of a request; for units of a layer only the layer, because the units left to compute change. */
function essence({ units, ...request }) {
  return JSON.stringify(Object.entries(request).filter(([, value]) => value !== null).sort());
}

/** How long an offer takes, in words, by what the study itself took; empty where nothing like it was measured. */
function estimate(host, [kind, times]) {
  const measured = host.cost[kind];
  return measured ? `about ${seconds(Math.max(1, Math.round(measured.seconds * times)))}` : "";
}
