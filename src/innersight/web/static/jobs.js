/** What the server computes: ask, follow, cancel. A report has no server: nothing here is called in one. */

import { alone } from "./source.js";

/** The jobs this page follows, by id, and who wants to hear of them. */
const jobs = new Map();
const listeners = new Set();

/** What this host can compute; null in a report. */
export async function askHost() {
  if (alone) return null;
  return answered(await fetch("api/host"));
}

/** Hear of every change: `listener(job, jobs)`. */
export function onJob(listener) {
  listeners.add(listener);
}

/** Jobs that wait or run. */
export function going() {
  return [...jobs.values()].filter((job) => !over(job));
}

export function over(job) {
  return ["done", "failed", "cancelled"].includes(job.state);
}

/** Ask for something; `ask` is as /api/openapi.json describes it. Throws an Error with the server's sentence. */
export async function compute(ask) {
  return follow(await answered(await fetch("api/jobs", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(ask),
  })));
}

/** Send a picture; it becomes one of the study. */
export async function send(file) {
  const query = new URLSearchParams({ name: file.name || "picture" });
  return follow(await answered(await fetch(`api/pictures?${query}`, {
    method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
  })));
}

export async function cancel(job) {
  tell(await answered(await fetch(`api/jobs/${job.id}`, { method: "DELETE" })));
}

/** Take up the jobs that another visit to this page began. */
export async function takeUp() {
  for (const job of await answered(await fetch("api/jobs"))) if (!over(job)) follow(job);
}

function follow(job) {
  if (jobs.has(job.id)) return job;
  tell(job);
  const events = new EventSource(`api/jobs/${job.id}/events`);
  events.addEventListener("job", (event) => {
    const now = JSON.parse(event.data);
    if (over(now)) events.close();
    tell(now);
  });
  return job;
}

function tell(job) {
  const before = jobs.get(job.id);
  if (before && over(before)) return;
  jobs.set(job.id, job);
  for (const listener of listeners) listener(job, before);
}

async function answered(response) {
  const found = await response.json();
  if (!response.ok) throw new Error(found.detail);
  return found;
}
