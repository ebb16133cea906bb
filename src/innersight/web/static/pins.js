/** What the reader pinned: addresses of units and images, kept in the query `pins` of every page. */

import { joinAddresses, splitAddresses, unitOf } from "./address.js";
import { h, svg } from "./dom.js";

const MAX_PINS = 64;

let pinned = [];
const listeners = [];

/** The addresses pinned, in the order of pinning. */
export function pins() {
  return [...pinned];
}

/** The units pinned, and the images. */
export function unitPins() {
  return pinned.filter((address) => unitOf(address));
}

export function imagePins() {
  return pinned.filter((address) => !unitOf(address));
}

/** The text of the query `pins`, and back. */
export function pinText() {
  return joinAddresses(pinned);
}

export function readPins(text) {
  if (text !== pinText()) setPins(splitAddresses(text));
}

export function setPins(addresses) {
  pinned = [...new Set(addresses)].slice(-MAX_PINS);
  for (const button of document.querySelectorAll("button.pin[data-address]")) mark(button);
  for (const listener of listeners) listener();
}

export function togglePin(address) {
  setPins(pinned.includes(address) ? pinned.filter((one) => one !== address) : [...pinned, address]);
}

/** Call `listener` whenever the pins change. */
export function onPins(listener) {
  listeners.push(listener);
}

/** A button that pins what the address names; `what` describes it in words. */
export function pinButton(address, what, { text = false } = {}) {
  const button = h("button", { class: text ? "pin button" : "pin", type: "button", "data-address": address,
    "aria-label": `Pin ${what}`, title: `Pin ${what} (p)`,
    onclick: () => togglePin(address) },
  svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: "M5 1.8h6l-.8 1v3.7l2.3 2.6v1H8.7l-.3 4.4h-.8l-.3-4.4H3.5v-1l2.3-2.6V2.8z" })),
  text ? "Pin" : null);
  mark(button);
  return button;
}

function mark(button) {
  button.setAttribute("aria-pressed", String(pinned.includes(button.dataset.address)));
}
