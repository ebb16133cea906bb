/** Names, tags and notes: all of them in one list, and in the search. */

import { unitOf } from "../address.js";
import { allAnnotations, called } from "../annotations.js";
import { h } from "../dom.js";
import { seenTile } from "../layer.js";
import { panel } from "../panel.js";
import { section } from "../section.js";
import { urls } from "../study.js";
import { unitThumb } from "../thumb.js";

panel({
  name: "annotations",
  title: "Notes",
  order: 97,
  document: "annotations",
  story: { show: annotationsSection },
  found: (study) => allAnnotations().map((one) => ({ name: called(one.address, shortName(study, one.address)), kind: kindOf(one), href: hrefOf(one.address),
    also: [one.name, ...one.tags, one.note].filter(Boolean) })),
});

function annotationsSection({ study }) {
  const rows = allAnnotations().filter(({ address }) => known(study, address));
  if (!rows.length) return null;
  return section("annotations", "Notes", "Names and notes", "What readers of this study called units, concepts and images.",
    h("ul", { class: "notes-list" }, rows.map((one) => h("li", {},
      unitOf(one.address) ? unitThumb(study, one.address) : h("span", { class: "thumb" }, seenTile(study, one.address)),
      h("p", {}, h("a", { href: hrefOf(one.address) }, called(one.address, shortName(study, one.address))),
        one.tags.map((tag) => [" ", h("span", { class: "badge" }, tag)])),
      h("p", { class: "quiet note-text" }, one.note, one.stale ? " (written about an earlier state of it)" : null)))));
}

function known(study, address) {
  const unit = unitOf(address);
  return unit ? study.layers.some(({ name, units }) => name === unit.layer && unit.unit < units) : study.images.some(({ id }) => id === address);
}

function shortName(study, address) {
  return study.images.find(({ id }) => id === address)?.name ?? address;
}

function hrefOf(address) {
  const unit = unitOf(address);
  return unit ? urls.unit(unit.layer, unit.unit) : urls.image(address);
}

function kindOf({ address, tags, note }) {
  const kind = unitOf(address) ? (address.includes("~") ? "concept" : "unit") : "image";
  return [kind, ...tags, note.split("\n")[0].slice(0, 60)].filter(Boolean).join(", ");
}
