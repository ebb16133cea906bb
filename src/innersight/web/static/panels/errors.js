/** The mistakes of the network over the scanned data set: the most frequent confusions, and what they mean for a class. */

import { confusions, rightImages, shareText, thumbnails, totals } from "../errors.js";
import { h } from "../dom.js";
import { count, percent, plural } from "../format.js";
import { panel } from "../panel.js";
import { section } from "../section.js";
import { missing, reason, urls } from "../study.js";

const SHOWN = 12;
const LISTED = 5;

panel({
  name: "errors",
  title: "Errors",
  order: 12,
  document: "errors",
  story: { href: urls.errors(), show: errorsSection },
  class: { column: "right", title: "Predictions over the scanned images", order: 2, show: classErrors },
  table({ study, documents: { errors } }) {
    const known = errors && !errors.why;
    return { computed: known ? plural(errors.summary.images, "image") : null,
      missing: known ? null : errors?.why ?? reason(study, "errors", "no data set was scanned"), done: 0, left: 0 };
  },
  found: () => [{ name: "Errors", kind: "page", href: urls.errors(), also: ["confusion matrix", "mistakes", "calibration", "accuracy"] }],
});

function errorsSection({ study, documents: { errors } }) {
  if (!errors || errors.why || errors.summary.accuracy === null) return null;
  const { labelled } = errors.summary;
  const right = rightImages(errors);
  return section("errors", "Errors", `${percent(right / labelled)} of ${count(labelled)} scanned images are right`,
    right < labelled ? "What is taken for what, most often. Each opens its images, and what they have in common." : "No image of a known class is predicted wrongly.",
    [confusions(study, errors, undefined, { limit: LISTED }), h("p", { class: "more" }, h("a", { href: urls.errors() }, "All errors: images, confidence, what they have in common →"))],
    study.how.errors);
}

/** Of one class: how often it is right, what it is taken for and what is taken for it, and its surest images. */
function classErrors({ study, number, label, documents }) {
  const { errors } = documents;
  if (!errors) return missing(study, "errors", "No data set was scanned.");
  if (errors.why) return h("p", { class: "quiet" }, errors.why);
  const { own, predicted, right } = totals(errors);
  const images = own.get(number) ?? 0, hits = right.get(number) ?? 0, named = predicted.get(number) ?? 0;
  const all = new Map(errors.predicted).get(number) ?? 0;
  const mine = errors.images.filter((one) => one.class === number || one.best[0][0] === number);
  const surest = (wanted) => mine.filter(wanted).sort((a, b) => (b.best[0][2] ?? b.best[0][1]) - (a.best[0][2] ?? a.best[0][1])).slice(0, SHOWN);
  const row = (title, some, query) => (some.length ? h("div", { class: "group" }, h("h3", {}, title), thumbnails(study, errors, some, documents),
    h("p", { class: "more" }, h("a", { href: urls.errors(query) }, "All of these →"))) : null);
  /** @type {(wrong: boolean) => (row: [number, number, number]) => boolean} */
  const is = (wrong) => ([row_, column]) => (wrong ? column === number && row_ !== number : row_ === number);
  const group = (title, list) => (list ? h("div", { class: "group" }, h("h3", {}, title), list) : null);
  return [
    h("p", {}, images ? [`Right on ${shareText(hits, images)} of ${plural(images, "image")}`,
      named ? `; of ${plural(named, "labelled image")} predicted as ${label}, ${percent(hits / named)} are.` : "; no labelled image is predicted as it."]
      : [`No scanned image is labelled ${label}. `, all ? `${plural(all, "image")} ${all === 1 ? "is" : "are"} predicted as it.` : "None is predicted as it."]),
    group("Taken for", confusions(study, errors, is(false), { limit: LISTED })),
    group(`Taken for ${label}`, confusions(study, errors, is(true), { limit: LISTED })),
    row("Surest, and right", surest((one) => one.class === number && one.best[0][0] === number), { class: number, right: "yes" }),
    row("Surest, and wrong", surest((one) => one.class === number && one.best[0][0] !== number), { class: number, right: "no" }),
    row(`Others, predicted as ${label}`, surest((one) => one.class >= 0 && one.class !== number && one.best[0][0] === number), { predicted: number, right: "no" }),
    row(`Of no known class, predicted as ${label}`, surest((one) => one.class < 0), { predicted: number, right: "unknown" }),
  ];
}
