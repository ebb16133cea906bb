/** The hosts: documents and files come from inside this page (the report) or from the server it was loaded from. */

import { breathe } from "./turns.js";

export const FORMAT = 1;

const PIECE = 1 << 18; // characters of base64 decoded at a time, a multiple of 4

const host = document.querySelector("script[data-document]") ? embedded() : served();
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

/** Read documents anew from now on: the server has computed something. */
export function forget() {
  documents.clear();
  host.forget();
}

async function load(key) {
  const found = await host.document(key);
  if (found && found.format !== FORMAT) {
    throw new Error(`This page reads format ${FORMAT}, but the document “${key}” is of format ${found.format}. `
      + "Write the report again with the version of Innersight that made the study.");
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
      if (!block) throw new Error(`The report holds no file “${name}”.`);
      const text = block.textContent.trim();
      const parts = [];
      let since = performance.now();
      for (let at = 0; at < text.length; at += PIECE) {
        parts.push(Uint8Array.from(atob(text.slice(at, at + PIECE)), (letter) => letter.charCodeAt(0)));
        since = await breathe(since);
      }
      block.remove(); // the Blob takes its place
      return new Blob(parts, { type: block.dataset.type });
    },
  };
}

function served() {
  const list = () => answer("api/documents").then((response) => response.json());
  let index = list();
  return {
    forget() {
      index = list();
    },
    async document(key) {
      if (!(await index).includes(key)) return null;
      const [head, ...rest] = key.split("/");
      const path = rest.length ? `${head}/${encodeURIComponent(rest.join("/"))}` : head;
      return (await answer(`api/documents/${path}`)).json();
    },
    async file(name) {
      return (await answer(`files/${encodeURIComponent(name)}`)).blob();
    },
  };
}

async function answer(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`The server answered ${response.status} for “${path}”.`);
  return response;
}
