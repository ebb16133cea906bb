/** The data contract of docs/data-contract.md as types, for the checker; nothing here is shipped to a browser. */

/** at : the numbers of the tiles there are, where some were cut out of a larger sheet. */
interface Sheet { files: string[]; tile: [number, number]; columns: number; per_file: number; count: number; at?: number[] }
interface CellMap { width: number; height: number; values: Float32Array }
interface Scale { signed: boolean; limit: number; clipped?: boolean }
/** Shares of the sides of what the network sees. */
interface Box { left: number; top: number; width: number; height: number }
type Position = [number, number];

interface Guess { class: number; label: string; probability: number | null; logit: number }
interface ImageEntry {
  id: string; name: string; width: number; height: number; box: [number, number, number, number]; notes: string[];
  original: { file: string; width: number; height: number }; truth: string | null; prediction: Guess[];
  /** Of an image of the scan that was added: its number there. */
  scanned?: number | null;
}
interface LayerEntry {
  name: string; kind: string; role: string; units: number; grid: [number, number]; parameters: number; document: string | null;
  /** Of a set of concepts: the layer that it reads. */
  reads?: string;
}
interface Study {
  format: number; title: string; created: string; version: string; default_layers: string[]; skipped: string[];
  model: {
    name: string; source: string; parameters: number; labels: string[]; notes: string[]; warnings: string[];
    input: { channels: number; height: number; width: number; mean: number[]; std: number[]; fit: string; crop: number };
  };
  images: ImageEntry[]; seen: Sheet; layers: LayerEntry[]; how: Record<string, string>;
  missing: { what: string; why: string }[]; timing: { what: string; seconds: number | null }[];
  cost?: { [kind: string]: { seconds: number; per: string } }; stamp?: string; start?: string; atlases?: string[];
  methods?: { [name: string]: { title: string; paper: string; when: string } };
}

interface Score {
  activation: number; natural: number; ratio: number | null; held?: number; p999?: number; agreement?: number | null;
  steps?: number; converged?: boolean; flags: string[];
}
interface Drawn { sheet: Sheet; settings: Record<string, unknown>; score: Score[]; growth: { sheet: Sheet; stages: number[] } | null }
interface UnitPatterns extends Drawn {
  units: number[]; others: { sheet: Sheet; each: number } | null;
}
interface Ranked { position?: number; unit: number; score: number; strength: number[]; sparsity: number[]; agreement: number; padding?: boolean; reason: string;
  /** The agreement of every pair of images, (0, 1), (0, 2) .. (1, 2) ..; of few images. */
  pairs?: number[] }
interface Field { size: Position; effective: Position; stride: Position; middle: Position }
interface ScanCounts {
  images: number; dead: number[]; always_active: number[]; active: number[]; positive: number[]; mean: number[]; highest: number[]; p999: number[];
  selectivity: Record<"best" | "index" | "low" | "high" | "share", number[]> | null; classes: [string, number, number][][] | null;
}
/** class : label of the image. of : number of the class that was asked for. image : among `wholes`. box : shares of its sides that the crop shows. */
interface ExampleRow {
  unit: number; band: "top" | "low" | number; value: number; name: string; copies: number; class: string | null; of: number | null;
  image: number; box: [number, number, number, number];
}
interface Ablation { why?: string;
  to: string; unit: string; definition: string; closed: boolean;
  classes: { class: number; label: string; note: string; mean: number[] }[];
  own: Record<string, { class: number; label: string; change: number[] }>;
}
interface Connections {
  definition: string; notes: string[]; links: { direction: "in" | "out"; by: string; layer: string; title: string }[];
  units: number[]; rows: { unit: number; value: number; share: number }[][][];
}
interface LayerDocument {
  /** The units shown, where a report holds some of them. */
  shown?: number[];
  format: number; name: string; kind: string; units: number; grid: [number, number]; prefix: number; signed: boolean;
  activations: Record<string, { sheet: Sheet; lo: number[]; hi: number[]; mean: number[] }>;
  field: Field | null; patterns: UnitPatterns | null; weights: { sheet: Sheet } | null; negatives: UnitPatterns | null;
  compare: { images: string[]; definition: string; rank: Ranked[]; of?: number } | null; scan: ScanCounts | null;
  examples: {
    units: number[]; read: { unit: number; of: number; images: number; total: number }[]; rows: ExampleRow[];
    sheet: Sheet | null; masks: Sheet | null; wholes: Sheet | null; sizes: Position[]; why: string | null;
  } | null;
  ablation: Ablation | null; connections: Connections | null; atlas: Atlas | null;
}
/** row, column, count : of each cell. attribution, share : by cell, for each class of the atlas. examples : places in `Atlas.crops`.
 * concepts : those strongest in the cell's mean vector. */
interface AtlasLevel {
  grid: number; row: number[]; column: number[]; count: number[]; attribution: number[][]; share: number[][]; examples: number[][];
  patterns: Sheet | null; concepts: { set: string; concept: number; value: number }[][];
}
/** names, location : of the crops. trace : by image, the cell of the finest level that each location of the layer's grid is most like. */
interface Atlas {
  images: number; vectors: number; trustworthiness: number; unit: string; layout: string; classes: { number: number; label: string }[];
  levels: AtlasLevel[]; crops: Sheet; names: string[]; location: [number, number][]; notes: string[];
  trace: { [image: string]: { cells: number[][]; cosine: number[][] } };
}

/** stale : written about another state of what the address names. linked : the name comes with the link. */
interface Annotation { address: string; name: string; tags: string[]; note: string; stale: boolean; linked?: boolean }

interface LabelSet {
  layer: string; by: "parts" | "words"; definition: string; images: number;
  rows: { unit: number; label: string; score: number; interval: [number, number] | null; p: number | null }[];
}

interface ConceptClass {
  class: number; label: string; images: number; contribution: { value: number; interval: [number, number] | null };
  removal: { value: number; interval: [number, number] | null; p: number | null };
}
interface ConceptEntry {
  label: { label: string; by: string; score: number; interval: [number, number] | null } | null; classes: ConceptClass[];
  share: number; variance: number; seeds: number; halves: number; units: { unit: number; weight: number }[];
}
/** What the concepts add to the score of the class of an image; the sum of values, rest and missing is the score. */
interface ShownConcepts { class: number; label: string; score: number; rest: number; missing: number; values: number[]; groups: number[] }
interface ConceptSet {
  address: string; layer: string; name: string; kind: string; title: string; unit: string; definition: string; images: number;
  vectors: number; measured: number; covered: number; variance: number; seeds: number; halves: number; own: boolean;
  notes: string[]; skipped: string[]; order: number[]; concepts: ConceptEntry[];
  examples: { rows: { concept: number; name: string; value: number }[]; sheet: Sheet; masks: Sheet } | null;
  shown: Record<string, ShownConcepts>;
}
interface ConceptsDocument { format: number; sets: ConceptSet[] }

interface HeatmapEntry {
  image: string; method: string; layer: { name: string; why: string } | null; sheet: Sheet; lo: number; hi: number;
  target: { class: number; label: string; logit: number; text: string; rival?: number | null; rival_label?: string | null };
  scale: { high: number; clipped: boolean }; unit: string; grid: [number, number]; verdict: string | null; doubt: string | null;
  /** What the score loses without the fifth of the image where the map is highest, and without the same shape elsewhere. */
  removal?: { score: number; lost: number; elsewhere: number; unit: string } | null;
}
interface Heatmaps { format: number; methods: Record<string, { title: string; paper?: string; when?: string }>; entries: HeatmapEntry[] }
interface Trust {
  format: number; sentence: string; note: string; images: number; left_out: string[];
  methods: Record<string, { standing: string; why: string; tests?: [string, "better" | "worse" | "open" | "few"][] }>;
}
/** Shares of the sides of what the network sees: left, top, right, bottom. */
type Region = [number, number, number, number];
interface Finding {
  check: string; class: string | null; number: number | null; sentence: string; confirmed: boolean; fault: boolean; reason: string; next: string;
  effect: { value: number; interval: [number, number] | null; control: number | null; p: number | null; unit: string } | null;
  region: Region | null; images: { name: string; id: string | null }[]; images_total: number;
  proof: { sheet: Sheet; regions: (Region | null)[]; captions: string[] } | null;
}
interface Findings {
  format: number; findings: Finding[]; clean: boolean; images: number; passes: number; budget: string; skipped: string[]; notes: string[];
  checked: { check: string; title: string; done: boolean; sentence: string; limits: string; passes: number }[];
}
/** best : [class, score, probability] of the best classes. class : -1 where it is not known. */
interface ErrorImage {
  number: number; name: string; class: number; best: [number, number, number | null][]; own: number | null; rank: number | null;
  trained: boolean | null;
}
/** effect : in how many pairs a wrong image has more of it than a right one of its class. p : adjusted for all that was tested. */
interface Difference { kind: "unit" | "concept" | "property"; number: number; effect: number; p: number; wrong: number; right: number }
/** why : why there is nothing else. bins : [images, right, mean confidence] of each. pairs : [class, predicted, images], the most frequent
 * first. classes : [class, images, predicted as it, right] over all pairs. strength : by image and concept of `set`, the peak. lost : how many images could not be read again, and why the first. */
interface Errors {
  format: number; why: string | null; rest: number; layer: string | null; set: string | null; properties: string[];
  summary: { images: number; labelled: number; not_finite: number; trained_on: number | null; accuracy: number | null;
    interval: [number, number] | null; calibration_error: number | null };
  bins: [number, number, number | null][]; pairs: [number, number, number][]; predicted: [number, number][];
  classes: [number, number, number, number][];
  images: ErrorImage[]; sheet: Sheet | null; strength: number[][]; lost: [number, string | null];
  differences: { class: number | null; predicted: number | null; wrong: number; right: number; tested: number; rows: Difference[] }[];
}
/** What a link to #/errors selects. from, to : of the confidence, 0 to 1. concept, on : with or without a concept. */
interface ErrorQuery {
  class: number | null; predicted: number | null; right: string | null; from: number | null; to: number | null;
  concept: number | null; on: string | null;
}
interface Classes { format: number; patterns: Drawn & { classes: number[]; labels: string[]; natural: { sheet: Sheet; score: Score[] } | null } }

/**
 * Something a panel shows in one place; `order` is the panel's own where none is given. `heading` is the element of its title. Of a part of
 * the story, or of an image's page: `head` stands above all sections and is none, `href` is where the navigation leads instead of to the section, and
 * `present` whether the navigation and the search have it.
 */
interface Part { present?: (study: any) => boolean; title?: string | null; head?: boolean; href?: string; order?: number; column?: "head" | "left" | "right" | "wide" | "half"; heading?: string; class?: string; show: (...given: any[]) => any }
/** One row of the table of the start page. `done` of `left` + `done` are computed; `cost` seconds where they do not follow from that. */
interface TableRow { title?: string; computed: string | null; missing: string | null; done: number; left: number; cost?: number | null }
/** Where something is missing: the kind of page ("" the start, "l", "i", "c"), the name in its address, and the unit. */
interface Where { page: string; name: string; unit?: string; asked?: string }
interface Offer { text: string; note?: string | null; requests: object[]; cost: [string, number]; requested?: () => void }
/**
 * A panel. document : the key of a document of its own. story, lens, unit, image, class, cell (of an atlas) : what it shows on these pages; below : at
 * their foot, in an app. table : its row on the start page. offer : what could be computed where it is missing; more : where it is not.
 * jobs : the title of a job, by the kind of its request. found : what the search finds of it, besides its section.
 */
/**
 * What `panel` registers. `show` is given, of a story part: {study, layers, documents, query}; of a lens: study, layer, state, change, query; of a cell:
 * study, layer, {at, i}, the places of its level and of itself;
 * of a unit part: study, layer, unit; of an image part: {study, image, layers, documents, query}; of a class part: {study,
 * number, label, layers, documents}.
 */
interface Panel {
  name: string; title: string; order: number; document?: string;
  story?: Part | Part[]; lens?: Part; unit?: Part | Part[]; image?: Part | Part[]; class?: Part | Part[]; cell?: Part | Part[];
  below?: Part;
  table?: (shown: any, times: { each: (kind: string, amount: number) => number | null }) => TableRow;
  offer?: (study: Study, where: Where) => any; more?: (study: Study, where: Where, query: URLSearchParams) => any;
  jobs?: { [kind: string]: (request: any, study: Study) => string };
  found?: (study: Study) => Found[] | Promise<Found[]>;
}
/** What the search finds: `also` are other names for it. */
interface Found { name: string; kind: string; href: string; also?: string[] }

/** What a page's `render` gives; see `register` in router.js. */
interface Page {
  title: string; body: Node; arrive?: () => void; subject?: { layer?: LayerDocument; unit?: number; image?: string; units?: string[]; images?: string[] };
  lens?: { current(): string; change(name: string): void };
}
interface About { lines?: string[]; scale?: Scale | null; unit?: string }
interface Clock { element: HTMLElement; follow(follower: (step: number) => void): void }
interface Tile extends HTMLElement { near: boolean; painter: (canvas: HTMLCanvasElement, width: number) => unknown }
