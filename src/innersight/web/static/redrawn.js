/** Keeps the focus and the open details when a page is drawn again because a job finished. */

const REACHABLE = "a[href], button, summary, input, select, canvas[tabindex], [tabindex='0']";

/** Return a function that restores the focus, the open details and the unfolded sections of `root`, by their text, after it was filled again. */
export function keep(root) {
  const focused = document.activeElement !== root && root.contains(document.activeElement) ? name(root, document.activeElement) : null;
  const open = [...root.querySelectorAll("details[open] > summary")].map((summary) => name(root, summary));
  const unfolded = [...root.querySelectorAll("section:has(> .fold[data-open])")].map(({ id }) => id);
  return () => {
    for (const id of unfolded) root.querySelector(`#${CSS.escape(id)} > .fold`)?.setAttribute("data-open", "");
    for (const one of open) {
      const summary = find(root, one);
      if (summary) /** @type {HTMLDetailsElement} */ (summary.parentElement).open = true;
    }
    if (focused) (find(root, focused) ?? root).focus({ preventScroll: true });
  };
}

/** The text of an element, and how many before it have the same. */
function name(root, element) {
  const text = textOf(element);
  return { text, before: same(root, text).indexOf(element) };
}

function find(root, { text, before }) {
  const found = same(root, text);
  return found[Math.min(before, found.length - 1)];
}

function same(root, text) {
  return [...root.querySelectorAll(REACHABLE)].filter((element) => textOf(element) === text);
}

function textOf(element) {
  return `${element.tagName} ${element.getAttribute("aria-label") ?? element.textContent}`;
}
