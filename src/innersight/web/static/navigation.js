/** The navigation: links to the sections and pages of panels, marked by where the reader is; a menu where they do not fit. */

import { byId, fill, h } from "./dom.js";
import { panelOf, partsOf } from "./panel.js";
import { urls } from "./study.js";

/** The sections of the start page and what has a page of its own, as {id, text, href}; those that this study has. */
export function sections(study) {
  const parts = partsOf("story").filter(({ head, present }) => !head && (present?.(study) ?? true));
  return [...parts.map(({ name, href }) => ({ id: name, text: panelOf(name)?.title ?? name, href: href ?? urls.story(name) })),
    { id: "about", text: "About", href: urls.story("about") }];
}

/** Fill the navigation; `main` is where pages appear. */
export function startNavigation(main, study) {
  const links = new Map(sections(study).map(({ id, text, href }) => [id, h("a", { href }, text)]));
  const nav = byId("sections");
  fill(nav, [...links.values()], h("a", { href: "#/x" }, "Side by side"));
  const mark = (id) => {
    for (const [key, link] of links) {
      if (key === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  const watcher = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) if (isIntersecting) mark(target.id);
  }, { rootMargin: "-20% 0px -75% 0px" });
  new MutationObserver(() => {
    watcher.disconnect();
    mark(null);
    for (const section of main.querySelectorAll("section.section")) watcher.observe(section);
  }).observe(main, { childList: true });
  // The address of a section already open does not change: scroll there all the same.
  for (const [id, link] of links) {
    link.addEventListener("click", () => {
      if (location.hash === urls.story(id)) document.getElementById(id)?.scrollIntoView({ block: "start" });
    });
  }
  startMenu(nav);
}

/** Where the links do not fit beside each other, a button opens them as a menu. */
function startMenu(nav) {
  const button = byId("menu");
  const bar = /** @type {HTMLElement} */ (nav.parentElement);
  const open = (wanted) => {
    button.setAttribute("aria-expanded", String(wanted));
    bar.toggleAttribute("data-open", wanted);
  };
  button.addEventListener("click", () => open(button.getAttribute("aria-expanded") !== "true"));
  nav.addEventListener("click", () => open(false));
  bar.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !bar.hasAttribute("data-open")) return;
    open(false);
    button.focus();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!bar.contains(/** @type {Node} */ (event.target))) open(false);
  });
  new ResizeObserver(() => {
    bar.removeAttribute("data-menu");
    const fits = nav.scrollWidth <= nav.clientWidth;
    bar.toggleAttribute("data-menu", !fits);
    if (fits) open(false);
  }).observe(bar);
}
