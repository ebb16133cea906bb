/** #/errors: what is confused with what, and why: confusions, confidence, and the images of a selection that the link holds. */

import { h, select } from "../dom.js";
import { conceptsOf, confusions, differences, matrix, nameOf, reliability, rightImages, shareText, thumbnails, totals } from "../errors.js";
import { count, number, percent, plural } from "../format.js";
import { loadDocuments } from "../panel.js";
import { register } from "../router.js";
import { missing, urls } from "../study.js";

const RIGHT = { no: "wrong", yes: "right", unknown: "of no known class" };

register("/errors", async ({ study, query }) => {
  const documents = await loadDocuments();
  const { errors } = documents;
  const known = errors && !errors.why;
  return {
    title: "Errors",
    arrive: () => query.size && !query.has("pins") && document.getElementById("selection")?.scrollIntoView({ block: "start" }),
    body: h("section", { class: "page errors-page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Errors"),
        h("h1", {}, known ? verdict(errors) : "What is confused with what"), known ? h("p", { class: "lead" }, extent(errors)) : null),
      !errors ? missing(study, "errors", "No data set was scanned. Run `innersight scan MODEL FOLDER --out STUDY` with images in folders named like the classes, then run the study again.") : errors.why ? h("p", { class: "empty", role: "note" }, errors.why)
        : shown(study, errors, asked(query, study, errors), documents)),
  };
});

/** What the link selects; what it names that is not there selects nothing. @returns {ErrorQuery} */
function asked(query, study, errors) {
  const whole = (name, end) => {
    const value = query.get(name);
    return value !== null && /^\d+$/.test(value) && Number(value) < end ? Number(value) : null;
  };
  const share = (name) => {
    const value = Number.parseFloat(query.get(name) ?? "");
    return value >= 0 && value <= 1 ? value : null;
  };
  const one = (name, words) => (words.includes(query.get(name)) ? query.get(name) : null);
  const labels = study.model.labels.length;
  return { class: whole("class", labels), predicted: whole("predicted", labels), right: one("right", Object.keys(RIGHT)), from: share("from"), to: share("to"),
    concept: whole("concept", errors.strength[0]?.length ?? 0), on: one("on", ["yes", "no"]) };
}

function verdict(errors) {
  const { summary } = errors;
  if (summary.accuracy === null) return `${plural(summary.images, "image")} of no known class`;
  return `${count(summary.labelled - rightImages(errors))} of ${count(summary.labelled)} images are wrong`;
}

function extent({ summary, lost }) {
  const { accuracy, interval, calibration_error: gap, images, labelled, not_finite: broken, trained_on: trained } = summary;
  return [
    accuracy === null ? "Name folders like the classes to see accuracy and confusions."
      : `Accuracy ${percent(accuracy)} (95%: ${(100 * interval[0]).toFixed(1)} to ${percent(interval[1])}).`,
    gap === null ? "" : `Confidence is off by ${percent(gap)} on average.`,
    images > labelled && labelled ? `${plural(images - labelled, "more image")} of no known class ${images - labelled === 1 ? "counts" : "count"} in neither.` : "",
    trained ? `The network was trained on ${count(trained)} of these images.` : "",
    broken ? `${plural(broken, "image")} left out: scores that are not finite.` : "",
    lost[0] ? `${plural(lost[0], "image")} can no longer be read (${lost[1]}).` : "",
  ].filter(Boolean).join(" ");
}

function shown(study, errors, query, documents) {
  const labelled = errors.summary.accuracy !== null;
  return [
    labelled ? h("div", { class: "errors-top" },
      h("section", { "aria-labelledby": "errors-pairs" }, h("h2", { id: "errors-pairs" }, "What is taken for what"),
        confusions(study, errors, undefined, { current: query }) ?? h("p", { class: "quiet" }, "Every image of a known class is right.")),
      h("section", { "aria-label": "Confusion matrix" }, matrix(study, errors, query))) : null,
    selection(study, errors, query, documents),
    h("div", { class: "errors-top" }, labelled ? h("section", { "aria-label": "Calibration" }, reliability(errors)) : null,
      study.how.errors ? h("details", { class: "how" }, h("summary", {}, "How this was computed"), h("p", {}, study.how.errors)) : null),
  ];
}

/** The images of the selection, what mistakes among them have in common, and the filters. */
function selection(study, errors, query, documents) {
  const found = errors.images.filter((image) => fits(errors, image, query)).sort((a, b) => Number(right(a)) - Number(right(b)));
  const held = inScan(errors, query);
  const words = described(study, errors, query, documents);
  return h("section", { id: "selection", class: "selection", "aria-labelledby": "selection-title" },
    h("h2", { id: "selection-title" }, words.title),
    h("p", { class: "quiet" }, words.share, held === null ? "" : `${plural(held, "labelled image")} in the scan; `,
      `${count(found.length)} of the ${count(errors.images.length)} images looked at are shown here. `,
      Object.values(query).some((one) => one !== null) ? h("a", { href: urls.errors() }, "Clear the selection") : null),
    filters(study, errors, query, documents),
    h("div", { class: "selection-body" },
      h("section", { "aria-labelledby": "common" }, h("h3", { id: "common" }, "What mistakes have in common that right ones lack"),
        differences(study, errors, query, documents)),
      h("section", { "aria-labelledby": "selected-images" }, h("h3", { id: "selected-images" }, "Images, mistakes first"),
        found.length ? thumbnails(study, errors, found, documents)
          : h("p", { class: "empty", role: "note" }, held ? "None of these images is among those looked at: the surest mistakes of every confusion are." : "No image fits this selection."))));
}

function right(image) {
  return image.class < 0 || image.class === image.best[0][0];
}

/** @param {Errors} errors @param {ErrorImage} image @param {ErrorQuery} query */
function fits(errors, image, query) {
  const [best, , probability] = image.best[0];
  return (query.class === null || image.class === query.class) && (query.predicted === null || best === query.predicted)
    && (query.right === null || (image.class < 0 ? "unknown" : image.class === best ? "yes" : "no") === query.right)
    && (probability === null || ((query.from === null || probability >= query.from) && (query.to === null || probability < query.to)))
    && (query.concept === null || conceptsOf(errors, image).includes(query.concept) === (query.on !== "no"));
}

/** How many images of the scan the selection holds; null where only the images looked at tell. */
function inScan({ pairs, rest }, query) {
  if (rest || query.right === "unknown" || [query.from, query.to, query.concept].some((one) => one !== null)) return null;
  if (!pairs.length) return null;
  return pairs.filter(([row, column]) => (query.class === null || row === query.class) && (query.predicted === null || column === query.predicted)
    && (query.right === null || (row === column) === (query.right === "yes"))).reduce((sum, [, , images]) => sum + images, 0);
}

function described(study, errors, query, documents) {
  const { labels } = study.model;
  const { own, right: hits } = totals(errors);
  const parts = [query.class === null ? null : labels[query.class],
    query.predicted === null ? null : query.predicted === query.class ? "predicted rightly" : `predicted as ${labels[query.predicted]}`,
    query.right === null ? null : RIGHT[query.right],
    query.from === null && query.to === null ? null : `${percent(query.from ?? 0)} to ${percent(query.to ?? 1)} sure`,
    query.concept === null ? null : `${query.on === "no" ? "without" : "with"} ${nameOf(errors, documents, query.concept)}`].filter(Boolean);
  const images = query.class === null ? 0 : own.get(query.class) ?? 0;
  return { title: parts.length ? parts.join(", ") : "All images",
    share: images ? `${labels[query.class ?? 0]} is right on ${shareText(hits.get(query.class) ?? 0, images)} of its images. ` : "" };
}

function filters(study, errors, query, documents) {
  const { labels } = study.model;
  const go = (changes) => { location.hash = urls.errors({ ...query, ...changes }); };
  const maybe = (value) => (value === "" ? null : Number(value));
  const classes = (of) => [["", "any"], ...[...new Set(errors.images.map(of))].filter((one) => one >= 0).sort((a, b) => a - b).map((one) => [String(one), labels[one]])];
  const text = (value) => (value === null ? "" : String(value));
  const steps = [["", "any"], ...[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9].map((one) => [String(one), percent(one)])];
  const edge = (value) => (value === null || steps.some(([step]) => step === String(value)) ? steps : [...steps, [String(value), number(value)]]);
  const concepts = errors.strength[0]?.length ?? 0;
  const sure = errors.images.some(({ best }) => best[0][2] !== null);
  return h("div", { class: "toolbar error-filters" },
    select("True class", classes((image) => image.class), text(query.class), (value) => go({ class: maybe(value) })),
    select("Predicted", classes((image) => image.best[0][0]), text(query.predicted), (value) => go({ predicted: maybe(value) })),
    select("Right or wrong", [["", "any"], ...Object.entries(RIGHT).filter(([word]) => word !== "unknown" || errors.summary.images > errors.summary.labelled)], query.right ?? "", (value) => go({ right: value || null })),
    sure ? [select("Confidence from", edge(query.from), text(query.from), (value) => go({ from: maybe(value) })),
      select("to", edge(query.to), text(query.to), (value) => go({ to: maybe(value) }))] : null,
    concepts ? [select("Concept", [["", "any"], ...Array.from({ length: concepts }, (_, i) => [String(i), nameOf(errors, documents, i)])], text(query.concept),
      (value) => go({ concept: maybe(value), on: value === "" ? null : query.on ?? "yes" })),
    query.concept === null ? null : select("is", [["yes", "on"], ["no", "off"]], query.on ?? "yes", (value) => go({ on: value }))] : null);
}
