/** The page of the app: missing parts can be computed from where they are missing, and images can be added. */

import { loadAnnotations } from "./annotations.js";
import { byId, fill, h } from "./dom.js";
import { dropImages } from "./drop.js";
import { seconds } from "./format.js";
import { activeJobs, hostInfo, cancel, onJob, finished, POLL_INTERVAL, resumeJobs, studyProgress } from "./jobs.js";
import { learn, mark, offerPanel, roughly } from "./offering.js";
import { allPanels, panelOf, partsOf } from "./panel.js";
import { imagePins, unitPins } from "./pins.js";
import { parseHash, shownPage } from "./router.js";
import { download } from "./save.js";
import { forget, getDocument } from "./source.js";
import { urls } from "./study.js";

const STATES = { waiting: "Waiting", running: "Computing", done: "Done", failed: "Failed", cancelled: "Cancelled" };
const LINGER = 15_000; // milliseconds that a link to what was computed stays
const MOMENT = 4000;
const PATIENCE = 700;

/** Begin; in a report nothing happens. `main` is where pages appear. */
export async function startLive(study, main) {
  const host = await hostInfo();
  if (!host) return;
  const tray = document.body.appendChild(h("section", { class: "jobs", "aria-label": "Running computations" }));
  const rows = new Map();
  let stale = false;
  let turns = 0;
  let { documents } = await studyProgress();
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
      learn(job);
      if (job.state !== "failed") setTimeout(() => row.element.remove(), job.state === "done" ? LINGER : MOMENT);
    }
    for (const button of main.querySelectorAll(".offer")) mark(button);
  });

  /** Read the study and show the page again, unless the reader is typing or choosing. */
  async function renew() {
    timer = null;
    const held = document.querySelector("dialog[open]") || document.activeElement?.matches("input[type=text], input[type=search], select, textarea");
    if (held) {
      timer = setTimeout(renew, PATIENCE);
      return;
    }
    stale = false;
    ({ documents } = await studyProgress());
    forget();
    Object.assign(study, await getDocument("study"));
    await loadAnnotations();
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
  const growing = h("p", { class: "growing", role: "status", hidden: true }, "This study is still being computed. Its pages grow by themselves.");
  tray.append(growing);
  setInterval(async () => {
    if (document.hidden) return;
    // A server that is gone is reported by the next request.
    const now = await studyProgress().catch(() => null);
    if (!now) return;
    growing.hidden = !now.busy || activeJobs().length > 0;
    if (now.documents === documents || activeJobs().length) return;
    stale = true;
    timer ??= setTimeout(renew, 0);
  }, POLL_INTERVAL);

  async function decorate() {
    const address = parseHash(location.hash);
    if (!address) return;
    const { query } = address;
    const [, kind, name, , unit] = address.parts;
    const shown = { page: kind, name, unit };
    for (const panel of main.querySelectorAll("[data-missing]:not([data-offered])")) {
      panel.dataset.offered = "";
      const offer = await panelOf(panel.dataset.missing)?.offer?.(study, { ...shown, asked: panel.dataset.asked });
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
  const state = h("span", { class: "quiet job-state", role: "status" });
  const bar = h("progress", { max: "1", value: "0", "aria-label": title(study, first.request) });
  const stop = h("button", { type: "button", class: "button", onclick: async () => {
    stop.disabled = true;
    fill(state, "Cancelling …");
    await cancel(first);
  } }, "Cancel");
  const close = h("button", { type: "button", class: "button", hidden: true, onclick: () => element.remove() }, "Close");
  const link = h("span", {});
  const element = h("div", { class: "job" }, h("span", { class: "job-name" }, title(study, first.request)),
    h("span", { class: "job-actions" }, link, stop, close), bar, state);
  let job = first;
  let since = performance.now();
  let opened = 0; // seconds until the network was open: they say nothing about what is left
  const write = () => {
    if (!stop.disabled || finished(job)) fill(state, job.error ?? stateText(job, job.seconds + (performance.now() - since) / 1000, opened));
  };
  const ticking = setInterval(() => (element.isConnected && !finished(job) ? job.state === "running" && write() : clearInterval(ticking)), 1000);
  return {
    element,
    update(now) {
      [job, since] = [now, performance.now()];
      if (!(job.share > 0)) opened = job.seconds;
      element.dataset.state = job.state;
      // What is left may turn out to be more than was foreseen: the bar waits.
      bar.value = Math.max(bar.value, job.share);
      bar.hidden = finished(job);
      stop.hidden = finished(job);
      close.hidden = !finished(job);
      const href = job.state === "done" ? place(study, job.request) : null;
      fill(link, href ? h("a", { class: "button", href, onclick: () => element.remove() }, "Show") : null);
      write();
    },
  };
}

/** What a job is at, for how long, and how long it will take once enough of it is done to tell. */
function stateText({ state, what, share }, spent, opened) {
  if (state !== "running") return STATES[state];
  const left = share > 0.05 && spent - opened > 2 ? `, ${roughly((spent - opened) * (1 - share) / share)} left` : "";
  return [`${STATES[state]}${what ? `: ${what}` : ""}`, `${seconds(Math.round(spent))} so far${left}`].join("; ");
}

function title(study, request) {
  const words = allPanels().map((own) => own.jobs?.[request.kind]).find(Boolean);
  return words ? words(request, study) : request.kind;
}

/** Where the result of a job is shown: the page of the image, of the one unit or class, or of the layer. */
function place(study, { kind, image, layer, units, classes, name }) {
  const added = kind === "image" ? study.images.find((own) => own.name === name)?.id : null;
  if (image && kind !== "forget") return urls.image(image);
  if (added) return urls.image(added);
  if (layer && units?.length === 1) return urls.unit(layer, units[0]);
  if (layer) return urls.layer(layer, { lens: partsOf("lens").some((own) => own.name === kind) ? kind : null });
  if (classes) return classes.length === 1 ? urls.class(classes[0]) : urls.story(kind);
  return null;
}
