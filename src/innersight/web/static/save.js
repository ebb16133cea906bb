/** Save a figure as a file: canvases as PNG, charts as SVG. */

import { colourise } from "./colour.js";
import { h } from "./dom.js";
import { signed } from "./format.js";

const MIN_SIDE = 640; // pixels of a saved map's longer side
const CELL = 128; // pixels of a saved tile's width
const LINE = 20; // and of the line below it
const GAP = 8;
const MAX_TILES = 600; // tiles of a saved sheet
const STYLES = ["fill", "stroke", "stroke-width", "stroke-linejoin", "stroke-linecap", "stroke-dasharray", "font",
  "text-anchor", "visibility", "opacity"];

/**
 * A button that saves what `find()` gives: a canvas or an <svg>. Below a canvas stand the `lines` that say what it shows, and its scale.
 * @param {() => any} find
 * @param {string} name
 * @param {About | (() => About)} about
 */
export function saveButton(find, name, about = {}) {
  const kind = () => (find() instanceof SVGElement ? "SVG" : "PNG");
  return h("button", { class: "save", type: "button", "aria-label": `Save ${name} as an image`, title: "Save as an image",
    onclick: async () => {
      const source = find();
      if (source) download(kind() === "SVG" ? svgFile(source) : await pngFile(source, { lines: [name], ...(typeof about === "function" ? about() : about) }), `${fileName(name)}.${kind().toLowerCase()}`);
    } }, "↓");
}

/**
 * A button that saves many tiles as one image. `cells()` gives [{tile, name}] row by row, without a tile where
 * there is none; of very many the first are saved, and the file's name says how many.
 * @param {() => {tile: any, name: string}[]} cells
 * @param {string} name
 * @param {number | null} columns
 */
export function sheetButton(cells, name, columns = null) {
  const button = h("button", { class: "button", type: "button", onclick: async () => {
    button.disabled = true;
    try {
      const all = cells();
      const shown = all.slice(0, MAX_TILES);
      const file = fileName(shown.length < all.length ? `${name} first ${MAX_TILES}` : name);
      download(await sheetFile(shown, columns ?? Math.ceil(Math.sqrt(shown.length * 1.6))), `${file}.png`);
    } finally {
      button.disabled = false;
    }
  } }, "Save as PNG");
  return button;
}

/** Tiles of one width on one canvas, in the page's colours, each with its name below. */
async function sheetFile(cells, columns) {
  const canvases = [];
  for (const { tile } of cells) canvases.push(tile ? await tile.drawn(CELL) : null);
  const heights = canvases.map((canvas) => (canvas ? Math.round((CELL * canvas.height) / canvas.width) : 0));
  const height = Math.max(...heights, CELL / 2) + LINE;
  const sheet = h("canvas", { width: columns * (CELL + GAP) + GAP, height: Math.ceil(cells.length / columns) * (height + GAP) + GAP });
  const pen = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
  const { backgroundColor, color, fontFamily } = getComputedStyle(document.body);
  pen.fillStyle = backgroundColor;
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.fillStyle = color;
  pen.font = `${LINE - 6}px ${fontFamily}`;
  cells.forEach(({ tile, name }, i) => {
    const x = GAP + (i % columns) * (CELL + GAP);
    const y = GAP + Math.floor(i / columns) * (height + GAP);
    pen.imageSmoothingEnabled = !tile?.classList.contains("crisp");
    if (canvases[i]) pen.drawImage(canvases[i], x, y, CELL, heights[i]);
    pen.fillText(clipped(pen, name), x, y + height - 5, CELL);
  });
  return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
}

function clipped(pen, text) {
  if (pen.measureText(text).width <= CELL) return text;
  let length = text.length;
  while (length > 1 && pen.measureText(`${text.slice(0, length)}…`).width > CELL) length--;
  return `${text.slice(0, length)}…`;
}

/** Save a file. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * The canvas as it is shown, the cells of a small map square, and below it what it is and its colour bar.
 * @param {HTMLCanvasElement} canvas
 * @param {{lines: string[], scale?: Scale | null, unit?: string}} about
 */
function pngFile(canvas, { lines, scale = null, unit = "" }) {
  const times = Math.max(1, Math.ceil(MIN_SIDE / Math.max(canvas.width, canvas.height)));
  const [width, height] = [canvas.width * times, canvas.height * times];
  const text = Math.max(14, Math.round(width / 40));
  const row = Math.round(1.5 * text);
  const bar = scale && scale.limit > 0 ? 2.2 * row : 0;
  const large = h("canvas", { width, height: Math.round(height + row * (lines.length + 0.6) + bar) });
  const brush = /** @type {CanvasRenderingContext2D} */ (large.getContext("2d"));
  const { backgroundColor, color, fontFamily } = getComputedStyle(document.body);
  brush.fillStyle = backgroundColor;
  brush.fillRect(0, 0, large.width, large.height);
  brush.imageSmoothingEnabled = getComputedStyle(canvas).imageRendering !== "pixelated";
  brush.drawImage(canvas, 0, 0, width, height);
  brush.fillStyle = color;
  lines.forEach((line, i) => {
    brush.font = `${i ? "" : "600 "}${text}px ${fontFamily}`;
    brush.fillText(line, text / 2, height + row * (i + 1), width - text);
  });
  if (bar) drawBar(brush, scale, unit, { left: text / 2, top: height + row * (lines.length + 0.5), width: width - text, row });
  return new Promise((resolve) => large.toBlob(resolve, "image/png"));
}

/** The colour bar with its ends and the unit of the values. */
function drawBar(brush, scale, unit, { left, top, width, row }) {
  const steps = 256;
  const low = scale.signed ? -scale.limit : 0;
  const values = Float32Array.from({ length: steps }, (_, i) => low + ((scale.limit - low) * i) / (steps - 1));
  const strip = h("canvas", { width: steps, height: 1 });
  strip.getContext("2d").putImageData(colourise({ width: steps, height: 1, values }, scale), 0, 0);
  brush.drawImage(strip, left, top, width, row / 2);
  const words = [signed(low), `${unit}${scale.clipped ? "; clipped at the ends" : ""}`, signed(scale.limit)];
  ["left", "center", "right"].forEach((align, i) => {
    brush.textAlign = /** @type {CanvasTextAlign} */ (align);
    brush.fillText(words[i], left + (width * i) / 2, top + 1.4 * row);
  });
  brush.textAlign = "left";
}

/** The chart with the colours and letters it has on this page. */
function svgFile(chart) {
  const copy = chart.cloneNode(true);
  const parts = [chart, ...chart.querySelectorAll("*")];
  for (const [i, part] of [copy, ...copy.querySelectorAll("*")].entries()) {
    const style = getComputedStyle(parts[i]);
    for (const name of STYLES) part.style.setProperty(name, style.getPropertyValue(name));
  }
  copy.style.setProperty("background", getComputedStyle(document.body).backgroundColor);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
}

/** Names hold anything; files do not. */
function fileName(name) {
  return name.replace(/\.(png|jpe?g|webp|gif|bmp|tiff?|npy)$/i, "").replace(/[^\p{L}\p{N}.-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 80) || "figure";
}

/** A tile with a button that saves it. */
export function savedTile(element, name) {
  return h("div", { class: "saved" }, element, saveButton(() => element.querySelector("canvas"), name));
}
