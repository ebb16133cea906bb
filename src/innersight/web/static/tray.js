/** The pin tray: what is pinned, at the foot of every page, and the way to the matrix. */

import { unitOf } from "./address.js";
import { fill, h } from "./dom.js";
import { mapTile, patternIndex, pictureTile, seenTile, unitScale, whyNoUnit } from "./layer.js";
import { onPins, picturePins, pins, setPins, togglePin, unitPins } from "./pins.js";
import { loadLayer, urls } from "./study.js";

/** Put the tray into the page and keep it up to date. */
export function startTray(study) {
  const list = h("ul", { class: "tray-list", "aria-label": "Pinned" });
  const link = h("a", { class: "button primary", href: "#/x" }, "Side by side");
  const tray = h("aside", { id: "tray", class: "tray", "aria-label": "Pin tray", hidden: true }, list,
    h("div", { class: "tray-actions", id: "tray-actions" }, link,
      h("button", { class: "button", type: "button", onclick: () => setPins([]) }, "Clear")));
  document.body.append(tray);
  const show = async () => {
    tray.hidden = pins().length === 0;
    document.documentElement.classList.toggle("with-tray", !tray.hidden);
    link.setAttribute("href", urls.matrix(unitPins(), picturePins()));
    const chips = await Promise.all(pins().map((address) => chip(study, address)));
    if (chips.length === pins().length) fill(list, chips);
  };
  onPins(show);
  return show();
}

async function chip(study, address) {
  const unit = unitOf(address);
  const name = unit ? address : study.pictures.find((picture) => picture.id === address)?.name ?? address;
  const picture = unit ? null : await pictureThumb(study, address);
  return h("li", { class: "chip" },
    h("a", { href: unit ? urls.unit(unit.layer, unit.unit) : urls.picture(address), title: name },
      h("span", { class: "chip-picture" }, unit ? await unitThumb(study, unit) : picture),
      h("span", { class: "clip" }, name)),
    h("button", { class: "chip-off", type: "button", "aria-label": `Unpin ${name}`,
      onclick: () => togglePin(address) }, "×"));
}

/** What a unit looks like at a glance: its pattern, else its map over the first picture. */
async function unitThumb(study, { layer: name, unit }) {
  const layer = await loadLayer(study, name);
  if (!layer || whyNoUnit(layer, unit)) return null;
  const at = patternIndex(layer, unit);
  if (layer.patterns && at >= 0) return pictureTile(layer.patterns.sheet, at);
  const first = study.pictures.find((picture) => layer.maps[picture.id]);
  return first ? mapTile(study, layer, unit, first.id, { scale: unitScale(layer, unit, [first.id]) }) : null;
}

async function pictureThumb(study, id) {
  return study.pictures.some((picture) => picture.id === id) ? seenTile(study, id) : null;
}
