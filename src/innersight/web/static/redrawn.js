/** A page drawn anew, because a job finished: what the reader had in hand and had opened stays so. */

const REACHABLE = "a[href], button, summary, input, select, canvas[tabindex], [tabindex='0']";

/** Look at `root` and give a function that finds the same again, by its text, once `root` is filled anew. */
export function keep(root) {
  const focused = document.activeElement !== root && root.contains(document.activeElement) ? name(root, document.activeElement) : null;
  const open = [...root.querySelectorAll("details[open] > summary")].map((summary) => name(root, summary));
  return () => {
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
