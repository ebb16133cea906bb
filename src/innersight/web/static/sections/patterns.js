/** The pattern each unit has learned, layer by layer, always beside the unit's maps. */

import { h } from "../dom.js";
import { dialogPatterns } from "../enlarged.js";
import { plural } from "../format.js";
import { objections, patternIndex, patternNote, imageTile } from "../layer.js";
import { section } from "../section.js";
import { missing, storyLayers, urls } from "../study.js";
import { tileGrid } from "../tiles.js";
import { moreLink } from "./model.js";

const UNITS = 24;

export function patternsSection(study, layers) {
  const shown = storyLayers(study).map((entry) => layers.get(entry.name)).filter((layer) => layer.patterns?.units.length);
  const body = shown.length ? shown.map((layer) => h("div", { class: "group" },
    h("h3", {}, h("a", { href: urls.layer(layer.name, { lens: "patterns" }) }, layer.name),
      h("span", { class: "quiet" }, layer.patterns.units.length < layer.units
        ? ` ${layer.patterns.units.length} of ${plural(layer.units, "unit")}` : ` ${plural(layer.units, "unit")}`)),
    tileGrid(patternItems(study, layer, layer.patterns.units.slice(0, UNITS)), { label: `Patterns of ${layer.name}` }),
    moreLink(layer, UNITS, layer.patterns.units.length, "patterns")))
    : missing(study, "patterns", "No patterns were computed.");
  return section("patterns", "Patterns", "What every filter has learned",
    "Each tile is a synthetic image made to excite one unit as much as possible. Below it: "
    + "how much more it excites the unit than the best image of this study. Click a tile to see it beside the unit's maps; a pattern alone misleads.", body,
      study.how.patterns);
}

/** Patterns of the units named, as items of a grid of tiles that open the dialog. */
function patternItems(study, layer, units) {
  return units.map((_, at) => patternItem(study, layer, units, at));
}

/** The pattern of `units[at]`; its dialog goes through all `units`. */
export function patternItem(study, layer, units, at) {
  const { sheet, score } = layer.patterns;
  const unit = units[at];
  const i = patternIndex(layer, unit);
  const flags = objections(score[i]);
  return {
    tile: imageTile(sheet, i),
    name: String(unit),
    note: flags[0] ?? patternNote(score[i]),
    warn: flags.length > 0,
    label: `pattern of unit ${unit} of ${layer.name}${flags.length ? `: ${flags.join(", ")}` : ""}`,
    address: `${layer.name}:${unit}`,
    onopen: () => dialogPatterns(study, layer, units, at),
  };
}
