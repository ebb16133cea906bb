/** The navigation: links to the sections and pages of panels, marked by where the reader is; those that do not fit are in a menu. */

import { byId, h } from "./dom.js";
import { panelOf, partsOf } from "./panel.js";
import { urls } from "./study.js";

const FEWEST = 3; // links beside the menu; fewer are in it too

/** The sections of the start page and what has a page of its own, as {id, text, href}; those that this study has. */
export function sections(study) {
  const parts = partsOf("story").filter(({ head, present }) => !head && (present?.(study) ?? true));
  return [...parts.map(({ name, href }) => ({ id: name, text: panelOf(name)?.title ?? name, href: href ?? urls.story(name) })),
    { id: "about", text: "About", href: urls.story("about") }];
}

/** Fill the navigation; `main` is where pages appear. */
export function startNavigation(main, study) {
  const links = new Map(sections(study).map(({ id, text, href }) => [id, h("a", { href }, text)]));
  const mark = (id) => {
    for (const [key, link] of links) {
      if (key === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  startMenu([...links.values(), h("a", { href: "#/x" }, "Side by side")]);
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
}

/** Put as many links beside each other as fit; a button opens the others as a menu. */
function startMenu(links) {
  const [nav, button, more] = ["sections", "menu", "more"].map(byId);
  const open = (wanted) => {
    button.setAttribute("aria-expanded", String(wanted));
    more.hidden = !wanted;
  };
  const arrange = () => {
    const focused = document.activeElement;
    button.hidden = true;
    button.before(...links);
    const fits = () => nav.scrollWidth <= nav.clientWidth;
    if (fits()) open(false);
    else {
      button.hidden = false;
      button.textContent = "More";
      let kept = links.length;
      while (kept && !fits()) more.prepend(links[--kept]);
      if (kept < FEWEST) {
        more.prepend(...links.slice(0, kept));
        button.textContent = "Menu";
      }
    }
    // A link that moves would lose it.
    if (focused instanceof HTMLElement && nav.contains(focused)) focused.focus();
  };
  button.addEventListener("click", () => open(more.hidden));
  more.addEventListener("click", () => open(false));
  nav.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || more.hidden) return;
    open(false);
    button.focus();
  });
  nav.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !nav.contains(/** @type {Node} */ (relatedTarget))) open(false);
  });
  document.addEventListener("pointerdown", (event) => {
    if (!nav.contains(/** @type {Node} */ (event.target))) open(false);
  });
  new ResizeObserver(arrange).observe(/** @type {HTMLElement} */ (nav.parentElement));
}
