/** The page of the app: missing parts can be computed from where they are missing, and images can be added. */

import { byId, fill, h } from "./dom.js";
import { dropImages } from "./drop.js";
import { hostInfo, cancel, onJob, finished, resumeJobs } from "./jobs.js";
import { mark, offerPanel } from "./offering.js";
import { allPanels, panelOf, partsOf } from "./panel.js";
import { imagePins, unitPins } from "./pins.js";
import { parseHash, shownPage } from "./router.js";
import { download } from "./save.js";
import { forget, getDocument } from "./source.js";

const STATES = { waiting: "Waiting", running: "Computing", done: "Done", failed: "Failed", cancelled: "Cancelled" };
const LINGER = 4000;
const PATIENCE = 700;

/** Begin; in a report nothing happens. `main` is where pages appear. */
export async function startLive(study, main) {
  const host = await hostInfo();
  if (!host) return;
  const tray = document.body.appendChild(h("section", { class: "jobs", "aria-label": "Running computations" }));
  const rows = new Map();
  let stale = false;
  let turns = 0;
  /** @type {number | null} */
  let timer = null;

  onJob((job, before) => {
    if (!rows.has(job.id)) tray.append(rows.set(job.id, jobRow(study, job)).get(job.id).element);
    const row = rows.get(job.id);
    row.update(job);
    if (job.documents.length !== (before?.documents.length ?? 0) || job.state === "done") stale = true;
    if (stale) timer ??= setTimeout(renew, PATIENCE);
    if (finished(job)) {
      rows.delete(job.id);
      if (job.state !== "failed") setTimeout(() => row.element.remove(), LINGER);
    }
    for (const button of main.querySelectorAll(".offer")) mark(button);
  });

  /** Read the study and show the page again, unless the reader is typing or choosing. */
  async function renew() {
    timer = null;
    const held = document.querySelector("dialog[open]") || document.activeElement?.matches("input[type=text], input[type=search], select");
    if (held) {
      timer = setTimeout(renew, PATIENCE);
      return;
    }
    stale = false;
    forget();
    Object.assign(study, await getDocument("study"));
    Object.assign(host, await hostInfo());
    dispatchEvent(new Event("study"));
    dispatchEvent(new HashChangeEvent("hashchange"));
  }

  // Another view of the same page: what is offered below it may be another thing.
  addEventListener("view", () => {
    const page = main.querySelector(".page");
    for (const row of page?.querySelectorAll(":scope > .offer-row") ?? []) row.remove();
    delete page?.dataset.offered;
    decorate();
  });
  const observer = new MutationObserver(() => decorate());
  observer.observe(main, { childList: true });
  dropImages(host, study);
  const problem = h("span", { class: "bad-text", role: "alert" });
  byId("tray-actions").prepend(problem, exportButton("Export", () => ({ units: unitPins(), images: imagePins() }), problem));
  await resumeJobs();
  await decorate();

  async function decorate() {
    const address = parseHash(location.hash);
    if (!address) return;
    const { query } = address;
    const [, kind, name, , unit] = address.parts;
    const shown = { page: kind, name, unit };
    for (const panel of main.querySelectorAll("[data-missing]:not([data-offered])")) {
      panel.dataset.offered = "";
      const offer = await panelOf(panel.dataset.missing)?.offer?.(study, shown);
      if (offer) panel.append(offerPanel(offer, host));
    }
    const page = main.querySelector(".page");
    if (!page || page.dataset.offered !== undefined) return;
    const turn = page.dataset.offered = String(++turns);
    const more = await Promise.all(allPanels().map((own) => own.more?.(study, shown, query)));
    if (page.dataset.offered !== turn) return;
    for (const offer of more) if (offer) page.append(offerPanel(offer, host));
    if (kind === "x") page.append(exportRow());
    page.append(...partsOf("below").map(({ show }) => show(study, shown, host, page)).filter(Boolean));
  }
}

/** A button that downloads a report of the units and images that `chosen()` names; `problem` shows why it cannot. */
function exportButton(text, chosen, problem) {
  const button = h("button", { type: "button", class: "button", onclick: async () => {
    const { units = [], images = [] } = chosen();
    fill(problem, units.length ? null : "This view contains no unit. Pin a unit first.");
    if (!units.length) return;
    button.disabled = true;
    const wanted = new URLSearchParams([...units.map((unit) => ["units", unit]), ...images.map((id) => ["imgs", id])]);
    const response = await fetch(`api/report?${wanted}`, { method: "POST" });
    button.disabled = false;
    if (!response.ok) fill(problem, (await response.json()).detail);
    else download(await response.blob(), "innersight-view.html");
  } }, text);
  return button;
}

/** A report of what is shown side by side, as a file to send to somebody. */
function exportRow() {
  const problem = h("span", { class: "bad-text", role: "alert" });
  const button = exportButton("Export this view", () => shownPage().subject ?? {}, problem);
  return h("div", { class: "offer-row" }, button,
    h("span", { class: "quiet" }, "Saves one HTML file with these units and images only. It works offline."), problem);
}

function jobRow(study, first) {
  const name = h("span", { class: "job-name" }, title(study, first.request));
  const state = h("span", { class: "quiet job-state", role: "status" });
  const bar = h("progress", { max: "1", value: "0", "aria-label": title(study, first.request) });
  const stop = h("button", { type: "button", class: "button", onclick: () => cancel(first) }, "Cancel");
  const close = h("button", { type: "button", class: "button", hidden: true, onclick: () => element.remove() }, "Close");
  const element = h("div", { class: "job" }, name, h("span", { class: "job-actions" }, stop, close), bar, state);
  return {
    element,
    update(job) {
      element.dataset.state = job.state;
      bar.value = job.share;
      bar.hidden = finished(job);
      stop.hidden = finished(job);
      close.hidden = job.state !== "failed";
      fill(state, job.error ?? [STATES[job.state], job.state === "running" && job.what ? `: ${job.what}` : ""].join(""));
    },
  };
}

function title(study, request) {
  const words = allPanels().map((own) => own.jobs?.[request.kind]).find(Boolean);
  return words ? words(request, study) : request.kind;
}
