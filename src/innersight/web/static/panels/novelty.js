/** Whether the network has seen such an image, where a data set was scanned. */

import { h } from "../dom.js";
import { percent, plural } from "../format.js";
import { panel } from "../panel.js";
import { reason } from "../study.js";

panel({
  name: "novelty",
  title: "Novelty",
  order: 26,
  document: "novelty",
  image: { head: true, order: 30, show: ({ study, image, documents }) => noveltyNote(documents.novelty, image.id, study.how.novelty) },
  table({ study, documents: { novelty } }) {
    const done = Object.keys(novelty?.rows ?? {}).length;
    return { computed: done ? plural(done, "image") : null, missing: done ? null : novelty ? few(novelty) : reason(study, "novelty", "not measured"), done, left: 0 };
  },
});

function few({ scanned }) {
  return `only ${plural(scanned, "scanned image")}: with fewer than 100 nothing is claimed`;
}

/** How an image stands to the scanned images; nothing where that was not measured. */
export function noveltyNote(novelty, id, how = "") {
  const row = novelty?.rows[id];
  if (!row) return null;
  const near = row.nearest.length ? ` Nearest: ${row.nearest.join(", ")}.` : "";
  return h("div", { class: "novelty", role: "note" },
    h("p", {}, row.novel ? [h("span", { class: "badge bad" }, "novel to the network"), " Its features are farther"] : "Its features are farther",
      ` from the ${plural(novelty.scanned, "scanned image")} than ${row.share < 1 ? `${percent(row.share)} of them are` : "any of them is"} from ${row.share < 1 ? "each other" : "the others"}.`,
      row.novel ? " What the network says of it rests on little it has seen." : null, h("span", { class: "quiet" }, near)),
    how ? h("details", { class: "how" }, h("summary", {}, "How this is measured"), h("p", {}, how)) : null);
}
