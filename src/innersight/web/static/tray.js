/** The pin tray: what is pinned, at the foot of every page, and the way to the matrix. */

import { unitOf } from "./address.js";
import { called } from "./annotations.js";
import { bothEnds, fill, h } from "./dom.js";
import { seenTile } from "./layer.js";
import { onPins, imagePins, pins, setPins, togglePin, unitPins } from "./pins.js";
import { urls } from "./study.js";
import { unitThumb } from "./thumb.js";

/** Put the tray into the page and keep it up to date. */
export function startTray(study) {
  const list = h("ul", { class: "tray-list", "aria-label": "Pinned units and images" });
  const link = h("a", { class: "button primary", href: "#/x" }, "Side by side");
  const tray = h("aside", { id: "tray", class: "tray", "aria-label": "Pins", hidden: true }, list,
    h("div", { class: "tray-actions", id: "tray-actions" }, link,
      h("button", { class: "button", type: "button", onclick: () => setPins([]) }, "Clear pins")));
  document.body.append(tray);
  const show = () => {
    tray.hidden = pins().length === 0;
    document.documentElement.classList.toggle("with-tray", !tray.hidden);
    link.setAttribute("href", urls.matrix(unitPins(), imagePins()));
    fill(list, pins().map((address) => chip(study, address)));
  };
  onPins(show);
  return show();
}

function chip(study, address) {
  const unit = unitOf(address);
  const name = called(address, unit ? address : study.images.find((image) => image.id === address)?.name ?? address);
  const image = unit ? null : imageThumb(study, address);
  return h("li", { class: "chip" },
    h("a", { href: unit ? urls.unit(unit.layer, unit.unit) : urls.image(address), title: name },
      h("span", { class: "chip-image" }, unit ? unitThumb(study, address) : image),
      h("span", { class: "clip" }, bothEnds(name))),
    h("button", { class: "chip-off", type: "button", "aria-label": `Unpin ${name}`,
      onclick: () => togglePin(address) }, "×"));
}

function imageThumb(study, id) {
  return study.images.some((image) => image.id === id) ? seenTile(study, id) : null;
}
