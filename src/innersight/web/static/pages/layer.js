/** #/l/LAYER?lens=NAME: all units of a layer, as one of the panels shows them. */

import { breakable, choice, fill, h, select } from "../dom.js";
import { count, plural, size } from "../format.js";
import { panelOf, partsOf } from "../panel.js";
import { notFound, register, setQuery } from "../router.js";
import { loadLayer, shownLayers, urls } from "../study.js";

register("/l/:layer", async ({ study, params, query }) => {
  const layer = await loadLayer(study, params.layer);
  if (!layer) return unknownLayer(study, params.layer);
  const panels = partsOf("lens");
  const state = {
    lens: panels.some(({ name }) => name === query.get("lens")) ? query.get("lens") : panels[0].name,
    image: study.images.find((image) => image.id === query.get("image")) ?? study.images[0],
    sort: query.get("sort") ?? "number",
    scale: query.get("scale") ?? "own",
    overlay: query.get("overlay") === "1",
  };
  const panel = h("div", { class: "panel" });
  const show = () => fill(panel, panels.find(({ name }) => name === state.lens)?.show(study, layer, state, change, query));
  function change(changes) {
    Object.assign(state, changes);
    setQuery({ lens: state.lens, image: state.image?.id ?? null, sort: state.sort, scale: state.scale,
      overlay: state.overlay ? "1" : null });
    show();
    dispatchEvent(new Event("view"));
  }
  show();
  const lenses = choice("View", panels.map(({ name }) => [name, panelOf(name)?.title]), state.lens, (lens) => change({ lens }));
  return {
    title: layer.name,
    subject: { layer },
    lens: { current: () => state.lens, change: (lens) => lenses.querySelector(`[data-value="${lens}"]`)?.click() },
    body: h("section", { class: "page" },
      layerHead(study, layer),
      h("div", { class: "toolbar" }, lenses),
      panel),
  };
});

/** The page for a layer that does not exist or was not computed. */
export function unknownLayer(study, name) {
  const entry = study.layers.find((layer) => layer.name === name);
  const known = shownLayers(study).map((layer) => layer.name).join(", ");
  return entry
    ? notFound(name, `Layers in this study: ${known}.`, "This layer was not computed")
    : notFound(name, `${study.model.name} has no layer of this name. Layers in this study: ${known}.`);
}

function layerHead(study, layer) {
  const shown = shownLayers(study).map((entry) => entry.name);
  const at = shown.indexOf(layer.name);
  const neighbour = (name, text) => (name
    ? h("a", { class: "icon", href: urls.layer(name), title: name, "aria-label": `${text}: ${name}` },
    text === "Previous layer" ? "←" : "→") : null);
  return h("header", { class: "page-head" },
    h("p", { class: "kicker" }, "Layer"),
    h("div", { class: "title-row" }, h("h1", {}, breakable(layer.name)),
      h("nav", { "aria-label": "Layers", class: "steps" }, neighbour(shown[at - 1], "Previous layer"),
        neighbour(shown[at + 1], "Next layer"),
        select("Layer", shown.map((name) => [name, name]), layer.name, (name) => {
          location.hash = urls.layer(name);
        }))),
    h("p", { class: "lead" }, `${layer.kind} with ${plural(layer.units, "unit")} (${layer.name.includes("~") ? "concepts" : "channels, filters"}) and activation maps of ${size(layer.grid)} cells.`,
      layer.prefix ? ` Not shown: ${plural(layer.prefix, "extra token")} such as the class token.` : null,
      layer.field ? ` Receptive field ${size(layer.field.size)} px of the network's input, effective receptive field (95% of the gradient energy) `
        + `${size(layer.field.effective)} px.` : null),
    layer.scan ? h("p", { class: "badges" }, [
      [layer.scan.dead, "dead (never positive)", "bad"], [layer.scan.always_active, "always active (positive at every location)", ""],
    ].map(([units, what, kind]) => h("span", { class: units.length ? `badge ${kind}` : "badge" },
      `${plural(units.length, "unit")} ${what} in ${count(layer.scan.images)} scanned images`))) : null);
}
