/** How far heatmaps can be trusted: a badge at each, and what the test found. */

import { h, hidden } from "../dom.js";
import { plural } from "../format.js";
import { panel } from "../panel.js";
import { reason } from "../study.js";

const BADGES = {
  believed: ["good", "trusted", "better than everything it was compared with"],
  doubtful: ["bad", "doubtful", "worse than something it was compared with, or hardly changed where nothing was learned"],
  undecided: ["", "undecided", "surely worse in no comparison, surely better only in those ticked: more images may settle the rest"],
};
const MARKS = { better: ["✓", "better than"], worse: ["✗", "worse than"], open: ["?", "not settled against"], few: ["–", "too few images to test against"] };

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
export function standing(trust, method, model) {
  const found = trust?.methods[method];
  if (!found) {
    return trust?.images ? h("p", { class: "quiet" }, "Not among the methods that this study tested, because many maps by it take long: ",
      h("code", {}, `innersight trust ${model.source} IMAGES --method ${method}`), " tests it.") : null;
  }
  const [kind, text, meaning] = BADGES[found.standing] ?? ["", found.standing, ""];
  return h("div", { class: "standing" },
    h("p", { class: "badges" }, h("span", { class: `badge ${kind}` }, text), h("span", { class: "quiet" }, ` ${meaning}`)),
    found.tests?.length ? h("ul", { class: "outcomes", title: found.why }, found.tests.map(([against, outcome]) =>
      h("li", { class: outcome }, h("span", { "aria-hidden": "true" }, MARKS[outcome][0]), hidden(`${MARKS[outcome][1]} `), ` ${against}`)))
      : null,
    // What speaks against it beyond the comparisons.
    found.tests?.length && (found.standing !== "doubtful" || found.tests.some(([, outcome]) => outcome === "worse")) ? null
      : h("p", { class: "quiet" }, found.why));
}

/** What was found about the trust in heatmaps, or why nothing is known. */
function trustNote({ study, image, documents }) {
  const { heatmaps, trust } = documents;
  if (!heatmaps?.entries.some((entry) => entry.image === image.id)) return null;
  if (!trust) return h("p", { class: "quiet", role: "note" }, reason(study, "trust", "Whether these heatmaps can be trusted was not measured."));
  return h("div", { role: "note" }, h("p", {}, h("strong", {}, "Can these heatmaps be trusted? "), trust.sentence),
    h("details", { class: "how" }, h("summary", {}, "How the methods were tested"), h("p", { class: "quiet" }, trust.note)));
}
