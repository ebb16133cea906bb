/** Edit and watch: units and concepts of an image switched off, a region hidden, and what becomes of the prediction. */

import { joinAddresses, splitAddresses, unitOf } from "../address.js";
import { called } from "../annotations.js";
import { firstSet } from "../concepts.js";
import { choice, fill, h } from "../dom.js";
import { percent, signed } from "../format.js";
import { editImage, hostInfo } from "../jobs.js";
import { seenTile } from "../layer.js";
import { mask } from "../mask.js";
import { panel } from "../panel.js";
import { setQuery } from "../router.js";
import { isReport } from "../source.js";
import { urls } from "../study.js";
import { unitThumb } from "../thumb.js";

const CAUSES = 6; // units and concepts that are offered from the start, each
const MOMENT = 80; // milliseconds without a further change, before the network is asked
const BUSY = 1500;
const FILLS = [["blur", "Blurred"], ["mean", "Mean colour"]];

panel({
  name: "edit",
  title: "Edit and watch",
  order: 75,
  image: { title: "Edit and watch", show: editor },
});

function editor({ study, image, layers, documents, query }) {
  if (isReport) {
    return h("p", { class: "empty", role: "note" }, "Switching units and concepts off and hiding regions runs the network, so it needs the app: ",
      h("code", {}, "innersight view STUDY"), ".");
  }
  const place = h("div", { class: "edit" }, h("p", { class: "quiet" }, "…"));
  hostInfo().then((host) => fill(place, host?.compute ? shown(study, image, layers, documents, query) : h("p", { class: "empty", role: "note" }, host?.why ?? "")));
  return place;
}

function shown(study, image, layers, documents, query) {
  const off = new Set(splitAddresses(query.get("off")));
  let filling = FILLS.some(([name]) => name === query.get("fill")) ? query.get("fill") : "blur";
  const status = h("p", { class: "quiet", role: "status" }, "Switch something off, or brush over the image.");
  const result = h("div", { class: "edited" });
  const brush = mask(study.model.input, seenTile(study, image.id, "what the network sees"), () => changed());
  const list = h("ul", { class: "switches", "aria-label": "Units and concepts" });
  const known = [...new Set([...unitsBehind(layers, image.id), ...conceptsBehind(study, documents, image.id), ...off])];
  const draw = () => fill(list, known.map((address) => h("li", {}, toggle(study, image, address, off, changed))));
  draw();
  const problem = h("span", { class: "bad-text", role: "alert" });
  const input = h("input", { type: "text", placeholder: "layer:7", "aria-label": "Address of a unit or concept", spellcheck: "false", autocomplete: "off" });
  const add = h("form", { class: "edit-add", onsubmit: (event) => {
    event.preventDefault();
    const address = input.value.trim();
    const why = whyNot(study, address);
    fill(problem, why);
    if (why) return;
    if (!known.includes(address)) known.push(address);
    off.add(address);
    input.value = "";
    draw();
    changed();
  } }, input, h("button", { type: "submit", class: "button" }, "Switch off"), problem);
  const reset = h("button", { type: "button", class: "button", onclick: () => {
    off.clear();
    brush.clear();
    draw();
    changed();
  } }, "Undo all");

  let waiting = /** @type {number | undefined} */ (undefined);
  let asking = false;
  let again = false;
  function changed() {
    setQuery({ off: joinAddresses([...off]), fill: filling === "blur" ? null : filling });
    clearTimeout(waiting);
    waiting = setTimeout(ask, MOMENT);
  }

  /** One question at a time: whatever changes meanwhile is asked afterwards. */
  async function ask() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    again = false;
    const slow = setTimeout(() => fill(status, "Asking the network; the first time it has to be opened."), 400);
    try {
      const { classes, done } = await editImage({ image: image.id, off: [...off], hidden: brush.rows(), fill: filling });
      result.replaceChildren(table(study, classes));
      fill(status, done.length ? done.map((sentence) => h("span", {}, sentence, " ")) : "Nothing is changed: both columns are the prediction as it is.");
    } catch (error) {
      fill(status, error.message);
      if (error.busy && result.isConnected) waiting = setTimeout(ask, BUSY);
    } finally {
      clearTimeout(slow);
      asking = false;
      if (again) ask();
    }
  }
  if (off.size) changed();
  return [
    h("p", { class: "quiet" }, "The network itself stays as it is, and nothing of this is kept in the study."),
    h("div", { class: "edit-columns" },
      h("div", {}, h("h3", {}, "Hide a region"), brush.element,
        h("div", { class: "brush-tools" }, brush.tools, h("span", { class: "quiet" }, "filled with"), choice("Hidden cells are filled with", FILLS, filling, (next) => {
          filling = next;
          changed();
        }))),
      h("div", {}, h("h3", {}, "Prediction"), result, status, reset,
        h("h3", {}, "Units and concepts"), list, add))];
}

/** A switch: on, or off. */
function toggle(study, image, address, off, changed) {
  const word = h("span", { class: "quiet" });
  const button = h("button", { type: "button", class: "switch", role: "switch", "data-address": address, onclick: () => {
    if (!off.delete(address)) off.add(address);
    mark();
    changed();
  } }, unitThumb(study, address, image.id), h("span", { class: "clip" }, called(address)), word);
  const mark = () => {
    button.setAttribute("aria-checked", String(!off.has(address)));
    fill(word, off.has(address) ? "off" : "on");
  };
  mark();
  return button;
}

function whyNot(study, address) {
  const unit = unitOf(address);
  const layer = study.layers.find(({ name }) => name === unit?.layer);
  if (!unit || !layer) return `No layer of that name: write LAYER:NUMBER, such as ${study.default_layers.at(-1)}:7.`;
  return unit.unit < layer.units ? null : `${layer.name} has the units 0 to ${layer.units - 1}.`;
}

/** The units without which the prediction loses most. */
function unitsBehind(layers, id) {
  return layers.flatMap((layer) => (layer?.ablation?.own[id]?.change ?? []).map((value, unit) => ({ address: `${layer.name}:${unit}`, value })))
    .filter(({ value }) => value < 0).sort((a, b) => a.value - b.value).slice(0, CAUSES).map(({ address }) => address);
}

function conceptsBehind(study, documents, id) {
  const set = firstSet(study, documents.concepts);
  return (set?.shown[id]?.groups ?? []).slice(0, CAUSES).map((concept) => `${set?.address}:${concept}`);
}

/** The classes before and after, the likeliest after first. */
function table(study, classes) {
  const rows = [...classes].sort((a, b) => b.logit_after - a.logit_after);
  const text = (probability, logit) => (probability === null ? signed(logit) : percent(probability));
  const top = classes.reduce((best, one) => (one.logit_before > best.logit_before ? one : best));
  return h("table", { class: "before-after" },
    h("thead", {}, h("tr", {}, ["Class", "Before", "After"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((one, i) => h("tr", { class: i === 0 ? "best" : null, "data-class": String(one.number) },
      h("th", { scope: "row" }, h("a", { href: urls.class(one.number) }, one.label), one === top && i > 0 ? h("span", { class: "quiet" }, " predicted before") : null),
      h("td", { class: "tabular" }, text(one.before, one.logit_before), bar(one.before)),
      h("td", { class: "tabular" }, text(one.after, one.logit_after), bar(one.after))))));
}

function bar(probability) {
  return probability === null ? null : h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: "bar-fill", style: { width: `${100 * probability}%` } }));
}
