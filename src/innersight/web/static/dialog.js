/** Dialogs: one with any content, and one that enlarges an item of a list. Esc closes them. */

import { fill, h } from "./dom.js";

/** Open a dialog with this content and return what closes it. */
export function popup(heading, content) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", class: "popup" },
    h("header", {}, h("h2", { id: "dialog-title" }, heading), closer(() => dialog.close())),
    h("div", { class: "dialog-body" }, content));
  open(dialog);
  return () => dialog.close();
}

/** Open the dialog at `items[at]`; `render(item)` gives {title, body}. Rejections of `render` are not hidden. */
export function enlarge(items, at, render) {
  const title = h("h2", { id: "dialog-title" });
  const body = h("div", { class: "dialog-body" });
  const counter = h("span", { class: "quiet tabular" });
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
    h("header", {},
      title, counter,
      h("button", { type: "button", class: "icon", "aria-label": "Previous", onclick: () => move(-1) }, "←"),
      h("button", { type: "button", class: "icon", "aria-label": "Next", onclick: () => move(1) }, "→"),
      closer(() => dialog.close())),
    body);

  function show() {
    const shown = render(items[at]);
    fill(title, shown.title);
    fill(body, shown.body);
    counter.textContent = `${at + 1} of ${items.length}`;
  }

  function move(step) {
    at = (at + step + items.length) % items.length;
    show();
  }

  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, k: -1, j: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(step);
  });
  show();
  open(dialog);
}

function closer(close) {
  return h("button", { type: "button", class: "icon", "aria-label": "Close", onclick: close }, "×");
}

/** Show a dialog; it goes away for good when closed, and the focus returns to where it was. */
function open(dialog) {
  const back = /** @type {HTMLElement | null} */ (document.activeElement);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("a")) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (back?.isConnected) back.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}
