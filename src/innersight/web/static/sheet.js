/** Sheets: where a tile lies, its values, and how it gets onto a canvas. */

import { colourise } from "./colour.js";
import { decodeGrey } from "./png.js";
import { getFile } from "./source.js";

const KEPT = 12; // decoded sheets; the largest take 64 MB each

const images = cache(async (name) => createImageBitmap(await getFile(name)));
const greys = cache(async (name) => decodeGrey(new Uint8Array(await (await getFile(name)).arrayBuffer())));

/**
 * Where tile `i` lies.
 * @param {Sheet} sheet
 * @param {number} i
 */
function locate(sheet, i) {
  const [width, height] = sheet.tile;
  if (sheet.at) i = sheet.at.indexOf(i);
  const position = i % sheet.per_file;
  const x = (position % sheet.columns) * width;
  const y = Math.floor(position / sheet.columns) * height;
  return { file: sheet.files[Math.floor(i / sheet.per_file)], x, y, width, height };
}

/**
 * The image that tile `i` of a colour sheet lies in, and where.
 * @param {Sheet} sheet
 * @param {number} i
 */
export async function imageOf(sheet, i) {
  const { file, ...box } = locate(sheet, i);
  return { image: await images(file), ...box };
}

/**
 * Return the map of tile `i` of a value sheet.
 * @param {Sheet} sheet
 * @param {number} i
 * @param {number} lo
 * @param {number} hi
 * @returns {Promise<CellMap>}
 */
export async function readMap(sheet, i, lo, hi) {
  const { file, x, y, width, height } = locate(sheet, i);
  const grey = await greys(file);
  const values = new Float32Array(width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const level = grey.data[(y + row) * grey.width + x + column];
      values[row * width + column] = lo + ((hi - lo) * level) / 255;
    }
  }
  return { width, height, values };
}

/** What draws on a canvas. */
export function pen(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/** Draw tile `i` of a colour sheet over the whole canvas. */
export async function drawImage(canvas, sheet, i) {
  const { file, x, y, width, height } = locate(sheet, i);
  const image = await images(file);
  canvas.width = width;
  canvas.height = height;
  pen(canvas).drawImage(image, x, y, width, height, 0, 0, width, height);
}

/** Draw the upper left [width, height] of tile `i` of a colour sheet, with a frame around the shares [left, top, right, bottom] of it. */
export async function drawFramed(canvas, sheet, i, [width, height], [left, top, right, bottom]) {
  const { file, x, y } = locate(sheet, i);
  const image = await images(file);
  canvas.width = width;
  canvas.height = height;
  const brush = pen(canvas);
  brush.drawImage(image, x, y, width, height, 0, 0, width, height);
  for (const [colour, line] of /** @type {[string, number][]} */ ([["#000c", 4], ["#fff", 2]])) {
    brush.strokeStyle = colour;
    brush.lineWidth = line;
    brush.strokeRect(left * width + 2, top * height + 2, Math.max(1, (right - left) * width - 4), Math.max(1, (bottom - top) * height - 4));
  }
}

/** Draw a map, one pixel per cell. */
export function drawMap(canvas, map, scale) {
  canvas.width = map.width;
  canvas.height = map.height;
  pen(canvas).putImageData(colourise(map, scale), 0, 0);
}

/** Draw tile `i` of a colour sheet, dark where its mask of the sheet `masks` is below half of its peak. */
export async function drawMasked(canvas, sheet, masks, i) {
  const mask = await readMap(masks, i, 0, 1);
  await drawImage(canvas, sheet, i);
  const shade = new ImageData(mask.width, mask.height);
  mask.values.forEach((value, at) => {
    shade.data[4 * at + 3] = 178 * (1 - Math.min(1, value / 0.5));
  });
  pen(canvas).drawImage(asCanvas(shade), 0, 0, canvas.width, canvas.height);
}

/** Draw a map over the greyed image the network saw, `room` CSS pixels wide; near 0 the image shows through. */
export async function drawOverlay(canvas, room, { map, scale, seen, index, opacity = 0.9, smooth = false }) {
  await drawCells(canvas, room, { cells: colourise(map, scale, opacity), seen, index, smooth });
}

/** Draw coloured cells over the greyed image the network saw; `pale` lightens it, so that their colours are told apart. */
export async function drawCells(canvas, room, { cells, seen, index, pale = false, smooth = false }) {
  const { file, x, y, width, height } = locate(seen, index);
  const image = await images(file);
  const side = Math.max(96, Math.min(768, room * Math.min(2, devicePixelRatio)));
  canvas.width = Math.round(side);
  canvas.height = Math.round((side * height) / width);
  const brush = pen(canvas);
  brush.drawImage(image, x, y, width, height, 0, 0, canvas.width, canvas.height);
  brush.globalCompositeOperation = "saturation";
  brush.fillStyle = "#808080";
  brush.fillRect(0, 0, canvas.width, canvas.height);
  brush.globalCompositeOperation = "source-over";
  if (pale) {
    brush.fillStyle = "rgb(255 255 255 / 35%)";
    brush.fillRect(0, 0, canvas.width, canvas.height);
  }
  brush.imageSmoothingEnabled = smooth;
  brush.drawImage(asCanvas(cells), 0, 0, canvas.width, canvas.height);
}

function asCanvas(cells) {
  const canvas = document.createElement("canvas");
  canvas.width = cells.width;
  canvas.height = cells.height;
  pen(canvas).putImageData(cells, 0, 0);
  return canvas;
}

/** Remember what `decode` returned for the names asked for last. */
function cache(decode) {
  const kept = new Map();
  return (name) => {
    const found = kept.get(name) ?? decode(name);
    kept.delete(name);
    kept.set(name, found);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    return found;
  };
}
