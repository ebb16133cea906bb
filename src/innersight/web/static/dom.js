/** Elements from data. Text always becomes a text node: nothing in this front end parses markup. */

export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

/** The element of the page's own markup with this id. */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** Replace everything inside `node`. */
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
  return node;
}

/** A name that may break after what separates its parts, rather than in the middle of a word. */
export function breakable(name) {
  return name.split(/(?<=[_./-])/).flatMap((part, i) => (i ? [h("wbr", {}), part] : part));
}

const LONG = 12; // characters
const END = 8;

/** A name that loses its middle where there is no room: names of layers and files differ at their ends. */
export function bothEnds(name) {
  return name.length > LONG ? h("span", { class: "both-ends" }, h("span", {}, name.slice(0, -END)), h("span", {}, name.slice(-END))) : name;
}

/** A text for people who cannot see the page. */
export function hidden(text) {
  return h("span", { class: "sr" }, text);
}

/** A row of buttons of which one is pressed; `choices` is [[value, label] ..]. */
export function choice(label, choices, current, onchoose) {
  const buttons = choices.map(([value, text]) =>
    h("button", {
      type: "button",
      "aria-pressed": String(value === current),
      "data-value": value,
      onclick: () => {
        for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
        onchoose(value);
      },
    }, text));
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

/** A labelled drop-down; `choices` is [[value, label] ..]. */
export function select(label, choices, current, onchoose) {
  const list = h("select", { onchange: () => onchoose(list.value) },
    choices.map(([value, text]) => h("option", { value, selected: value === current }, text)));
  return h("label", { class: "field" }, h("span", {}, label), list);
}

/** Terms and values, without the pairs that have no value. */
export function facts(pairs) {
  return h("dl", { class: "facts" },
    pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

/** Settings of any shape as terms and values. */
export function settingsList(settings) {
  return facts(Object.entries(settings ?? {}).map(([key, value]) => [key.replaceAll("_", " "), plainText(value)]));
}

/** The reason why a panel is empty. */
export function empty(reason) {
  return h("p", { class: "empty", role: "note" }, reason);
}

function build(node, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "style") {
      for (const [name, setting] of Object.entries(value)) node.style.setProperty(name, setting);
    } else if (key.startsWith("on")) {
      node.addEventListener(key.slice(2), value);
    } else {
      node.setAttribute(key, value === true ? "" : value);
    }
  }
  node.append(...present(children));
  return node;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

function plainText(value) {
  if (Array.isArray(value)) return value.map(plainText).join(", ");
  if (value === null || typeof value !== "object") return String(value ?? "none");
  return Object.entries(value).map(([key, entry]) => `${key.replaceAll("_", " ")}: ${plainText(entry)}`).join(", ");
}
