/** Save a figure as a file: canvases as PNG, charts as SVG. */

import { h } from "./dom.js";

const LEAST = 640; // pixels of a saved map's longer side
const STYLES = ["fill", "stroke", "stroke-width", "stroke-linejoin", "stroke-linecap", "stroke-dasharray", "font",
  "text-anchor", "visibility", "opacity"];

/** A button that saves what `find()` gives: a canvas or an <svg>. */
export function saveButton(find, name) {
  const kind = () => (find() instanceof SVGElement ? "SVG" : "PNG");
  return h("button", { class: "save", type: "button", "aria-label": `Save ${name} as a picture`, title: "Save as a picture",
    onclick: async () => {
      const source = find();
      if (source) offer(kind() === "SVG" ? svgFile(source) : await pngFile(source), `${fileName(name)}.${kind().toLowerCase()}`);
    } }, "↓");
}

/** Hand the reader a file. */
export function offer(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The canvas as it is shown: the cells of a small map stay square. */
function pngFile(canvas) {
  const times = Math.max(1, Math.ceil(LEAST / Math.max(canvas.width, canvas.height)));
  const large = h("canvas", { width: canvas.width * times, height: canvas.height * times });
  const pen = large.getContext("2d");
  pen.imageSmoothingEnabled = getComputedStyle(canvas).imageRendering !== "pixelated";
  pen.drawImage(canvas, 0, 0, large.width, large.height);
  return new Promise((resolve) => large.toBlob(resolve, "image/png"));
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
