/** Adds an image that is dropped on the page, pasted, or chosen with the button. */

import { h, svg } from "./dom.js";
import { send } from "./jobs.js";
import { urls } from "./study.js";

const ACCEPTED = "image/*,.npy,.tif,.tiff";

/** Accept images from the reader where the host can compute. */
export function dropImages(host, study) {
  if (!host.compute) return;
  const note = document.body.appendChild(h("div", { class: "drop-note", hidden: true, "aria-hidden": "true" },
    h("p", {}, "Drop the image to add it to the study")));
  const problem = document.body.appendChild(h("div", { class: "drop-problem", role: "alert", hidden: true }));
  /** @type {string | null} */
  let last = null;

  // Once its prediction is there; maps and heatmaps follow while the reader looks.
  addEventListener("study", () => {
    if (!study.images.some((image) => image.id === last)) return;
    location.hash = urls.image(last);
    last = null;
  });

  async function take(files) {
    problem.hidden = true;
    for (const file of files) {
      try {
        if (file.size > host.limits.bytes) {
          throw new Error(`${file.name} is larger than ${Math.floor(host.limits.bytes / 2 ** 20)} MiB. Choose a smaller image.`);
        }
        const { request } = await send(file);
        last = `d${request.file.slice(0, 8)}`;
        if (study.images.some((image) => image.id === last)) location.hash = urls.image(last);
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
        setTimeout(() => { problem.hidden = true; }, 8000);
      }
    }
  }

  let depth = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (carries(event)) note.hidden = ++depth === 0;
  });
  addEventListener("dragleave", (event) => {
    if (carries(event)) note.hidden = --depth <= 0;
  });
  addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    note.hidden = true;
    take(event.dataTransfer?.files ?? []);
  });
  addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));

  const input = h("input", { type: "file", accept: ACCEPTED, multiple: true, hidden: true, "aria-label": "Images",
    onchange: () => take([...input.files]).then(() => { input.value = ""; }) });
  const button = h("button", { type: "button", class: "icon add", "aria-label": "Add an image",
    title: "Add an image: choose a file, paste it, or drop it anywhere on the page", onclick: () => input.click() }, plus());
  document.getElementById("theme")?.before(button, input);
}

function plus() {
  return svg("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "1.8",
    "stroke-linecap": "round", "aria-hidden": "true" }, svg("path", { d: "M12 5v14M5 12h14" }));
}
