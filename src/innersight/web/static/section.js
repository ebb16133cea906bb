/** A section of the start page: a heading, a lead, and how its content was computed. */

import { h } from "./dom.js";
import { count } from "./format.js";
import { urls } from "./study.js";

/** Return <section>; `id` is what `#/?at=ID` scrolls to, `how` one or two sentences on the computation. */
export function section(id, kicker, title, lead, body, how = null) {
  return h("section", { id, class: "section", "aria-labelledby": `${id}-title` },
    h("header", { class: "section-head" },
      h("p", { class: "kicker" }, kicker),
      h("h2", { id: `${id}-title` }, title),
      lead ? h("p", { class: "lead" }, lead) : null),
    folded(title, h("div", {}, body,
      how ? h("details", { class: "how" }, h("summary", {}, "How this was computed"), h("p", {}, how)) : null)));
}

/** In a narrow window a long body shows its first part, until the reader asks for all of it or moves the focus into it. */
function folded(title, body) {
  const fold = h("div", { class: "fold" }, body);
  const more = h("button", { class: "button fold-more", type: "button", "aria-label": `Show all: ${title}`, onclick: () => open() }, "Show all");
  const open = () => fold.setAttribute("data-open", "");
  fold.addEventListener("focusin", open);
  new ResizeObserver(() => fold.toggleAttribute("data-long", body.offsetHeight > fold.clientHeight + 1 && !fold.hasAttribute("data-open"))).observe(body);
  return [fold, more];
}

/** Links to a layer's page, which has all `total` of what `shown` are shown of. */
export function moreLink(layer, shown, total, lens) {
  return total > shown
    ? h("p", { class: "more" },
      h("a", { href: urls.layer(layer.name, { lens }) }, `Show all ${count(total)} ${lens} of ${layer.name} →`))
    : h("p", { class: "more" },
      h("a", { href: urls.layer(layer.name, { lens }) }, `More on the ${lens} of ${layer.name} →`));
}
