/** #/train: curves, accuracy with its interval, confusions and the recipe. */

import { stepClock, stepsOf } from "../clock.js";
import { h, settingsList } from "../dom.js";
import { count, judgedOn, percent } from "../format.js";
import { register } from "../router.js";
import { trainingCharts } from "../sections/training.js";
import { getDocument } from "../source.js";
import { missing, urls } from "../study.js";

register("/train", async ({ study }) => {
  const train = await getDocument("train");
  const steps = train ? stepsOf(train) : [];
  const clock = steps.length > 1 ? stepClock(steps) : null;
  return {
    title: "Training",
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Training"),
        h("h1", {}, `How ${study.model.name} came about`)),
      train ? [metrics(train), clock?.element, trainingCharts(train, clock), confusion(study, train.metrics), recipe(train.recipe)]
        : missing(study, "train", "This network did not come with a record of its training.")),
  };
});

function metrics({ metrics: found }) {
  if (!found) return null;
  const interval = found.interval
    ? ` (95% interval ${percent(found.interval[0])} to ${percent(found.interval[1])})` : "";
  return h("p", { class: "lead after" },
    `Right on ${percent(found.accuracy)} of ${count(found.images)} images ${judgedOn(found)}${interval}.`);
}

function confusion(study, found) {
  if (!found?.confusion?.length) return null;
  const { labels } = study.model;
  const totals = found.confusion.map((row) => row.reduce((a, b) => a + b, 0));
  return [
    h("h2", {}, "What is taken for what"),
    h("p", { class: "quiet" }, "A row is the truth, a column the prediction, a cell the number of images."),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
      h("table", { class: "confusion" },
      h("thead", {}, h("tr", {}, h("td"), labels.map((label) => h("th", { scope: "col" }, h("span", {}, label))),
        h("th", { scope: "col" }, h("span", {}, "recall")))),
      h("tbody", {}, found.confusion.map((row, truth) => h("tr", {},
        h("th", { scope: "row" }, h("a", { href: urls.class(truth) }, labels[truth])),
        row.map((amount, guess) => h("td", {
          class: amount ? (truth === guess ? "right" : "wrong") : null,
            style: { "--share": String(totals[truth] ? amount / totals[truth] : 0) },
        }, amount || "·")),
        h("td", { class: "tabular" }, percent(totals[truth] ? row[truth] / totals[truth] : NaN))))))),
  ];
}

function recipe(settings) {
  return settings && Object.keys(settings).length ? [h("h2", {}, "Recipe"), settingsList(settings)] : null;
}
