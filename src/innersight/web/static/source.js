/** The hosts: documents and files come from inside this page (the report) or from the server it was loaded from. */

import { breathe } from "./turns.js";

const FORMAT = 2;

const PIECE = 1 << 18; // characters of base64 decoded at a time, a multiple of 4

const parts = document.querySelector("script[data-parts]");

/** Whether this is a report, without a server. */
export const isReport = Boolean(parts ?? document.querySelector("script[data-document]"));

const host = parts ? external(parts) : isReport ? embedded() : served();
const documents = new Map();
const files = new Map();

/** The document of this key, or null when the study has none. */
export function getDocument(key) {
  if (!documents.has(key)) documents.set(key, load(key));
  return documents.get(key);
}

/** The bytes of a file, as a Blob. */
export function getFile(name) {
  if (!files.has(name)) files.set(name, host.file(name));
  return files.get(name);
}

/** The URL of a file for an <img>. */
export async function getUrl(name) {
  return URL.createObjectURL(await getFile(name));
}

/** Forget the documents, because the server has computed something. */
export function forget() {
  documents.clear();
  host.forget();
}

async function load(key) {
  const found = await host.document(key);
  if (found && found.format !== FORMAT) {
    throw new Error(`This page reads format ${FORMAT}, but the document “${key}” has format ${found.format}. `
      + "Open the study with the version of Innersight that made it.");
  }
  return found;
}

function embedded() {
  const blocks = (name) => new Map(
    /** @type {HTMLElement[]} */ ([...document.querySelectorAll(`script[data-${name}]`)]).map((block) => [block.dataset[name], block]));
  const texts = blocks("document");
  const binaries = blocks("file");
  return {
    forget() {},
    async document(key) {
      return texts.has(key) ? JSON.parse(texts.get(key)?.textContent ?? "null") : null;
    },
    async file(name) {
      const block = binaries.get(name);
      if (!block) throw new Error(`The file “${name}” is missing from this report.`);
      const bytes = await bytesOf(block.textContent.trim());
      block.remove(); // the Blob takes its place
      return new Blob([bytes], { type: block.dataset.type });
    },
  };
}

/** A report in several files: a page opened from disk may not fetch what lies beside it, but it may run scripts. */
function external(block) {
  const keys = JSON.parse(block.textContent);
  const waiting = new Map();
  globalThis.innersightPart = (name, value) => waiting.get(name)(value);
  const part = (name) => new Promise((resolve, reject) => {
    waiting.set(name, resolve);
    const script = document.createElement("script");
    script.onload = () => script.remove();
    script.onerror = () => reject(new Error(`“${block.dataset.parts}/${name}.js” is missing. Keep the folder next to the report.`));
    script.src = `${block.dataset.parts}/${name}.js`;
    document.head.append(script);
  });
  return {
    forget() {},
    async document(key) {
      return key in keys ? part(keys[key]) : null;
    },
    async file(name) {
      const { type, base64 } = await part(name);
      return new Blob([await bytesOf(base64)], { type });
    },
  };
}

/** A text in base64 as a Blob of its bytes, decoded piece by piece so that the page stays alive. */
async function bytesOf(text) {
  const pieces = [];
  let since = performance.now();
  for (let at = 0; at < text.length; at += PIECE) {
    const letters = atob(text.slice(at, at + PIECE));
    const piece = new Uint8Array(letters.length);
    // Not Uint8Array.from, which walks letters forty times as slowly.
    for (let i = 0; i < letters.length; i++) piece[i] = letters.charCodeAt(i);
    pieces.push(piece);
    since = await breathe(since);
  }
  return new Blob(pieces);
}

function served() {
  const list = () => request("api/documents").then((response) => response.json());
  let index = list();
  return {
    forget() {
      index = list();
    },
    async document(key) {
      if (!(await index).includes(key)) return null;
      const [head, ...rest] = key.split("/");
      const path = rest.length ? `${head}/${encodeURIComponent(rest.join("/"))}` : head;
      return (await request(`api/documents/${path}`)).json();
    },
    async file(name) {
      return (await request(`files/${encodeURIComponent(name)}`)).blob();
    },
  };
}

async function request(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`The server returned status ${response.status} for “${path}”.`);
  return response;
}
