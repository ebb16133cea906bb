/** Atlases: what a layer tells apart, on a map. The page is pages/atlas.js. */

import { PLAIN, hasPatterns, still } from "../atlas.js";
import { empty, h } from "../dom.js";
import { count, number, plural } from "../format.js";
import { panel } from "../panel.js";
import { section } from "../section.js";
import { reason, urls } from "../study.js";
import { tile } from "../tiles.js";

panel({
  name: "atlas",
  title: "Atlas",
  order: 45,
  story: { show: atlasSection },
  image: { title: "Where this image lies in the atlas", order: 60, show: traced },
  table({ study }) {
    const names = study.atlases ?? [];
    return { computed: names.length ? plural(names.length, "layer") : null,
      missing: names.length ? null : reason(study, "atlas", "no atlas was made"), done: 0, left: 0 };
  },
});

/** The atlas of the deepest layer that has one, before a reader opens it. */
function atlasSection({ study, layers }) {
  const found = [...layers.values()].filter((layer) => layer?.atlas).reverse();
  const others = (study.atlases ?? []).filter((name) => !found.some((layer) => layer.name === name));
  if (!found.length && !others.length) return section("atlas", "Atlas", "What the layers tell apart", null, empty(reason(study, "atlas", "No atlas was made.")));
  const links = [...found.map(({ name }) => name), ...others];
  return section("atlas", "Atlas", "What the layers tell apart", found.length ? about(found[0]) : null, [
    found.length ? h("a", { class: "atlas-teaser", href: urls.atlas(found[0].name), "aria-label": `Open the atlas of ${found[0].name}` },
      stillTile(found[0].atlas, null, true), hasPatterns(found[0].atlas) ? stillTile(found[0].atlas, null, false) : null) : null,
    h("p", { class: "more" }, links.map((name, i) => [i ? " · " : null, h("a", { href: urls.atlas(name) }, `Open the atlas of ${name} →`)])),
  ], study.how.atlas);
}

/** What an atlas is made of, in a sentence. */
export function about(layer) {
  const { atlas } = layer;
  return `${count(atlas.vectors)} activation vectors of ${layer.name}, from ${plural(atlas.images, "image")}, laid out by ${atlas.layout} so that alike `
    + `vectors are neighbours (trustworthiness ${number(atlas.trustworthiness, 2)}).`;
}

/** A map that does not move. */
function stillTile(atlas, trace, crops) {
  return tile((canvas, room) => still(canvas, atlas, room, { ...PLAIN, crops, trace }), [1, 1], {});
}

/** One image over the atlas of every layer that has one. */
function traced({ image, layers }) {
  const found = layers.filter((layer) => layer?.atlas?.trace[image.id]);
  if (!found.length) return null;
  return [h("p", { class: "quiet" }, "Each dot is a cell that locations of this image lie in, the larger the more of them."),
    h("ul", { class: "atlas-traces" }, found.map((layer) => h("li", {},
      h("a", { class: "tile", href: urls.atlas(layer.name, { trace: image.id }), title: `Open the atlas of ${layer.name}` },
        stillTile(layer.atlas, image.id, true), h("span", { class: "caption" }, h("span", { class: "unit" }, layer.name))))))];
}
