/** The pattern of each class: the image that the network is most sure shows it. */

import { enlarge } from "../dialog.js";
import { h } from "../dom.js";
import { scoreFacts } from "../enlarged.js";
import { objections, patternNote, imageTile } from "../layer.js";
import { section } from "../section.js";
import { missing, urls } from "../study.js";
import { tileGrid } from "../tiles.js";

export function classesSection(study, classes) {
  const body = classes?.patterns?.classes.length ? tileGrid(classItems(classes.patterns), { label: "Class patterns" })
    : missing(study, "class", "No class patterns were computed.");
  return section("classes", "Classes", "What each class looks like to the network",
    "Synthetic images made to raise the logit of one class. They show what counts as evidence, not what the class looks like to us.",
    body, study.how.patterns);
}

function classItems({ sheet, classes, labels, settings, score }) {
  const open = (at) => enlarge(classes, at, (number) => {
    const i = classes.indexOf(number);
    return {
      title: [labels[i]],
      body: h("div", { class: "enlarged" }, imageTile(sheet, i, `pattern of ${labels[i]}`),
        h("div", {}, scoreFacts(score?.[i], settings, "class"),
          h("p", {}, h("a", { class: "button", href: urls.class(number) }, "Everything about this class")))),
    };
  });
  return classes.map((number, i) => ({
    tile: imageTile(sheet, i),
    name: labels[i],
    note: objections(score?.[i]).join(", ") || patternNote(score?.[i]),
    warn: objections(score?.[i]).length > 0,
    label: `pattern of class ${labels[i]}`,
    onopen: () => open(i),
  }));
}
