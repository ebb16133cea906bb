/** What the server computes: ask, follow, cancel. A report has no server: nothing here is called in one. */

import { alone } from "./source.js";

/** The jobs this page follows, by id, and who wants to hear of them. */
const jobs = new Map();
const listeners = new Set();
/** Ids of the jobs whose events are listened to. A browser opens six connections to a host, and others wait for them. */
const heard = new Set();
const HEARD = 2;
const LOOK = 3000; // milliseconds between looks for jobs of other windows

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

/** Send an image; it becomes one of the study. */
export async function send(file) {
  const query = new URLSearchParams({ name: file.name || "image" });
  return follow(await answered(await fetch(`api/images?${query}`, {
    method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
  })));
}

export async function cancel(job) {
  tell(await answered(await fetch(`api/jobs/${job.id}`, { method: "DELETE" })));
}

/** Take up the jobs that another visit to this page began, and from now on those of other windows. */
export async function takeUp() {
  const past = new Set();
  for (const job of await answered(await fetch("api/jobs"))) {
    if (over(job)) past.add(job.id);
    else follow(job);
  }
  const look = async () => {
    if (document.hidden) return;
    const found = await fetch("api/jobs").then(answered).catch(() => []); // a host that went away is told where it is asked
    for (const job of found.filter(({ id }) => !past.has(id) && !jobs.has(id))) {
      if (over(job)) tell(job);
      else follow(job);
    }
  };
  setInterval(look, LOOK);
  document.addEventListener("visibilitychange", look);
}

function follow(job) {
  if (!jobs.has(job.id)) tell(job);
  listen();
  return job;
}

/** Listen to the jobs that come first: the host does one after the other. */
function listen() {
  for (const job of going().slice(0, HEARD)) {
    if (heard.has(job.id) || heard.size >= HEARD) continue;
    heard.add(job.id);
    const events = new EventSource(`api/jobs/${job.id}/events`);
    const hear = (now) => {
      if (over(now)) {
        events.close();
        heard.delete(job.id);
      }
      tell(now);
      listen();
    };
    events.addEventListener("job", (event) => hear(JSON.parse(event.data)));
    events.addEventListener("error", () => {
      // A connection that was lost is tried again by the browser; one that is refused is not.
      if (events.readyState === EventSource.CLOSED && heard.has(job.id)) {
        hear({ ...jobs.get(job.id), state: "failed", error: "The server no longer knows this job. Was it restarted?" });
      }
    });
  }
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
