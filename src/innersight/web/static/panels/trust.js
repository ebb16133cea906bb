/** How far heatmaps can be trusted: a badge at each, and what the test found. */

import { h } from "../dom.js";
import { plural } from "../format.js";
import { panel } from "../panel.js";
import { reason } from "../study.js";

const BADGES = { believed: ["good", "trusted"], doubtful: ["bad", "doubtful"], undecided: ["", "undecided"] };

panel({
  name: "trust",
  title: "Trust in heatmaps",
  order: 75,
  document: "trust",
  image: { title: null, show: trustNote },
  table({ study, documents: { trust } }) {
    return { computed: trust ? plural(trust.images, "image") : null, missing: trust ? null : reason(study, "trust", "not measured"), done: 0, left: 0 };
  },
});

/** The verdict of `innersight trust` on a method, where it was tested. */
export function standing(trust, method) {
  const found = trust?.methods[method];
  if (!found) return null;
  const [kind, text] = BADGES[found.standing] ?? ["", found.standing];
  return h("p", { class: "badges" }, h("span", { class: `badge ${kind}` }, text), h("span", { class: "quiet" }, ` ${found.why}`));
}

/** What was found about the trust in heatmaps, or why nothing is known. */
function trustNote({ study, image, documents }) {
  const { heatmaps, trust } = documents;
  if (!heatmaps?.entries.some((entry) => entry.image === image.id)) return null;
  if (!trust) return h("p", { class: "quiet", role: "note" }, reason(study, "trust", "Whether these heatmaps can be trusted was not measured."));
  return h("div", { role: "note" }, h("p", {}, h("strong", {}, "Can these heatmaps be trusted? "), trust.sentence),
    h("details", { class: "how" }, h("summary", {}, "How the methods were tested"), h("p", { class: "quiet" }, trust.note)));
}
