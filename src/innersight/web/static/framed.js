/** The original of an image, with the part that the network sees. */

import { h } from "./dom.js";
import { getUrl } from "./source.js";

/** The original image with the network's window drawn on it. */
export function framedImage(image) {
  const { width, height, file } = image.original;
  const shown = h("img", { width, height, alt: image.name, decoding: "async" });
  getUrl(file).then((url) => shown.setAttribute("src", url));
  const [left, top, right, bottom] = image.box;
  const share = (value, whole) => `${(100 * value) / whole}%`;
  return h("span", { class: "framed" }, shown, seesAll(image)
    ? null : h("span", { class: "frame", "aria-hidden": "true", style: {
    left: share(left, image.width), top: share(top, image.height),
    width: share(right - left, image.width), height: share(bottom - top, image.height) } }));
}

/** Whether the network sees the whole image. */
export function seesAll({ box: [left, top, right, bottom], width, height }) {
  return left <= 0 && top <= 0 && right >= width && bottom >= height;
}
