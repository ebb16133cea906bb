/** The page of the app is alive: what is missing can be computed from where it is missed, and images dropped on it. */

import { byId, fill, h, select } from "./dom.js";
import { dropImages } from "./drop.js";
import { askHost, cancel, compute, going, onJob, over, takeUp } from "./jobs.js";
import { estimate, heatmaps, offerFor, offersBelow } from "./offers.js";
import { imagePins, pins, setPins, unitPins } from "./pins.js";
import { parseHash, setQuery, shownPage } from "./router.js";
import { offer as hand } from "./save.js";
import { forget, getDocument } from "./source.js";

const STATES = { waiting: "Waiting", running: "Computing", done: "Done", failed: "Failed", cancelled: "Cancelled" };
const LINGER = 4000;
const PATIENCE = 700;

/** Begin; in a report nothing happens. `main` is where pages appear. */
export async function startLive(study, main) {
  const host = await askHost();
  if (!host) return;
  const tray = document.body.appendChild(h("section", { class: "jobs", "aria-label": "Computing" }));
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
    if (over(job)) {
      rows.delete(job.id);
      if (job.state !== "failed") setTimeout(() => row.element.remove(), LINGER);
    }
    for (const button of main.querySelectorAll(".offer")) mark(button);
  });

  /** Read the study anew and show the page again, unless the reader is in the middle of something. */
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
    Object.assign(host, await askHost());
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
  await takeUp();
  await decorate();

  async function decorate() {
    const address = parseHash(location.hash);
    if (!address) return;
    const { parts, query } = address;
    for (const panel of main.querySelectorAll("[data-missing]:not([data-offered])")) {
      panel.dataset.offered = "";
      const offer = await offerFor(study, panel.dataset.missing, parts);
      if (offer) panel.append(offerPanel(offer, host));
    }
    const page = main.querySelector(".page");
    if (!page || page.dataset.offered !== undefined) return;
    const turn = page.dataset.offered = String(++turns);
    const below = await offersBelow(study, parts, query);
    if (page.dataset.offered !== turn) return;
    for (const offer of below) page.append(offerPanel(offer, host));
    if (parts[1] === "x") page.append(exportRow());
    if (parts[1] === "i" && page.querySelector(".heatmaps") && host.compute) page.append(questionForm(study, parts[2], host));
    if (parts[1] === "i" && parts[2].startsWith("d") && page.querySelector(".image-page")) page.append(forgetRow(parts[2], host));
  }
}

/** An offer: a button with what it takes; where this host cannot compute, what to do instead. */
function offerPanel(offer, host) {
  if (!host.compute) return h("span", { class: "offer-row quiet" }, ` ${host.why}`);
  const button = h("button", { type: "button", class: "button offer", "data-asks": JSON.stringify(offer.asks),
    onclick: async () => {
      if (await start(offer, button, problem)) offer.asked?.();
    } }, offer.text);
  const problem = h("span", { class: "bad-text", role: "alert" });
  mark(button);
  return h("span", { class: "offer-row" }, button,
    h("span", { class: "quiet" }, [offer.note, estimate(host, offer.cost)].filter(Boolean).join(" ")), problem);
}

/** A button that hands the reader a report of the units and images that `chosen()` names; `problem` says why not. */
function exportButton(text, chosen, problem) {
  const button = h("button", { type: "button", class: "button", onclick: async () => {
    const { units = [], images = [] } = chosen();
    fill(problem, units.length ? null : "There is no unit in this view: pin one first.");
    if (!units.length) return;
    button.disabled = true;
    const wanted = new URLSearchParams([...units.map((unit) => ["units", unit]), ...images.map((id) => ["imgs", id])]);
    const response = await fetch(`api/report?${wanted}`, { method: "POST" });
    button.disabled = false;
    if (!response.ok) fill(problem, (await response.json()).detail);
    else hand(await response.blob(), "innersight-view.html");
  } }, text);
  return button;
}

/** A report of what is shown side by side, as a file to send to somebody. */
function exportRow() {
  const problem = h("span", { class: "bad-text", role: "alert" });
  const button = exportButton("Export this view", () => shownPage().place ?? {}, problem);
  return h("div", { class: "offer-row" }, button,
    h("span", { class: "quiet" }, "One HTML file of these units and images alone; it opens without a network."), problem);
}

/** An image that was dropped onto the page leaves the study again. */
function forgetRow(image, host) {
  return h("section", { class: "question", "aria-label": "Take this image out" }, offerPanel({
    text: "Take this image out of the study", note: "It was added later; what was computed for it alone goes too.",
    asks: [{ kind: "forget", image }], cost: ["forget", 1], asked: () => {
      setPins(pins().filter((address) => address !== image));
      location.hash = "#/";
    } }, host));
}

/** Why this class, or this one and not that: any question about an image. */
function questionForm(study, image, host) {
  const place = h("div", { class: "question-offer" });
  const asked = { target: "", versus: "", method: "gradcam" };
  const labels = study.model.labels.map((label, number) => [String(number), label]);
  /** @type {(text: string) => number | null} */
  const number = (text) => (text === "" ? null : Number(text));
  // The answer comes where the others stand: the reader is taken there.
  const show = () => {
    const predicted = study.images.find((entry) => entry.id === image)?.prediction[0]?.class;
    setQuery({ target: `${asked.target || predicted}${asked.versus && `-${asked.versus}`}` });
    document.querySelector(".why")?.scrollIntoView();
    dispatchEvent(new HashChangeEvent("hashchange"));
  };
  const offer = () => fill(place, offerPanel({ ...heatmaps(study, [image], {
    target: number(asked.target), versus: number(asked.versus), methods: [asked.method] }), asked: show }, host));
  const choose = (key) => (value) => {
    asked[key] = value;
    offer();
  };
  offer();
  return h("section", { class: "question", "aria-label": "Ask another question" },
    h("h2", {}, "Ask another question"),
    h("div", { class: "toolbar" },
      select("Class", [["", "the predicted one"], ...labels], "", choose("target")),
      select("against", [["", "nothing"], ...labels], "", choose("versus")),
      select("Method", Object.entries(study.methods ?? {}).map(([name, { title }]) => [name, title]), "gradcam", choose("method"))),
    place);
}

async function start(offer, button, problem) {
  button.disabled = true;
  fill(problem);
  try {
    for (const ask of offer.asks) await compute(ask);
    return true;
  } catch (error) {
    fill(problem, error.message);
    button.disabled = false;
    return false;
  }
}

/** A button whose work is under way cannot be pressed again. */
function mark(button) {
  const wanted = new Set(JSON.parse(button.dataset.asks).map(essence));
  const busy = going().some((job) => wanted.has(essence(job.ask)));
  button.disabled = busy;
  button.toggleAttribute("data-busy", busy);
}

/** What tells one ask from another; of some units of a layer only the layer, since what is left of it is changing. */
function essence({ units, ...ask }) {
  return JSON.stringify(Object.entries(ask).filter(([, value]) => value !== null).sort());
}

function jobRow(study, first) {
  const name = h("span", { class: "job-name" }, title(study, first.ask));
  const state = h("span", { class: "quiet job-state", role: "status" });
  const bar = h("progress", { max: "1", value: "0", "aria-label": title(study, first.ask) });
  const stop = h("button", { type: "button", class: "button", onclick: () => cancel(first) }, "Cancel");
  const close = h("button", { type: "button", class: "button", hidden: true, onclick: () => element.remove() }, "Close");
  const element = h("div", { class: "job" }, name, h("span", { class: "job-actions" }, stop, close), bar, state);
  return {
    element,
    update(job) {
      element.dataset.state = job.state;
      bar.value = job.share;
      bar.hidden = over(job);
      stop.hidden = over(job);
      close.hidden = job.state !== "failed";
      fill(state, job.error ?? [STATES[job.state], job.state === "running" && job.what ? `: ${atWork(job.what)}` : ""].join(""));
    },
  };
}

/** What is at work, in words: items are named like "patterns/LAYER/asked/3,46" and "added/IMAGE/activations/LAYER". */
function atWork(what) {
  const [, units] = /\/asked\/([\d,]+)$/.exec(what) ?? [];
  if (units) return `${units.includes(",") ? "units" : "unit"} ${units.replaceAll(",", ", ")}`;
  const [, kind, rest] = /^(?:added\/[^/]+\/)?([a-z]+)\/(.+)$/.exec(what) ?? [];
  return kind === "activations" || kind === "ablation" ? `${kind} of ${rest}` : kind === "heatmaps" ? rest.split("/")[1] : what.split("/")[0];
}

function title(study, ask) {
  if (ask.kind === "image") return `Image ${ask.name}`;
  if (ask.kind === "patterns") return `Patterns of ${ask.layer}`;
  if (ask.kind === "connections") return `Connections of ${ask.layer}`;
  if (ask.kind === "negatives") return `What switches units of ${ask.layer} off`;
  if (ask.kind === "ablation") return `Switching units of ${ask.layer} off`;
  if (ask.kind === "forget") return `Taking ${nameOf(study, ask.image)} out`;
  if (ask.kind === "activations") return `Activations of ${ask.layer}`;
  if (ask.kind === "heatmaps") {
    return `Heatmaps of ${nameOf(study, ask.image)}`;
  }
  return "Patterns of classes";
}

function nameOf(study, id) {
  return study.images.find((image) => image.id === id)?.name ?? id;
}
