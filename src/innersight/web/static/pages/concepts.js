/** #/concepts, #/concepts/LAYER, #/concepts/LAYER/NAME, #/concepts/LAYER/NAME/7: a card for each concept of a layer. */

import { conceptCard } from "../concept_card.js";
import { firstSet } from "../concepts.js";
import { fill, h, select } from "../dom.js";
import { number, percent, plural } from "../format.js";
import { notFound, register, setQuery } from "../router.js";
import { getDocument } from "../source.js";
import { loadLayer, missing, urls } from "../study.js";

for (const pattern of ["/concepts", "/concepts/:layer", "/concepts/:layer/:name", "/concepts/:layer/:name/:concept"]) register(pattern, concepts);

async function concepts({ study, params, query }) {
  const sets = /** @type {ConceptSet[]} */ ((await getDocument("concepts"))?.sets ?? []);
  const set = params.layer === undefined ? firstSet(study, { format: 2, sets }) ?? sets[0]
    : sets.find((one) => one.layer === params.layer && (params.name === undefined || one.name === params.name));
  if (!sets.length) {
    const head = h("header", { class: "page-head" }, h("h1", {}, "Concepts"));
    return { title: "Concepts", body: h("section", { class: "page" }, head, missing(study, "concepts", "No concepts were found.")) };
  }
  if (!set) {
    const known = sets.map(({ address }) => address).join(", ");
    return notFound([params.layer, params.name].filter(Boolean).join("~"), `Sets of concepts in this study: ${known}.`, "No such concepts");
  }
  const wanted = params.concept === undefined ? null : Number(params.concept);
  if (wanted !== null && !(wanted in set.concepts)) {
    return notFound(`${set.address}:${params.concept}`, `${set.address} has the concepts 0 to ${set.concepts.length - 1}.`);
  }
  const own = await loadLayer(study, set.address);
  const list = h("div", { class: "concept-list" });
  const show = (chosen) => fill(list, sorted(set, chosen).map((concept) => conceptCard(study, set, own, concept)));
  const chosen = wanted === null ? query.get("class") ?? "" : "";
  show(chosen);
  return {
    title: wanted === null ? `Concepts of ${set.layer}` : `${set.address}:${wanted}`,
    arrive: () => {
      if (wanted === null) return;
      const card = document.getElementById(`concept-${set.name}-${wanted}`);
      card?.scrollIntoView({ block: "start" });
      card?.focus({ preventScroll: true });
    },
    body: h("section", { class: "page" },
      h("header", { class: "page-head" },
        h("p", { class: "kicker" }, h("a", { href: urls.layer(set.layer) }, set.layer)),
        h("div", { class: "title-row" }, h("h1", {}, `Concepts of ${set.layer}`),
          sets.length > 1 ? select("Set", sets.map(({ address }) => [address, address]), set.address, (address) => {
            const next = sets.find((one) => one.address === address);
            if (next) location.hash = urls.concepts(next.layer, next.name);
          }) : null),
        h("p", { class: "lead" }, `${plural(set.concepts.length, "direction")} in the space of the layer's units, which many images share (${set.title}; `
          + `${plural(set.vectors, "activation vector")} of ${plural(set.images, "image")}).`,
        set.own ? " They were found over the images of this study alone, so they are groups of these images." : null),
        h("p", { class: "badges" }, [[set.covered, "of the score is kept when the layer is rebuilt from the concepts alone"], [set.variance, "of the layer's variance"]]
          .filter(([value]) => Number.isFinite(value)).map(([value, what]) => h("span", { class: "badge" }, `${percent(value)} ${what}`)),
        Number.isFinite(set.halves) ? h("span", { class: "badge" }, `stability ${number(set.halves, 2)} over halves of the data`) : null)),
      h("div", { class: "toolbar" }, select("Class", [["", "all, by contribution"], ...classesOf(set)], chosen, (next) => {
        setQuery({ class: next });
        show(next);
      })),
      list,
      set.notes.map((note) => h("p", { class: "quiet" }, note)),
      h("details", { class: "how" }, h("summary", {}, "How this was computed"), h("p", {}, set.definition))),
  };
}

/** Concepts by what they contribute: to all classes, or those that count for one class, to that one. */
function sorted(set, chosen) {
  if (chosen === "") return set.order;
  const value = (concept) => set.concepts[concept].classes.find((one) => String(one.class) === chosen)?.contribution.value ?? 0;
  return set.order.filter((concept) => value(concept) > 0).sort((a, b) => value(b) - value(a));
}

/** The classes that some concept counts for. */
function classesOf(set) {
  const known = new Map(set.concepts.flatMap(({ classes }) => classes.filter(({ contribution }) => contribution.value > 0).map((one) => [one.class, one.label])));
  return [...known].sort((a, b) => a[0] - b[0]).map(([number_, label]) => [String(number_), label]);
}
