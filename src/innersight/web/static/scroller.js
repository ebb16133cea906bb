/** A part of the page that scrolls by itself: it fades at each edge behind which there is more. */

import { h } from "./dom.js";

const SLACK = 2; // pixels that rounding may leave at an end

/**
 * `content` in a box that scrolls; with a `label` it can be scrolled by keyboard, for content without anything to focus.
 * @param {Node} content
 * @param {string | null} label
 */
export function scroller(content, label = null) {
  const box = h("div", { class: "scroll", ...(label && { tabindex: "0", role: "region", "aria-label": label }) }, content);
  const mark = () => {
    box.toggleAttribute("data-above", box.scrollTop > SLACK);
    box.toggleAttribute("data-below", box.scrollHeight - box.clientHeight - box.scrollTop > SLACK);
    box.toggleAttribute("data-before", box.scrollLeft > SLACK);
    box.toggleAttribute("data-after", box.scrollWidth - box.clientWidth - box.scrollLeft > SLACK);
  };
  box.addEventListener("scroll", mark, { passive: true });
  const sizes = new ResizeObserver(mark);
  sizes.observe(box);
  sizes.observe(/** @type {Element} */ (content));
  return box;
}
