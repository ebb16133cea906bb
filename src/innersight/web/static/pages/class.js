/** #/c/CLASS: one class, by number or label: its pattern, its pictures and the evidence for it. */

import { empty, facts, h } from "../dom.js";
import { scoreFacts } from "../enlarged.js";
import { count, percent } from "../format.js";
import { pictureTile, seenTile } from "../layer.js";
import { lost, register } from "../router.js";
import { evidence } from "../sections/evidence.js";
import { getDocument } from "../source.js";
import { reason, urls } from "../study.js";

register("/c/:class", async ({ study, params }) => {
  const { labels } = study.model;
  const number = labels.includes(params.class) ? labels.indexOf(params.class) : Number(params.class);
  if (!(Number.isInteger(number) && number >= 0 && number < labels.length)) {
    return lost(params.class, `${study.model.name} has the classes 0 to ${labels.length - 1}.`);
  }
  const [classes, heatmaps, train] = await Promise.all(["classes", "heatmaps", "train"].map(getDocument));
  const label = labels[number];
  const i = classes?.patterns?.classes.indexOf(number) ?? -1;
  const pictures = study.pictures.filter((picture) => picture.prediction.some((entry) => entry.class === number));
  const entries = (heatmaps?.entries ?? []).filter((entry) => entry.target.class === number);
  const metric = train?.metrics?.per_class?.[label];
  return {
    title: label,
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, `Class ${number}`), h("h1", {}, label)),
      h("div", { class: "unit-page" },
        h("div", { class: "unit-pattern" }, h("h2", {}, "What it looks like to the network"),
          i >= 0 ? [pictureTile(classes.patterns.sheet, i, `pattern of ${label}`),
            scoreFacts(classes.patterns.score?.[i], classes.patterns.settings, "class")]
            : empty(reason(study, "class", "No pattern of this class was computed."))),
        h("div", {}, h("h2", {}, "Pictures"),
          pictures.length ? h("div", { class: "strip" }, pictures.map((picture) => h("figure", {},
            h("a", { href: urls.picture(picture.id) }, seenTile(study, picture.id, picture.name)),
            h("figcaption", { class: "quiet clip" },
              percent(picture.prediction.find((entry) => entry.class === number).probability), " in ", picture.name))))
            : empty("In no picture of this study is this class among the best five."),
          metric ? [h("h2", {}, "How well it is known"),
            facts([["precision", percent(metric.precision)], ["recall", percent(metric.recall)],
              ["pictures", count(metric.pictures)]])] : null)),
      h("h2", {}, "Evidence"),
      entries.length ? evidence(study, heatmaps, entries)
        : empty("No heatmap of this study has this class as its target.")),
  };
});
