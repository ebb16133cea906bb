/** Examples: crops of scanned images that activate a unit most, to a medium degree, and least. */

import { barList } from "../bars.js";
import { called } from "../annotations.js";
import { bothEnds, choice, empty, fill, h, hidden, select } from "../dom.js";
import { exampleIndex, exampleTile } from "../example.js";
import { count, number, percent, plural } from "../format.js";
import { orders, sortUnits } from "../layer.js";
import { panel } from "../panel.js";
import { parseHash, setQuery } from "../router.js";
import { sheetButton } from "../save.js";
import { isReport } from "../source.js";
import { loadLayer, missing, reason, urls } from "../study.js";

const BANDS = [["top", "Highest"], ["middle", "Intermediate"], ["low", "Lowest"]];
const EXAMPLES = 6; // of a unit, in a saved sheet
const THOUSAND = 1000;
const AT_ONCE = 16;
const NAMED = 40; // classes that are all in the list; of more, those that the unit responds to
const VIEWS = [["mask", "Darken the rest"], ["plain", "Crop"], ["whole", "Whole image"]];

panel({
  name: "examples",
  title: "Examples",
  order: 90,
  lens: { show: examplesPanel },
  unit: [
    { column: "wide", title: "Examples", order: 10, show: exampleBands },
    { column: "half", title: "Classes it responds to", order: 20, show: classHistogram },
  ],
  table({ study, layers }, { each }) {
    const scanned = layers.filter((layer) => layer.scan);
    if (scanned.length) return { computed: `${plural(scanned.length, "layer")}, ${count(scanned[0].scan.images)} scanned images`, missing: null, done: scanned.length, left: 0 };
    const one = each("activations", study.images.length);
    return { computed: null, missing: `a scan of a data set (estimate for ${count(THOUSAND)} images)`, done: 0, left: 0, cost: one === null ? null : one * THOUSAND };
  },
  async offer(study, { page, name, unit, asked }) {
    if (page !== "l") return null;
    return cutting(study, await loadLayer(study, name), unit === undefined ? null : Number(unit), asked);
  },
  async more(study, { page, name, unit }, query) {
    if (page !== "l" || unit !== undefined || query.get("lens") !== "examples") return null;
    const layer = await loadLayer(study, name);
    return layer?.examples?.units.length ? cutting(study, layer, null) : null;
  },
  jobs: { examples: ({ layer, units, of }, study) => `Examples of ${units.length === 1 ? `${layer}:${units[0]}` : layer}`
    + `${of === null || of === undefined ? "" : `, ${study.model.labels[of]}`}` },
});

/** What cutting examples out is offered as; `asked` is the number of a class. Null where the layer was not scanned, or all are there. */
function cutting(study, layer, unit, asked) {
  if (!layer?.scan) return null;
  if (asked !== undefined) {
    return { text: `Find the highest of ${study.model.labels[Number(asked)]}`, cost: ["examples", 1],
      requests: [{ kind: "examples", layer: layer.name, units: [unit], of: Number(asked) }] };
  }
  const known = new Set(layer.examples?.units ?? []);
  const ranked = layer.compare?.rank.map((row) => row.unit) ?? [];
  const left = [...new Set([...ranked, ...Array(layer.units).keys()])].filter((own) => !known.has(own));
  const units = unit === null ? left.slice(0, AT_ONCE) : left.filter((own) => own === unit);
  if (!units.length) return null;
  return { text: unit === null ? `Cut out the examples of ${plural(units.length, known.size ? "more unit" : "unit")}` : "Cut out the examples of this unit",
    note: unit === null && known.size ? `${known.size} of ${plural(layer.units, "unit")} have examples.` : null,
    requests: [{ kind: "examples", layer: layer.name, units }], cost: ["examples", units.length] };
}

/** The rows of a unit's examples with their tiles, by band; those of one class where its number is given. */
function unitExamples(layer, unit, of = null, label = "") {
  const own = (layer.examples?.rows ?? []).map((row, i) => ({ ...row, i })).filter((row) => row.unit === unit);
  const asked = own.filter((row) => row.of === of);
  const rows = of !== null && !asked.length ? own.filter((row) => row.of === null && row.class === label) : asked;
  return new Map(BANDS.map(([band]) => [band, rows.filter((row) =>
    (band === "middle" ? typeof row.band === "number" : row.band === band))]));
}

/** The units that have examples. */
function exampleUnits(layer) {
  return [...new Set((layer.examples?.rows ?? []).filter((row) => row.of === null).map((row) => row.unit))];
}

/** Why a layer or unit has no examples, and what makes them. */
function whyNoExamples(study, layer, unit = null) {
  const { examples, scan, name } = layer;
  if (!scan) return reason(study, "examples", "No data set was scanned. Run `innersight scan MODEL IMAGES --out STUDY`, then run the study again.");
  if (unit === null ? examples?.why : examples?.units.includes(unit)) return `No examples: ${examples.why ?? "no scanned image activates this unit"}.`;
  if (!isReport) return "The examples were not cut out of the scanned images yet.";
  const why = study.missing.find((entry) => entry.what === "examples")?.why ?? "A report reads no images";
  return `The examples were not cut out of the scanned images. ${why.replace(/\.?$/, ".")} `
    + (unit === null ? "`innersight view STUDY` cuts them out." : `\`innersight view STUDY\` cuts them out on this page, \`innersight report STUDY --unit ${name}:${unit}\` writes a report that contains them.`);
}

/** All examples of one unit: highest, in between, lowest; of all classes or one. */
function exampleBands(study, layer, unit) {
  const { labels } = study.model;
  const query = parseHash(location.hash)?.query;
  let view = viewOf(query);
  let of = labels[Number(query?.get("class") ?? NaN)] === undefined ? null : Number(query?.get("class"));
  const body = h("div", {});
  const show = () => fill(body, shownBands(study, layer, unit, of, view));
  show();
  const classes = classesOf(study, layer, unit);
  if (exampleIndex(layer, unit) < 0 && !classes.length) return body;
  return [h("div", { class: "toolbar" }, viewChoice(view, (next) => {
    view = next;
    show();
  }), classes.length ? select("Class", [["", "all"], ...classes.map((at) => [String(at), labels[at]])], of === null ? "" : String(of), (next) => {
    of = next === "" ? null : Number(next);
    setQuery({ class: next || null });
    show();
    dispatchEvent(new Event("view"));
  }) : null), body];
}

/** How examples are shown, as the address says. */
function viewOf(query) {
  return VIEWS.map(([name]) => name).find((name) => name === query?.get("crops")) ?? "mask";
}

/** A choice of how examples are shown, which the address keeps. */
function viewChoice(view, onchoose) {
  return choice("Crops", VIEWS, view, (next) => {
    setQuery({ crops: next === "mask" ? null : next });
    onchoose(next);
  });
}

/** The classes whose examples can be asked for: those of the labelled images. */
function classesOf(study, layer, unit) {
  const { labels } = study.model;
  if (!layer.scan?.classes) return [];
  if (labels.length <= NAMED) return labels.map((_, at) => at);
  const named = [...(layer.scan.classes[unit] ?? []).map(([label]) => label), ...(layer.examples?.rows ?? []).filter((row) => row.unit === unit).map((row) => row.class)];
  return [...new Set(named.map((label) => labels.indexOf(label)))].filter((at) => at >= 0);
}

function shownBands(study, layer, unit, of, view) {
  const label = study.model.labels[of ?? -1] ?? "";
  const bands = unitExamples(layer, unit, of, label);
  const any = [...bands.values()].some((rows) => rows.length);
  const read = layer.examples?.read.find((row) => row.unit === unit && row.of === of);
  const sections = BANDS.filter(([band]) => bands.get(band)?.length).map(([band, title]) =>
    h("div", { class: "band" }, h("h3", {}, of === null ? title : `${title}, ${label}`), h("ul", { class: `examples ${view}` }, bands.get(band)?.map((row) =>
      h("li", {}, exampleTile(layer, row.i, { view, label: exampleLabel(row) }), caption(row))))));
  if (of === null) {
    if (any) return h("div", { class: "bands" }, sections);
    const why = empty(whyNoExamples(study, layer, unit));
    why.dataset.missing = "examples";
    return why;
  }
  if (read) {
    return [h("p", { class: "quiet" }, `The highest among ${read.images < read.total ? `${count(read.images)} of ` : ""}${plural(read.total, "scanned image")} of ${label}`
      + `${read.images < read.total ? ", drawn at random" : ""}.`), any ? h("div", { class: "bands" }, sections) : empty(`No image of ${label} activates this unit.`)];
  }
  return [any ? h("div", { class: "bands" }, sections) : null,
    h("p", { class: any ? "quiet" : "empty", role: "note", "data-missing": "examples", "data-asked": String(of) },
      any ? `These are the examples of all classes that are of ${label}.` : `None of the examples of all classes is of ${label}.`,
      isReport ? " `innersight view STUDY` finds the highest of this class." : null)];
}

function caption(row) {
  const share = typeof row.band === "number" ? `, above ${percent(row.band)} of the images` : "";
  return [h("span", { class: "quiet tabular" }, number(row.value), share, row.copies ? `, ${plural(row.copies, "duplicate")}` : ""),
    row.class ? h("span", { class: "clip", title: row.class }, bothEnds(row.class)) : null,
    h("span", { class: "quiet clip", title: row.name }, bothEnds(row.name))];
}

function exampleLabel(row) {
  return `crop of ${row.name}, activation ${number(row.value)}`;
}

/** Which classes activate a unit in the scan, and how selective it is. */
function classHistogram(study, layer, unit) {
  const { scan } = layer;
  if (!scan) return missing(study, "examples", "No data set was scanned. Run `innersight scan MODEL IMAGES --out STUDY`.");
  if (!scan.classes) return empty("The scanned images have no class labels. Put them into one folder per class, named after the classes.");
  const rows = scan.classes[unit] ?? [];
  const found = scan.selectivity;
  const { labels } = study.model;
  if (!rows.length) return empty("The activation maps of this unit are not finite on any scanned image.");
  const known = Number.isFinite(found?.index[unit]) && found.best[unit] >= 0;
  return [
    known ? h("p", { class: "quiet" }, `Most selective for ${labels[found.best[unit]]}: selectivity index ${number(found.index[unit], 2)}`
      + ` (95% interval ${number(found.low[unit], 2)} to ${number(found.high[unit], 2)}); class membership explains `
      + `${percent(found.share[unit])} of the variance of its peaks.`) : null,
    barList("Mean peak activation by class", rows.map(([label, mean, images]) => ({ name: label, value: mean,
      text: `mean ${number(mean)}, ${plural(images, "image")}`, href: urls.class(labels.indexOf(label)) }))),
    h("p", { class: "quiet" }, "Peak activation of the unit, averaged over the scanned images of each class, highest first. The selectivity index is "
      + "(a − b) / (a + b), where a is the highest class mean and b the mean of the other class means."),
  ];
}

function examplesPanel(study, layer, state, change) {
  const known = exampleUnits(layer);
  if (!known.length) {
    const why = empty(whyNoExamples(study, layer));
    why.dataset.missing = "examples";
    return why;
  }
  const units = sortUnits(layer, known, state.sort, state.image?.id, "examples");
  let view = viewOf(parseHash(location.hash)?.query);
  const list = h("ul", { class: "example-units" });
  const show = () => fill(list, units.map((unit) => exampleRow(layer, unit, view)));
  show();
  return [
    h("div", { class: "toolbar" },
      viewChoice(view, (next) => {
        view = next;
        show();
      }),
      select("Sort", orders(layer, "examples"), state.sort, (next) => change({ sort: next })),
      sheetButton(() => units.flatMap((unit) => bestExamples(layer, unit, view)), `${layer.name} examples`, EXAMPLES)),
    h("p", { class: "quiet" }, `For ${count(known.length)} of ${plural(layer.units, "unit")}: crops of the images that activate the unit most, of `
      + `${count(layer.scan.images)} scanned. Dark: the activation is below half of its peak.`),
    list,
  ];
}

/** The highest examples of a unit as a row of a saved sheet. */
function bestExamples(layer, unit, view) {
  const rows = (unitExamples(layer, unit).get("top") ?? []).slice(0, EXAMPLES);
  return Array.from({ length: EXAMPLES }, (_, at) => (rows[at] ? { tile: exampleTile(layer, rows[at].i, { view }), name: `${unit}: ${number(rows[at].value)}` }
    : { tile: null, name: "" }));
}

function exampleRow(layer, unit, view) {
  const rows = unitExamples(layer, unit).get("top");
  const address = `${layer.name}:${unit}`;
  return h("li", {}, h("a", { class: "tile example-row", href: urls.unit(layer.name, unit), "data-address": address },
  h("span", { class: "caption" }, h("span", { class: "unit" }, called(address, String(unit))),
    rows[0] ? h("span", { class: "note" }, `up to ${number(rows[0].value)}`) : null),
  hidden(`examples of unit ${unit} of ${layer.name}`),
  h("span", { class: "example-tiles" }, rows.map((row) => exampleTile(layer, row.i, { view })))));
}
