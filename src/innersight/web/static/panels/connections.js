/** Which units drive a unit, and which it drives: on its page. */

import { barList } from "../bars.js";
import { empty, h } from "../dom.js";
import { percent, plural, signed } from "../format.js";
import { panel } from "../panel.js";
import { missing, offerLacking, unitCounts, urls } from "../study.js";

panel({
  name: "connections",
  title: "Connections",
  order: 85,
  unit: { column: "wide", title: "Connections", order: 40, show: connected },
  table: ({ layers }) => unitCounts(layers, "connections"),
  offer: (study, where) => offerLacking(study, where, "connections", connections),
  jobs: { connections: ({ layer }) => `Connections of ${layer}` },
});

/** The units before and after that matter most to this one, where they were computed. */
function connected(study, layer, unit) {
  const { connections } = layer;
  const at = connections?.units.indexOf(unit) ?? -1;
  if (at < 0) {
    return missing(study, "connections", connections ? `Connections were computed for ${connections.units.length} units of this layer, but not for this one.`
      : "Connections were not computed.");
  }
  const sides = connections.links.map((link, i) => {
    const rows = connections.rows[at][i].map(({ unit: other, value, share }) => ({ ...end(study, link.layer, other),
      value: Math.sign(value) * share, text: `${signed(value)} · ${percent(share)}` }));
    const title = `${link.direction === "in" ? "From" : "To"} ${ENDS[link.layer] ?? link.layer}, by ${link.by}`;
    return h("div", { title: link.title }, h("h3", {}, title), rows.length ? barList(title, rows, { study }) : empty("None."));
  });
  return [h("p", { class: "quiet" }, "Each bar shows the signed strength of a connection and its share of the strengths of all units at that end."),
    h("div", { class: "columns parts" }, sides), connections.notes.map((note) => h("p", { class: "quiet" }, `${note}.`)),
    h("details", { class: "how" }, h("summary", {}, "How connections are measured"), h("p", { class: "quiet" }, connections.definition))];
}

const ENDS = { class: "the classes", input: "the input image" };

/** What is at the other end of a connection: a class, a channel of the input, or a unit. */
function end(study, name, number_) {
  if (name === "class") return { name: study.model.labels[number_], href: urls.class(number_) };
  if (name === "input") return { name: `channel ${number_}`, href: null };
  return { address: `${name}:${number_}` };
}

function connections(layer, units) {
  const text = units.length === 1 ? "Compute the connections of this unit" : `Compute the connections of ${plural(units.length, "unit")} of ${layer}`;
  return { text, requests: [{ kind: "connections", layer, units }], cost: ["connections", units.length] };
}
