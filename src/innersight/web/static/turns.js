/** Turns: small pieces of drawing are spread over frames, so that scrolling never waits for them. */

const BUDGET = 7; // milliseconds of a frame

const waiting = [];
let running = false;

/** Resolves when it is this caller's turn to draw. */
export function turn() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (!running) {
      running = true;
      requestAnimationFrame(frame);
    }
  });
}

const channel = new MessageChannel();
let until = 0;

function frame() {
  until = performance.now() + BUDGET;
  next();
}

/** One turn in each task, so that what it draws counts. */
function next() {
  if (!waiting.length) {
    running = false;
    return;
  }
  if (performance.now() >= until) {
    requestAnimationFrame(frame);
    return;
  }
  waiting.shift()();
  channel.port2.postMessage(null);
}

channel.port1.onmessage = next;

/** Give the browser a chance to draw a frame where the work since `since` took too long; returns the new `since`. */
export async function breathe(since) {
  if (performance.now() - since < BUDGET) return since;
  await new Promise((resolve) => {
    setTimeout(resolve);
  });
  return performance.now();
}
