/** Jobs of the server: request, follow, cancel. A report has no server and calls none of this. */

import { isReport } from "./source.js";

/** The jobs this page follows, by id, and the listeners. */
const jobs = new Map();
const listeners = new Set();
/** Ids of the jobs whose events are listened to. A browser opens six connections to a host, and others wait for them. */
const streamed = new Set();
const MAX_STREAMS = 2;
export const POLL_INTERVAL = 3000; // milliseconds between requests for the jobs of other windows

/** What this host can compute; null in a report. */
export async function hostInfo() {
  if (isReport) return null;
  return parsed(await fetch("api/host"));
}

/** How far the study is: `documents` changes whenever its pages do, `busy` says whether it is being computed. */
export async function studyProgress() {
  return parsed(await fetch("api/progress"));
}

/** Call `listener` on every change: `listener(job, jobs)`. */
export function onJob(listener) {
  listeners.add(listener);
}

/** Jobs that wait or run. */
export function activeJobs() {
  return [...jobs.values()].filter((job) => !finished(job));
}

export function finished(job) {
  return ["done", "failed", "cancelled"].includes(job.state);
}

/** Request something; `request` is as /api/openapi.json describes it. Throws an Error with the server's sentence. */
export async function compute(request) {
  return follow(await parsed(await fetch("api/jobs", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request),
  })));
}

/** Keep name, tags and note of what an address names. */
export async function saveAnnotation(row) {
  return parsed(await fetch("api/annotations", { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(row) }));
}

/** The prediction of an edited image; an Error that is `busy` may be tried again. */
export async function editImage(request) {
  return parsed(await fetch("api/edit", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request) }));
}

/** Send an image; it becomes one of the study. */
export async function send(file) {
  const query = new URLSearchParams({ name: file.name || "image" });
  return follow(await parsed(await fetch(`api/images?${query}`, {
    method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
  })));
}

/** Add an image of the study's scan, by its number there. */
export async function sendScanned(number) {
  return follow(await parsed(await fetch(`api/scanned/${number}`, { method: "POST" })));
}

export async function cancel(job) {
  notify(await parsed(await fetch(`api/jobs/${job.id}`, { method: "DELETE" })));
}

/** Take up the jobs that another visit to this page began, and from now on those of other windows. */
export async function resumeJobs() {
  const past = new Set();
  for (const job of await parsed(await fetch("api/jobs"))) {
    if (finished(job)) past.add(job.id);
    else follow(job);
  }
  const poll = async () => {
    if (document.hidden) return;
    const found = await fetch("api/jobs").then(parsed).catch(() => []); // a host that is gone is reported by the next request
    for (const job of found.filter(({ id }) => !past.has(id) && !jobs.has(id))) {
      if (finished(job)) notify(job);
      else follow(job);
    }
  };
  setInterval(poll, POLL_INTERVAL);
  document.addEventListener("visibilitychange", poll);
}

function follow(job) {
  if (!jobs.has(job.id)) notify(job);
  listen();
  return job;
}

/** Listen to the jobs that come first: the host does one after the other. */
function listen() {
  for (const job of activeJobs().slice(0, MAX_STREAMS)) {
    if (streamed.has(job.id) || streamed.size >= MAX_STREAMS) continue;
    streamed.add(job.id);
    const events = new EventSource(`api/jobs/${job.id}/events`);
    const receive = (now) => {
      if (finished(now)) {
        events.close();
        streamed.delete(job.id);
      }
      notify(now);
      listen();
    };
    events.addEventListener("job", (event) => receive(JSON.parse(event.data)));
    events.addEventListener("error", () => {
      // A connection that was lost is tried again by the browser; one that is refused is not.
      if (events.readyState === EventSource.CLOSED && streamed.has(job.id)) {
        receive({ ...jobs.get(job.id), state: "failed", error: "The server no longer knows this job. Was it restarted?" });
      }
    });
  }
}

function notify(job) {
  const before = jobs.get(job.id);
  if (before && finished(before)) return;
  jobs.set(job.id, job);
  for (const listener of listeners) listener(job, before);
}

async function parsed(response) {
  const found = await response.json();
  if (!response.ok) throw Object.assign(new Error(found.detail), { busy: response.status === 503 });
  return found;
}
