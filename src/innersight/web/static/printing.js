/** Printing: everything on the page is drawn first, also what is far from the window. */

import { h } from "./dom.js";
import { drawEverything, letGo } from "./tiles.js";

/** The button, the keys and what becomes of a print that the browser's own menu starts. */
export function startPrinting(button) {
  button.addEventListener("click", printPage);
  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "p" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    printPage();
  });
  // The menu of the browser does not wait: what is not drawn by then is missing, and the sheet says so.
  addEventListener("beforeprint", () => document.documentElement.toggleAttribute("data-undrawn",
    document.querySelector("main ins-tile:not([data-state=drawn])") !== null));
  addEventListener("afterprint", letGo);
}

async function printPage() {
  const state = h("span", { class: "tabular" });
  const note = h("p", { class: "print-note", role: "status" }, "Drawing everything to print it: ", state);
  document.body.append(note);
  try {
    await drawEverything((done, all) => {
      state.textContent = `${done} of ${all} images`;
    });
  } finally {
    note.remove();
  }
  print();
}
