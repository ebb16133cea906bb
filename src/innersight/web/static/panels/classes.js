/** The pattern of each class: a synthetic image optimized to raise its logit. */

import { enlarge } from "../dialog.js";
import { h } from "../dom.js";
import { scoreFacts } from "../enlarged.js";
import { plural, signed } from "../format.js";
import { growing } from "../growth.js";
import { badFlags, imageTile } from "../layer.js";
import { panel } from "../panel.js";
import { savedTile } from "../save.js";
import { section } from "../section.js";
import { getDocument } from "../source.js";
import { classNumber, missing, urls } from "../study.js";
import { tileGrid } from "../tiles.js";

const AT_ONCE = 16;
const USUAL = "Patterns of a network that was trained as usual show colours and textures. After further training by ";
const NATURAL = "The strongest pattern shows what raises the score most; a natural one looks, to the network, like the scanned images that "
  + "excite the class.";

panel({
  name: "classes",
  title: "Classes",
  order: 60,
  document: "classes",
  story: { show: classesSection },
  class: { column: "left", title: "Pattern (feature visualization)", show: patternOfClass },
  table({ study, documents }) {
    const done = documents.classes?.patterns?.classes.length ?? 0;
    const left = study.model.labels.length - done;
    return { title: "Class patterns", computed: done ? plural(done, "class", "classes") : null,
      missing: left ? plural(left, "class", "classes") : null, done, left };
  },
  async offer(study, { page, name }) {
    const number = page === "c" ? classNumber(study, name) : null;
    if (number !== null) return classes([number]);
    if (page !== "") return null;
    const predicted = study.images.map((image) => image.prediction[0]?.class).filter((own) => own !== undefined);
    const known = (await getDocument("classes"))?.patterns?.classes ?? [];
    const left = [...new Set([...predicted, ...study.model.labels.keys()])].filter((own) => !known.includes(own)).slice(0, AT_ONCE);
    return left.length ? classes(left) : null;
  },
  jobs: { classes: ({ classes }, { model }) => (classes.length === 1 ? `Pattern of ${model.labels[classes[0]]}` : `Patterns of ${classes.length} classes`) },
});

function classesSection({ study, documents }) {
  const { classes } = documents;
  const { natural } = classes?.patterns ?? {};
  const strongest = () => tileGrid(classItems(classes.patterns), { label: "Class patterns" });
  const body = classes?.patterns?.classes.length ? natural
    ? [h("h3", {}, "Strongest"), strongest(), h("h3", {}, "Natural"), h("p", { class: "quiet" }, NATURAL),
      tileGrid(naturalItems(classes.patterns), { label: "Natural class patterns" })]
    : strongest()
    : missing(study, "classes", "No class patterns were computed.");
  return section("classes", "Classes", "What each class looks like to the network",
    "Each pattern is a synthetic image optimized to raise the logit of one class. It shows which features raise the score, not what the class looks like to a person. "
    + "The number below it is the logit it reaches.",
    [body, documents.training?.recipe?.arguments?.robust === 0 ? h("p", { class: "quiet" }, USUAL, h("code", {}, "innersight train"), " with ",
      h("code", {}, "--net run:DIR --robust 2"), ", whose steps take two to three times as long, they show more of the shapes.") : null],
    study.how.patterns);
}

function classItems({ sheet, classes, labels, settings, score }) {
  const open = (at) => enlarge(classes, at, (number) => {
    const i = classes.indexOf(number);
    return {
      title: [labels[i]],
      body: h("div", { class: "enlarged" }, imageTile(sheet, i, `pattern of ${labels[i]}`),
        h("div", {}, scoreFacts(score?.[i], settings, "class"),
          h("p", {}, h("a", { class: "button", href: urls.class(number) }, "Details of this class")))),
    };
  });
  return classes.map((number, i) => ({
    tile: imageTile(sheet, i),
    name: labels[i],
    note: badFlags(score?.[i]).join(", ") || (score?.[i] ? signed(score[i].activation) : null),
    warn: badFlags(score?.[i]).length > 0,
    label: `pattern of class ${labels[i]}`,
    onopen: () => open(i),
  }));
}

/** The natural patterns of classes, each a link to its class. */
function naturalItems({ natural, classes, labels }) {
  return classes.map((number, i) => ({ tile: imageTile(natural.sheet, i), name: labels[i], note: signed(natural.score[i].activation),
    label: `natural pattern of class ${labels[i]}`, href: urls.class(number) }));
}

function patternOfClass({ study, number, label, documents }) {
  const found = documents.classes?.patterns;
  const i = found?.classes.indexOf(number) ?? -1;
  return i >= 0 ? [h("div", { class: "saved" }, growing(found, i, `pattern of ${label}`)),
    scoreFacts(found.score?.[i], found.settings, "class"),
    found.natural ? [h("h3", {}, "Natural pattern"), savedTile(imageTile(found.natural.sheet, i, `natural pattern of ${label}`), `${label} natural pattern`),
      h("p", {}, NATURAL, ` Its logit is ${signed(found.natural.score[i].activation)}.`)] : null]
    : missing(study, "classes", "No pattern of this class was computed.");
}

function classes(numbers) {
  return {
    text: numbers.length === 1 ? "Compute the pattern of this class" : `Compute the patterns of ${numbers.length} classes`,
    requests: [{ kind: "classes", classes: numbers }],
    cost: ["classes", numbers.length],
  };
}
