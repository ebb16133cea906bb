/** The weights of the layer that sees the image itself, as colours. */

import { called } from "../annotations.js";
import { h } from "../dom.js";
import { imageTile } from "../layer.js";
import { saveAll } from "../lens.js";
import { panel } from "../panel.js";
import { savedTile } from "../save.js";
import { isReport } from "../source.js";
import { missing, urls } from "../study.js";
import { longGrid } from "../tiles.js";

panel({
  name: "weights",
  title: "Weights",
  order: 95,
  lens: { show: weightsPanel },
  unit: { column: "left", title: "Weights", heading: "h3", show: weightsOfUnit },
});

function weightsPanel(study, layer) {
  if (!layer.weights) {
    const first = study.layers.find(({ role }) => role === "conv");
    return [missing(study, "weights",
      "Weights are shown only for the first convolution, which sees the image itself: only there do they correspond to colours."),
    first && first.name !== layer.name && (first.document || !isReport) ? h("p", { class: "more" }, h("a", { href: urls.layer(first.name, { lens: "weights" }) }, `Weights of ${first.name} →`)) : null];
  }
  const make = (unit) => ({
    tile: crispTile(layer.weights.sheet, unit),
    name: called(`${layer.name}:${unit}`, String(unit)),
    label: `weights of unit ${unit} of ${layer.name}`,
    href: urls.unit(layer.name, unit),
    address: `${layer.name}:${unit}`,
  });
  const { sheet } = layer.weights;
  const all = sheet.at ?? [...Array(sheet.count).keys()];
  return [h("div", { class: "toolbar" }, saveAll(all, (i) => make(all[i]), `${layer.name} weights`)),
    h("p", { class: "quiet" }, "The weights of each unit's filter as RGB colours: grey is 0. Each tile has its own scale."),
    longGrid(all.length, (i) => make(all[i]), { label: `Weights of ${layer.name}`, small: true })];
}

function crispTile(sheet, i, label = /** @type {string | null} */ (null)) {
  const element = imageTile(sheet, i, label);
  element.classList.add("crisp");
  return element;
}

function weightsOfUnit(study, layer, unit) {
  if (!layer.weights) return null;
  return h("div", { class: "kernel" }, savedTile(crispTile(layer.weights.sheet, unit, `weights of unit ${unit}`), `${layer.name} ${unit} weights`));
}
