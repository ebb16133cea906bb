/** Heatmaps over the image in its own colours: lines of equal value, and the most important part alone. */

import { drawImage, pen } from "./sheet.js";

const COARSE = 28; // cells of a side, at most: the lines of finer maps would cross everywhere
const LEVELS = [0.25, 0.5, 0.75];
const SIDE = 384; // pixels of the drawing
const WIDTH = 2;
const ABOVE = "#e0252b";
const BELOW = "#2b62d9";

/** Draw the lines on which a map reaches a quarter, a half and three quarters of its largest value; below 0 in blue. */
export async function drawContours(canvas, { map, scale, seen, index }) {
  await enlarged(canvas, seen, index);
  const cells = coarse(map);
  const limit = cells.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (!(limit > 0)) return;
  const brush = pen(canvas);
  const values = interpolated(cells, canvas.width, canvas.height);
  const levels = scale.signed ? [...LEVELS, ...LEVELS.map((level) => -level)] : LEVELS;
  for (const level of levels) {
    brush.fillStyle = level > 0 ? ABOVE : BELOW;
    brush.globalAlpha = 0.325 + 0.9 * Math.abs(level); // the highest is opaque
    lines(brush, values, canvas.width, canvas.height, level * limit);
  }
  brush.globalAlpha = 1;
}

/** Draw the image, dark where a map is not among its highest `share` of cells. Equal cells stay or go together. */
export async function drawTop(canvas, { map, share, seen, index }) {
  await enlarged(canvas, seen, index);
  const least = threshold(map.values, share);
  const brush = pen(canvas);
  const shade = document.createElement("canvas");
  shade.width = map.width;
  shade.height = map.height;
  const cells = new ImageData(map.width, map.height);
  map.values.forEach((value, i) => cells.data.set([18, 14, 24, value >= least ? 0 : 205], 4 * i));
  pen(shade).putImageData(cells, 0, 0);
  brush.imageSmoothingEnabled = false;
  brush.drawImage(shade, 0, 0, canvas.width, canvas.height);
}

/** The lowest value among the highest `share`; above all values where nothing stands out. */
export function threshold(values, share) {
  const sorted = [...values].sort((a, b) => b - a);
  const least = sorted[Math.max(0, Math.round(share * sorted.length) - 1)];
  return least > sorted[sorted.length - 1] ? least : Infinity;
}

async function enlarged(canvas, seen, index) {
  await drawImage(canvas, seen, index);
  const copy = document.createElement("canvas");
  copy.width = canvas.width;
  copy.height = canvas.height;
  pen(copy).drawImage(canvas, 0, 0);
  const times = Math.max(1, SIDE / Math.max(copy.width, copy.height));
  canvas.width = Math.round(copy.width * times);
  canvas.height = Math.round(copy.height * times);
  pen(canvas).drawImage(copy, 0, 0, canvas.width, canvas.height);
}

/** The means of a map's cells on a grid of at most `COARSE` cells a side. */
function coarse({ width, height, values }) {
  const [columns, rows] = [Math.min(width, COARSE), Math.min(height, COARSE)];
  const sums = new Float64Array(columns * rows);
  const counts = new Float64Array(columns * rows);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width);
      sums[at] += values[y * width + x];
      counts[at]++;
    }
  }
  return { width: columns, height: rows, values: sums.map((sum, i) => sum / counts[i]) };
}

/** A map bilinearly at another size. */
function interpolated({ width, height, values }, wide, high) {
  const found = new Float32Array(wide * high);
  const along = (at, size, cells) => {
    const place = Math.max(0, Math.min(cells - 1, ((at + 0.5) * cells) / size - 0.5));
    const first = Math.min(cells - 1, Math.floor(place));
    return [first, Math.min(cells - 1, first + 1), place - first];
  };
  for (let y = 0; y < high; y++) {
    const [top, bottom, down] = along(y, high, height);
    for (let x = 0; x < wide; x++) {
      const [left, right, over] = along(x, wide, width);
      const row = (at) => values[at * width + left] * (1 - over) + values[at * width + right] * over;
      found[y * wide + x] = row(top) * (1 - down) + row(bottom) * down;
    }
  }
  return found;
}

function lines(brush, values, wide, high, level) {
  for (let y = 0; y + 1 < high; y++) {
    for (let x = 0; x + 1 < wide; x++) {
      const here = values[y * wide + x] >= level;
      if (here !== values[y * wide + x + 1] >= level || here !== values[(y + 1) * wide + x] >= level) brush.fillRect(x, y, WIDTH, WIDTH);
    }
  }
}
