/** #/c/CLASS: one class, by number or label: what every panel shows of it. */

import { breakable, h } from "../dom.js";
import { boxed, headed, loadDocuments } from "../panel.js";
import { notFound, register } from "../router.js";
import { classNumber, loadLayer, storyLayers } from "../study.js";

register("/c/:class", async ({ study, params }) => {
  const { labels } = study.model;
  const number = classNumber(study, params.class);
  if (number === null) {
    return notFound(params.class, `${study.model.name} has classes 0 to ${labels.length - 1}.`);
  }
  const [documents, ...layers] = await Promise.all([loadDocuments(), ...storyLayers(study).map((entry) => loadLayer(study, entry.name))]);
  const label = labels[number];
  const shown = { study, number, label, layers, documents };
  return {
    title: label,
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, `Class ${number}`), h("h1", {}, breakable(label)),
        headed("class", "head", shown)),
      h("div", { class: "unit-page" },
        h("div", { class: "unit-pattern" }, headed("class", "left", shown)),
        h("div", {}, headed("class", "right", shown))),
      boxed("class", shown)),
  };
});
