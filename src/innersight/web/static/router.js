/** Hash routes. A page is one file in pages/ that calls `register`. */

import { nameText, onNames, readNames } from "./annotations.js";
import { fill, h } from "./dom.js";
import { onPins, pins, pinText, readPins } from "./pins.js";
import { keep } from "./redrawn.js";
import { asQuery } from "./study.js";

// In a notebook's frame, addresses are relative to the notebook's own: links and history would leave the report.
const FRAMED = document.URL.startsWith("about:srcdoc");

const pages = [];
const scrolled = new Map();
let leaving = new AbortController();
let shown = /** @type {string | null} */ (null);
let current = /** @type {Page} */ ({});

/**
 * Register a page: `pattern` like "/l/:layer"; `render({study, params, query, signal})` gives
 * {title, body, arrive, subject, lens}; `arrive` runs once the body of a page that was not shown before is in place, `signal`
 * aborts when the reader leaves. `subject` {layer, unit, image} is what the keys act on, or {units, images} what can be exported, `lens` {current(), change(name)} the layer's view.
 */
export function register(pattern, render) {
  pages.push({ pattern, parts: pattern.split("/"), render });
}

/** What the page in view returned. */
export function shownPage() {
  return current;
}

/** Return {parts, query} of a hash, or null where it has a broken % escape. */
export function parseHash(hash) {
  const [path, search = ""] = hash.replace(/^#?\/?/, "/").split(/\?(.*)/s);
  try {
    const parts = path.replace(/(.)\/$/, "$1").split("/").map(decodeURIComponent);
    return { parts, query: new URLSearchParams(search) };
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return null;
  }
}

/** Show the page of the current hash, now and whenever it changes. */
export function start(main, study) {
  let clicked = false;
  document.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest?.("a[href^='#']");
    clicked = Boolean(link);
    if (link && FRAMED) {
      event.preventDefault();
      location.hash = link.getAttribute("href") ?? "";
    }
  });
  onPins(() => setQuery({ pins: pinText() }));
  onNames(() => setQuery({ names: nameText() }));
  const go = async () => {
    if (shown !== null) scrolled.set(shown, scrollY);
    carry();
    const fresh = clicked || shown === null;
    clicked = false;
    await show(main, study, fresh);
  };
  // The browser would scroll before the page of the address is there, and that position would be kept for the page left.
  history.scrollRestoration = "manual";
  addEventListener("hashchange", go);
  return go();
}

/** Change the query of the current page without a new entry in the history. */
export function setQuery(changes) {
  const [path, search = ""] = (location.hash || "#/").split(/\?(.*)/s);
  const query = { ...Object.fromEntries(new URLSearchParams(search)), ...changes };
  const address = path + asQuery(query);
  if (shown !== null) shown = address;
  if (!FRAMED) history.replaceState(history.state, "", address);
}

/** Links hold neither pins nor names: the page they lead to takes on those there are. */
function carry() {
  const query = new URLSearchParams(location.hash.split(/\?(.*)/s)[1] ?? "");
  if (query.has("pins")) readPins(query.get("pins"));
  else if (pins().length) setQuery({ pins: pinText() });
  if (query.has("names")) readNames(query.get("names"));
  else if (nameText()) setQuery({ names: nameText() });
}

async function show(main, study, fresh) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const target = location.hash;
  const page = await find(study, target, signal);
  if (signal.aborted) return;
  const first = shown === null;
  const restore = shown === target ? keep(main) : null;
  shown = location.hash;
  current = page;
  document.title = page.title ? `${page.title} · ${study.title}` : `${study.title} · Innersight`;
  fill(main, page.body);
  if (restore) restore();
  else if (!first) main.focus({ preventScroll: true });
  const before = fresh ? undefined : scrolled.get(target);
  scrollTo({ top: before ?? 0, behavior: "instant" });
  if (before === undefined) page.arrive?.();
}

async function find(study, hash, signal) {
  const address = parseHash(hash);
  if (!address) return notFound(hash, "The address contains an invalid % escape.");
  for (const page of pages) {
    const params = match(page.parts, address.parts);
    if (params) return page.render({ study, params, query: address.query, signal });
  }
  return notFound(hash, "Addresses have the form #/l/LAYER, #/l/LAYER/u/NUMBER, #/concepts/LAYER, #/atlas/LAYER, #/findings, #/errors, #/x, #/i/IMAGE, #/c/CLASS, #/train or #/about.");
}

/** The page for an address that does not exist, with the reason. */
export function notFound(address, why, head = "Page not found") {
  return {
    title: "Not found",
    body: h("section", { class: "page not-found" },
            h("h1", {}, head),
      h("p", { class: "lead" }, h("code", {}, address)),
      h("p", { class: "lead" }, why),
      h("p", {}, h("a", { class: "button", href: "#/" }, "Back to the overview"))),
  };
}

function match(pattern, parts) {
  if (pattern.length !== parts.length) return null;
  const params = {};
  for (const [i, part] of pattern.entries()) {
    if (part.startsWith(":")) params[part.slice(1)] = parts[i];
    else if (part !== parts[i]) return null;
  }
  return params;
}
