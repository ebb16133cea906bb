/** #/atlas/LAYER?class=NAME&minus=NAME&view=crops&cell=20:5,7&trace=IMAGE: the map of a layer, to move about in. */

import { PLAIN, cellAt, cellIn, hasPatterns, levelFor, paint, tilesOf, valuesOf } from "../atlas.js";
import { barList } from "../bars.js";
import { choice, empty, fill, h, hidden, select } from "../dom.js";
import { count, number, percent, plural, signed } from "../format.js";
import { imageTile, seenTile } from "../layer.js";
import { partsOf } from "../panel.js";
import { about } from "../panels/atlas.js";
import { register, setQuery } from "../router.js";
import { sheetButton } from "../save.js";
import { classNumber, loadLayer, missing, urls } from "../study.js";
import { unknownLayer } from "./layer.js";

const CLOSEST = 8;
const STEP = 1.35;
const BARS = 6;

register("/atlas/:layer", async ({ study, params, query, signal }) => {
  const layer = await loadLayer(study, params.layer);
  if (!layer) return unknownLayer(study, params.layer);
  if (!layer.atlas) return withoutAtlas(study, layer);
  const { atlas } = layer;
  const state = {
    ...PLAIN,
    crops: query.get("view") === "crops" || !hasPatterns(atlas),
    density: query.get("density") === "1",
    target: placeOf(study, atlas, query.get("class")),
    versus: placeOf(study, atlas, query.get("minus")),
    trace: atlas.trace[query.get("trace") ?? ""] ? query.get("trace") : null,
    cell: cellNamed(atlas, query.get("cell")),
  };
  const map = moving(study, layer, state, signal);
  return { title: `Atlas of ${layer.name}`, subject: { layer }, arrive: map.arrive,
    body: h("section", { class: "page atlas-page" }, head(study, layer), map.element) };
});

function withoutAtlas(study, layer) {
  const known = (study.atlases ?? []).map((name) => h("p", {}, h("a", { class: "button", href: urls.atlas(name) }, `Atlas of ${name}`)));
  return { title: "Atlas", subject: { layer }, body: h("section", { class: "page" },
    h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Atlas"), h("h1", {}, layer.name)),
    known.length ? [empty("This layer has no atlas."), known] : missing(study, "atlas", `No atlas was made. Run \`innersight atlas MODEL FOLDER --layer ${layer.name} --out STUDY\`.`)) };
}

function head(study, layer) {
  const names = study.atlases ?? [];
  return h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Atlas"),
    h("div", { class: "title-row" }, h("h1", {}, layer.name), names.length > 1
      ? h("nav", { class: "steps", "aria-label": "Layers with an atlas" }, select("Layer", names.map((name) => [name, name]), layer.name, (name) => {
        const query = new URLSearchParams(location.hash.split("?")[1] ?? "");
        location.hash = urls.atlas(name, { trace: query.get("trace"), class: query.get("class"), minus: query.get("minus"), view: query.get("view") });
      })) : null),
    h("p", { class: "lead" }, about(layer)));
}

/** The place of a class among those of the atlas, by number or label; -1 for none. */
function placeOf(study, atlas, name) {
  return name === null ? -1 : atlas.classes.findIndex((own) => own.number === classNumber(study, name));
}

/** {at, i} of a cell written GRID:ROW,COLUMN. */
function cellNamed(atlas, text) {
  const [grid, row, column] = (text ?? "").split(/[:,]/).map(Number);
  const at = atlas.levels.findIndex((level) => level.grid === grid);
  const i = at < 0 ? -1 : cellIn(atlas.levels[at], row, column);
  return i < 0 ? null : { at, i };
}

/** The map with its controls and the card of the cell chosen. */
function moving(study, layer, state, signal) {
  const { atlas } = layer;
  const canvas = h("canvas", { class: "atlas-map", tabindex: "0", role: "application", "aria-roledescription": "map",
    "aria-label": `Atlas of ${layer.name}: arrow keys move from cell to cell, + and − zoom, 0 shows all of it` });
  const marker = h("div", { class: "atlas-marker", hidden: true, "aria-hidden": "true" });
  const under = h("div", { class: "atlas-marker hover", hidden: true, "aria-hidden": "true" });
  const frame = h("div", { class: "atlas-frame" }, canvas, under, marker);
  const card = h("div", { class: "atlas-card", "aria-live": "polite" });
  const scale = h("p", { class: "quiet atlas-scale" });
  const look = { x: 0, y: 0, zoom: 1 }; // the corner of the unit square at the upper left, and how much closer
  let room = 0;
  let at = 0;
  let tiles = /** @type {any[]} */ ([]);
  let loading = "";
  let scheduled = false;

  function redraw() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(draw);
  }

  /** Load the tiles of a level; until they are there the map shows those it had. */
  async function load(next, crops) {
    const wanted = `${next} ${crops}`;
    if (loading === wanted) return;
    loading = wanted;
    const found = await tilesOf(atlas, next, crops);
    if (loading !== wanted) return;
    [at, tiles] = [next, found];
    redraw();
  }

  function draw() {
    scheduled = false;
    if (!canvas.isConnected) return;
    room = canvas.clientWidth;
    const dense = Math.min(2, devicePixelRatio);
    load(levelFor(atlas, room * look.zoom, state.crops), state.crops);
    if (!tiles.length) return;
    const side = Math.round(room * dense);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    paint(canvas, atlas, { at, tiles, view: state, box: { left: -look.x * look.zoom * side, top: -look.y * look.zoom * side, side: side * look.zoom } });
    mark(marker, state.cell);
    canvas.dataset.level = String(atlas.levels[at].grid);
    // A finger scrolls the page while all of the map is in view.
    canvas.style.touchAction = look.zoom > 1 ? "none" : "pan-y";
    legend();
  }

  function mark(box, cell) {
    box.hidden = !cell;
    if (!cell) return;
    const { grid, row, column } = atlas.levels[cell.at];
    const side = (room * look.zoom) / grid;
    box.style.setProperty("transform", `translate(${(column[cell.i] / grid - look.x) * room * look.zoom}px, ${(row[cell.i] / grid - look.y) * room * look.zoom}px)`);
    box.style.setProperty("width", `${side}px`);
    box.style.setProperty("height", `${side}px`);
  }

  function legend() {
    const level = atlas.levels[at];
    const found = valuesOf(level, state.target, state.versus);
    const cells = `${count(level.row.length)} cells on a grid of ${level.grid} × ${level.grid}`;
    const counts = state.density ? "; the larger a cell, the more vectors it holds" : "";
    if (!found) fill(scale, cells, counts);
    else if (state.versus < 0) fill(scale, `${cells}${counts}. Full: a vector counts ${number(found.limit, 2)} ${atlas.unit} or more for ${atlas.classes[state.target].label}; faded: nothing, or less.`);
    else fill(scale, `${cells}${counts}. `, h("span", { class: "key" }, `for ${atlas.classes[state.target].label}`), ", ",
      h("span", { class: "key s1" }, `for ${atlas.classes[state.versus].label}`), `, full at ${number(found.limit, 2)} ${atlas.unit} difference for each vector.`);
  }

  /** Zoom by a factor about a point of the map, in shares of its sides. */
  function zoom(factor, px = 0.5, py = 0.5) {
    const next = Math.max(1, Math.min(CLOSEST, look.zoom * factor));
    look.x += px / look.zoom - px / next;
    look.y += py / look.zoom - py / next;
    look.zoom = next;
    keepInside();
  }

  function keepInside() {
    const most = 1 - 1 / look.zoom;
    look.x = Math.max(0, Math.min(most, look.x));
    look.y = Math.max(0, Math.min(most, look.y));
    redraw();
  }

  function pointed(event) {
    const box = canvas.getBoundingClientRect();
    const [px, py] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return { px, py, i: cellAt(atlas.levels[at], look.x + px / look.zoom, look.y + py / look.zoom) };
  }

  function open(cell, reveal = false) {
    state.cell = cell;
    if (cell && reveal) {
      const { grid, row, column } = atlas.levels[cell.at];
      const [x, y, span] = [column[cell.i] / grid, row[cell.i] / grid, 1 / look.zoom];
      if (x < look.x || x + 1 / grid > look.x + span) look.x = x + 0.5 / grid - span / 2;
      if (y < look.y || y + 1 / grid > look.y + span) look.y = y + 0.5 / grid - span / 2;
      keepInside();
    }
    fill(card, cell ? cellCard(study, layer, cell) : intro(study, layer, state));
    store();
    mark(marker, cell);
  }

  function store() {
    const { cell } = state;
    const level = cell && atlas.levels[cell.at];
    setQuery({ view: state.crops && hasPatterns(atlas) ? "crops" : null, density: state.density ? "1" : null,
      class: atlas.classes[state.target]?.label ?? null, minus: atlas.classes[state.versus]?.label ?? null, trace: state.trace,
      cell: level ? `${level.grid}:${level.row[cell.i]},${level.column[cell.i]}` : null });
  }

  function change(changes) {
    Object.assign(state, changes);
    if (state.target < 0) state.versus = -1;
    fill(bar, ...controls(study, atlas, state, change));
    if (!state.cell) open(null);
    store();
    redraw();
  }

  const bar = h("div", { class: "toolbar" }, controls(study, atlas, state, change));
  hands(canvas, { zoom, pointed, look, keepInside, room: () => room,
    hover: (i) => mark(under, i < 0 ? null : { at, i }),
    click: (i) => open(i < 0 ? null : { at, i }) });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step) open(beside(atlas.levels, at, state.cell, step), true);
    else if (event.key === "+" || event.key === "=") zoom(STEP);
    else if (event.key === "-") zoom(1 / STEP);
    else if (event.key === "0") zoom(0);
    else if (event.key === "Escape" && state.cell) open(null);
    else return;
    event.preventDefault();
  });
  const watching = new ResizeObserver(redraw);
  watching.observe(canvas);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw, { signal });
  const themed = new MutationObserver(redraw);
  themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  signal.addEventListener("abort", () => {
    watching.disconnect();
    themed.disconnect();
  });
  const zooms = h("div", { class: "atlas-zoom" },
    [["+", "Closer", () => zoom(STEP)], ["−", "Farther", () => zoom(1 / STEP)], ["⤢", "All of it", () => zoom(0)]].map(([text, label, run]) =>
      h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: run }, text)));
  frame.append(zooms);
  open(state.cell, true);
  return { arrive: redraw, element: [bar, h("div", { class: "atlas-layout" }, h("div", {}, frame, scale), card)] };
}

function controls(study, atlas, state, change) {
  const classes = atlas.classes.map(({ label }, i) => [String(i), label]);
  const images = study.images.filter(({ id }) => atlas.trace[id]);
  return [
    hasPatterns(atlas) ? choice("Cells", [["patterns", "Patterns"], ["crops", "Crops"]], state.crops ? "crops" : "patterns", (view) => change({ crops: view === "crops" })) : null,
    choice("Size of the cells", [["0", "Equal"], ["1", "Density"]], state.density ? "1" : "0", (value) => change({ density: value === "1" })),
    select("Class", [["-1", "all"], ...classes], String(state.target), (value) => change({ target: Number(value) })),
    state.target >= 0 ? select("less", [["-1", "nothing"], ...classes.filter(([value]) => Number(value) !== state.target)], String(state.versus),
      (value) => change({ versus: Number(value) })) : null,
    images.length ? select("Trace", [["", "no image"], ...images.map(({ id, name }) => [id, name])], state.trace ?? "", (id) => change({ trace: id || null })) : null,
  ];
}

/** The cell one step on, over gaps; where the one chosen is of another level, the nearest; in the middle where there is none. */
function beside(levels, at, cell, [down, right]) {
  const level = levels[at];
  if (!cell) return { at, i: cellNear(level, level.grid / 2, level.grid / 2) };
  if (cell.at === at) return { at, i: stepped(level, cell.i, down, right) };
  const { grid, row, column } = levels[cell.at];
  return { at, i: cellNear(level, ((row[cell.i] + 0.5) * level.grid) / grid, ((column[cell.i] + 0.5) * level.grid) / grid) };
}

function stepped(level, i, down, right) {
  for (let [row, column] = [level.row[i] + down, level.column[i] + right]; row >= 0 && row < level.grid && column >= 0 && column < level.grid;
    row += down, column += right) {
    const found = cellIn(level, row, column);
    if (found >= 0) return found;
  }
  return i;
}

function cellNear(level, row, column) {
  const far = level.row.map((own, i) => Math.hypot(own + 0.5 - row, level.column[i] + 0.5 - column));
  return far.indexOf(Math.min(...far));
}

/** Mouse, touch and wheel: drag to pan, two fingers or the wheel to zoom, a click to open a cell. */
function hands(canvas, { zoom, pointed, look, keepInside, room, hover, click }) {
  const down = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
    if (down.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) {
      hover(pointed(event).i);
      return;
    }
    hover(-1);
    const others = [...down.values()].filter((other) => other.pointerId !== event.pointerId);
    if (others.length) {
      const apart = (own) => Math.hypot(own.clientX - others[0].clientX, own.clientY - others[0].clientY);
      const { px, py } = pointed({ clientX: (event.clientX + others[0].clientX) / 2, clientY: (event.clientY + others[0].clientY) / 2 });
      zoom(apart(event) / Math.max(1, apart(before)), px, py);
      moved = Infinity;
    } else {
      const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
      moved += Math.abs(dx) + Math.abs(dy);
      look.x -= dx / room() / look.zoom;
      look.y -= dy / room() / look.zoom;
      keepInside();
    }
    down.set(event.pointerId, event);
  });
  const up = (event) => {
    if (down.delete(event.pointerId) && event.type === "pointerup" && moved < 5) click(pointed(event).i);
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("wheel", (event) => {
    // The page scrolls over a map that nobody has turned to.
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    const { px, py } = pointed(event);
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), px, py);
  }, { passive: false });
}

/** What stands beside the map while no cell is chosen: how to read it, and the image traced. */
function intro(study, layer, state) {
  const { atlas } = layer;
  const image = state.trace && study.images.find(({ id }) => id === state.trace);
  return [
    image ? [h("h2", {}, "Traced"), seenTile(study, image.id, image.name), h("p", { class: "quiet" },
      `${image.name}: each dot is a cell that some of its ${atlas.trace[image.id].cells.flat().length} locations are most like.`)] : null,
    h("h2", {}, "How to read it"),
    h("p", { class: "quiet" }, "Neighbours are what the layer finds alike. A pattern shows what a cell's vectors have and the layer's other vectors have not; "
      + "a crop shows a part of an image that a vector of the cell comes from."),
    h("p", { class: "quiet" }, "Choose a class to see which cells speak for it, and a second one to see what tells the two apart. Choose a cell to see its images."),
    atlas.notes.map((note) => h("p", { class: "quiet" }, `${note}.`)),
  ];
}

function cellCard(study, layer, { at, i }) {
  const { atlas } = layer;
  const level = atlas.levels[at];
  const where = `Row ${level.row[i] + 1}, column ${level.column[i] + 1}`;
  const ranked = atlas.classes.map((own, k) => ({ own, value: level.attribution[i][k], share: level.share[i][k] }));
  const forms = ranked.toSorted((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, BARS).map(({ own, value }) => (
    { name: own.label, value, text: signed(value, 2), href: urls.class(own.number) }));
  const from = ranked.filter(({ share }) => share > 0).toSorted((a, b) => b.share - a.share).slice(0, BARS).map(({ own, share }) => (
    { name: own.label, value: share, text: percent(share), href: urls.class(own.number) }));
  const crop = (k) => imageTile(atlas.crops, k, `part of ${atlas.names[k]}`);
  return [
    h("p", { class: "kicker" }, `Cell of ${level.grid} × ${level.grid}`),
    h("div", { class: "title-row" }, h("h2", {}, where), sheetButton(() => level.examples[i].map((k) => ({ tile: crop(k), name: atlas.names[k] })), `${layer.name} atlas cell`)),
    h("p", { class: "quiet" }, `${plural(level.count[i], "vector")} of ${count(atlas.vectors)}`),
    level.patterns ? h("div", { class: "atlas-pattern" }, imageTile(level.patterns, i, `pattern of this cell`)) : null,
    h("h3", {}, "Images"),
    h("ul", { class: "atlas-crops" }, level.examples[i].map((k) => h("li", { title: atlas.names[k] }, crop(k), hidden(atlas.names[k])))),
    forms.length ? [h("h3", {}, "What a vector counts for each class"), barList(`Attribution in ${atlas.unit}`, forms),
      h("p", { class: "quiet" }, `Gradient × activation, in ${atlas.unit}.`)] : null,
    from.length ? [h("h3", {}, "What its images are predicted as"), barList("Share of the vectors", from)] : null,
    partsOf("cell").map((part) => {
      const body = part.show(study, layer, { at, i });
      return body && [part.title ? h("h3", {}, part.title) : null, body];
    }),
  ];
}
