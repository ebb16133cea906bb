/** Numbers for people: three significant digits, a true minus sign, a dash for what is not a number. */

export function number(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3
    ? size.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e").replace("e-", "e−")
    : trimmed(size, digits);
  return (value < 0 ? "−" : "") + text;
}

export function signed(value, digits = 3) {
  return (value > 0 ? "+" : "") + number(value, digits);
}

/** The images that a run was measured on: held out, or the reason why that is not certain. */
export function testImages(metrics, images = metrics.images) {
  return metrics.not_held_out ? `${plural(images, "image")} (${metrics.not_held_out})` : plural(images, "held-out image");
}

export function percent(value) {
  if (!Number.isFinite(value)) return "–";
  if (value > 0 && value < 0.001) return "< 0.1%";
  return `${(100 * value).toFixed(value < 0.9995 ? 1 : 0)}%`;
}

/** How sure a network is of a class: its probability, or its score where that stands for no probability. */
export function certainty({ probability, logit }) {
  return probability === null ? signed(logit) : percent(probability);
}

export function count(value) {
  return Number.isFinite(value) ? value.toLocaleString("en-US") : "–";
}

/** Parameters of a network: 11.7 M. */
export function compact(value) {
  if (!Number.isFinite(value)) return "–";
  if (value >= 1e6) return `${trimmed(value / 1e6, 3)} M`;
  if (value >= 1e4) return `${trimmed(value / 1e3, 3)} k`;
  return count(value);
}

export function seconds(value) {
  if (!Number.isFinite(value)) return "–";
  if (value < 1) return `${Math.round(1000 * value)} ms`;
  if (value < 120) return `${trimmed(value, 3)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

export function plural(amount, noun, several = `${noun}s`) {
  return `${count(amount)} ${amount === 1 ? noun : several}`;
}

export function size([height, width]) {
  return `${height} × ${width}`;
}

export function day(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return String(iso ?? "");
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
}

function trimmed(value, digits) {
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(value)));
  const text = value.toFixed(Math.min(decimals, 8));
  return text.includes(".") ? text.replace(/\.?0+$/, "") : Number(text).toLocaleString("en-US");
}

/** A name of at most `length` characters; the names of layers differ at their end, so that is kept. */
export function shortened(name, length) {
  return name.length > length ? `…${name.slice(1 - length)}` : name;
}
