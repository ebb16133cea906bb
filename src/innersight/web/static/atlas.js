/** The map of an atlas on a canvas: its cells as patterns or crops, faded or coloured by classes, and a trace over it. */

import { imageOf, pen } from "./sheet.js";

const ROOM = 26; // CSS pixels that a cell needs for its level to be shown
const FADED = 0.1; // of a cell that counts nothing for the class
const SMALLEST = 0.35; // side of the cell with the fewest vectors, where sizes show the density
const SHARE = 0.98; // of the cells whose attribution the scale covers

/**
 * What a map shows.
 * @typedef {{crops: boolean, density: boolean, target: number, versus: number, trace: string | null}} AtlasView
 */

/**
 * The level that fits: the finest whose cells have room; with patterns, of those that are drawn.
 * @param {Atlas} atlas
 * @param {number} side CSS pixels of the whole map
 * @param {boolean} crops
 */
export function levelFor(atlas, side, crops) {
  const known = atlas.levels.map((_, i) => i).filter((i) => crops || atlas.levels[i].patterns);
  return known.filter((i) => side / atlas.levels[i].grid >= ROOM).at(-1) ?? known[0] ?? 0;
}

/** Whether any level is drawn as patterns. */
export function hasPatterns(atlas) {
  return atlas.levels.some(({ patterns }) => patterns);
}

/** The cell of a level at (x, y) in the unit square; -1 where no vector lies. */
export function cellAt(level, x, y) {
  return cellIn(level, Math.floor(y * level.grid), Math.floor(x * level.grid));
}

/** The cell at a row and column. */
export function cellIn(level, row, column) {
  let known = placed.get(level);
  if (!known) {
    known = new Map(level.row.map((own, i) => [own * level.grid + level.column[i], i]));
    placed.set(level, known);
  }
  return column < 0 || column >= level.grid ? -1 : (known.get(row * level.grid + column) ?? -1);
}

const placed = new WeakMap();

/**
 * What a level's cells count for a class, or for one class less another, and the end of the scale.
 * @param {AtlasLevel} level
 * @param {number} target place of the class among those of the atlas, -1 for none
 * @param {number} versus the same, of the class it is compared with
 */
export function valuesOf(level, target, versus) {
  if (target < 0) return null;
  const values = level.attribution.map((row) => row[target] - (versus < 0 ? 0 : row[versus]));
  const sizes = values.map(Math.abs).sort((a, b) => a - b);
  const limit = sizes[Math.ceil(SHARE * (sizes.length - 1))] || sizes.at(-1) || 1;
  return { values, limit };
}

/** Load what a level is drawn from: for each cell {image, x, y, width, height}. */
export async function tilesOf(atlas, at, crops) {
  const level = atlas.levels[at];
  const drawn = !crops && level.patterns;
  return Promise.all(level.row.map((_, i) => (drawn ? imageOf(level.patterns, i) : imageOf(atlas.crops, level.examples[i][0]))));
}

/**
 * Draw a level. `box` is where the unit square lies, in pixels of the canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {Atlas} atlas
 * @param {{at: number, tiles: any[], box: {left: number, top: number, side: number}, view: AtlasView}} what
 */
export function paint(canvas, atlas, { at, tiles, box, view }) {
  const brush = pen(canvas);
  const level = atlas.levels[at];
  const style = getComputedStyle(canvas);
  const [paper, ...colours] = ["--paper", "--s0", "--s1"].map((name) => resolved(canvas, style, name));
  const found = valuesOf(level, view.target, view.versus);
  const side = box.side / level.grid;
  const most = view.density ? [...level.count].sort((a, b) => a - b)[Math.floor(0.95 * (level.count.length - 1))] : 1;
  brush.clearRect(0, 0, canvas.width, canvas.height);
  brush.imageSmoothingQuality = "high";
  for (let i = 0; i < level.row.length; i++) {
    const share = view.density ? Math.max(SMALLEST, Math.min(1, Math.sqrt(level.count[i] / most))) : 1;
    const left = box.left + (level.column[i] + (1 - share) / 2) * side;
    const top = box.top + (level.row[i] + (1 - share) / 2) * side;
    const size = share * side;
    if (left > canvas.width || top > canvas.height || left + size < 0 || top + size < 0) continue;
    // To whole pixels: between two neighbours nothing of the paper shines through.
    const [x, y] = [Math.round(left), Math.round(top)];
    const [width, height] = [Math.round(left + size) - x, Math.round(top + size) - y];
    const tile = tiles[i];
    brush.drawImage(tile.image, tile.x, tile.y, tile.width, tile.height, x, y, width, height);
    if (!found) continue;
    const value = Math.max(-1, Math.min(1, found.values[i] / found.limit));
    const strength = FADED + (1 - FADED) * (view.versus < 0 ? Math.max(0, value) : Math.abs(value));
    if (view.versus >= 0) veil(brush, colours[value > 0 ? 0 : 1], "color", 0.85, x, y, width, height);
    veil(brush, paper, "source-over", 1 - strength, x, y, width, height);
  }
  const trace = view.trace === null ? null : atlas.trace[view.trace];
  if (trace) dots(brush, atlas, trace, box, colours[0], paper);
}

function veil(brush, colour, how, alpha, x, y, width, height) {
  brush.save();
  brush.globalCompositeOperation = how;
  brush.globalAlpha = alpha;
  brush.fillStyle = colour;
  brush.fillRect(x, y, width, height);
  brush.restore();
}

/** A dot in every cell that the locations of an image lie in, as large as there are many. */
function dots(brush, atlas, trace, box, colour, paper) {
  const level = atlas.levels[atlas.levels.length - 1];
  const counts = new Map();
  for (const cell of trace.cells.flat()) counts.set(cell, (counts.get(cell) ?? 0) + 1);
  const side = box.side / level.grid;
  veil(brush, paper, "source-over", 0.55, 0, 0, brush.canvas.width, brush.canvas.height);
  for (const [cell, count] of counts) {
    const x = box.left + (level.column[cell] + 0.5) * side;
    const y = box.top + (level.row[cell] + 0.5) * side;
    brush.beginPath();
    brush.arc(x, y, Math.max(3, side * Math.min(1.4, 0.3 + 0.22 * Math.sqrt(count))), 0, 2 * Math.PI);
    brush.fillStyle = colour;
    brush.globalAlpha = 0.85;
    brush.fill();
    brush.globalAlpha = 1;
    brush.lineWidth = Math.max(1, side / 14);
    brush.strokeStyle = paper;
    brush.stroke();
  }
}

/** A colour of the style sheet as a canvas takes it: `light-dark()` is resolved by a property only. */
function resolved(canvas, style, name) {
  const before = canvas.style.color;
  canvas.style.color = `var(${name})`;
  const colour = style.color;
  canvas.style.color = before;
  return colour;
}

/** A small map that does not move, for a canvas of `room` CSS pixels. */
export async function still(canvas, atlas, room, view) {
  const crops = view.crops || !hasPatterns(atlas);
  const at = levelFor(atlas, Math.max(room, 1.4 * ROOM * atlas.levels[0].grid), crops);
  const tiles = await tilesOf(atlas, at, crops);
  canvas.width = canvas.height = Math.round(room * Math.min(2, devicePixelRatio));
  paint(canvas, atlas, { at, tiles, box: { left: 0, top: 0, side: canvas.width }, view });
}

export const PLAIN = { crops: false, density: false, target: -1, versus: -1, trace: /** @type {string | null} */ (null) };
