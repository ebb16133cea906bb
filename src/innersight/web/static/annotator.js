/** What is written about a unit, a concept or an image, and the form to write it. */

import { annotation, called, LIMITS, loadAnnotations, nameInLink } from "./annotations.js";
import { fill, h } from "./dom.js";
import { saveAnnotation } from "./jobs.js";
import { forget, isReport } from "./source.js";

/** @param {string} address */
export function annotator(address) {
  const own = annotation(address);
  const problem = h("span", { class: "bad-text", role: "alert" });
  return h("div", { class: "annotation", "data-address": address },
    own?.tags.length ? h("p", { class: "badges" }, own.tags.map((tag) => h("span", { class: "badge" }, tag))) : null,
    own?.note ? h("p", { class: "note-text" }, own.note) : null,
    own?.stale ? h("p", { class: "quiet" }, "This was written about an earlier state of the network or image: check it, and save it again.") : null,
    own?.linked ? h("p", { class: "quiet" }, "The name comes with the link of this page.") : null,
    h("details", { class: "how annotate" }, h("summary", {}, own ? "Edit name, tags, note" : "Add a name, tags, a note"), isReport ? linkForm(address, own) : form(address, own, problem), problem));
}

function form(address, own, problem) {
  const name = field("Name", h("input", { type: "text", name: "name", maxlength: String(LIMITS.name), value: own?.name ?? "", autocomplete: "off" }));
  const tags = field("Tags, separated by commas", h("input", { type: "text", name: "tags", maxlength: String(LIMITS.tags * (LIMITS.tag + 2)), value: own?.tags.join(", ") ?? "", autocomplete: "off" }));
  const note = field("Note", h("textarea", { name: "note", maxlength: String(LIMITS.note), rows: "3" }, own?.note ?? ""));
  const save = h("button", { type: "submit", class: "button" }, "Save");
  return h("form", { class: "annotate-form", onsubmit: async (event) => {
    event.preventDefault();
    save.disabled = true;
    fill(problem);
    try {
      await saveAnnotation({ address, name: name.input.value.trim(), tags: tags.input.value.split(",").map((tag) => tag.trim()).filter(Boolean), note: note.input.value.trim() });
      nameInLink(address, "");
      await renewed();
    } catch (error) {
      fill(problem, error.message);
      save.disabled = false;
    }
  } }, name.label, tags.label, note.label, save);
}

/** Without a server nothing is kept but the address of the page. */
function linkForm(address, own) {
  const name = field("Name", h("input", { type: "text", name: "name", maxlength: String(LIMITS.name), value: own?.name ?? "", autocomplete: "off" }));
  return h("form", { class: "annotate-form", onsubmit: (event) => {
    event.preventDefault();
    nameInLink(address, name.input.value.trim());
    dispatchEvent(new HashChangeEvent("hashchange"));
  } }, name.label, h("button", { type: "submit", class: "button" }, "Keep in the link"),
  h("p", { class: "quiet" }, "A report cannot be written to: the name is kept in the address of this page, which can be copied. Names, tags and notes are kept in the study by ",
    h("code", {}, "innersight view STUDY"), " or ", h("code", {}, `innersight annotate STUDY ${address} --name NAME`), "."));
}

async function renewed() {
  forget();
  await loadAnnotations();
  dispatchEvent(new HashChangeEvent("hashchange"));
}

function field(text, input) {
  return { input, label: h("label", { class: "field" }, h("span", {}, text), input) };
}

/** The heading of a page, with the name. */
export function headed(address, text) {
  return called(address, text);
}
