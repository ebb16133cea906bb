/** Names, tags and notes of units, concepts and images: those of the study, and names that the link carries. */

import { joinAddresses, splitAddresses } from "./address.js";
import { getDocument } from "./source.js";

export const LIMITS = { name: 60, tag: 30, tags: 12, note: 2000 };
const LINKED = 64; // names in a link

/** @type {Map<string, Annotation>} */
let kept = new Map();
/** @type {Map<string, string>} */
let linked = new Map();
const listeners = [];

/** Read the study's annotations; until then nothing has a name. */
export async function loadAnnotations() {
  const found = /** @type {{annotations: Annotation[]} | null} */ (await getDocument("annotations"));
  kept = new Map((found?.annotations ?? []).map((row) => [row.address, row]));
}

/** What is written about a unit, a concept or an image; null where nothing is. */
export function annotation(address) {
  const own = kept.get(address);
  const name = linked.get(address);
  if (name === undefined) return own ?? null;
  return { address, tags: [], note: "", stale: false, ...own, name, linked: true };
}

/** All addresses that something is written about. */
export function allAnnotations() {
  return [...new Set([...kept.keys(), ...linked.keys()])].map((address) => /** @type {Annotation} */ (annotation(address)));
}

/** The name of what an address names; "" where it has none. */
export function nameOf(address) {
  return annotation(address)?.name ?? "";
}

/** An address with its name, as it stands wherever the unit is named; `short` stands for the address where its layer is plain. */
export function called(address, short = address) {
  const name = nameOf(address);
  return name ? `${short} · ${name}` : short;
}

/** The text of the query `names`, and back. */
export function nameText() {
  return joinAddresses([...linked].map(([address, name]) => `${address}=${name}`));
}

/** Names in a link are a stranger's: plain text, of bounded length. */
export function readNames(text) {
  if ((text ?? "") === nameText()) return;
  const pairs = splitAddresses(text).map((part) => /^(.+?:\d+|[^=:]+)=(.*)$/s.exec(part)).filter((pair) => pair !== null);
  linked = new Map(pairs.slice(0, LINKED).map(([, address, name]) => [address, plain(name)]));
}

/** Give a name that only the link keeps; "" takes it away. */
export function nameInLink(address, name) {
  if (name) linked.set(address, plain(name));
  else linked.delete(address);
  for (const listener of listeners) listener();
}

/** Call `listener` whenever the names in the link change. */
export function onNames(listener) {
  listeners.push(listener);
}

function plain(text) {
  return text.replaceAll(/[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, "").slice(0, LIMITS.name).trim();
}
