/** What a position of a layer sees of the image: its receptive field, as measured. */

/**
 * The part of the network's input that the position [x, y] of a layer sees, as shares {left, top, width, height} of its
 * sides, cut at the border; null where it was not measured. `part`: "size" for all of it, "effective" for the part with
 * 95 % of the gradient's energy.
 * @param {LayerDocument} layer
 * @param {Position} position
 * @param {{height: number, width: number}} input
 * @param {"size" | "effective"} part
 * @returns {Box | null}
 */
export function fieldBox(layer, [x, y], input, part = "size") {
  const { field, grid } = layer;
  if (!field) return null;
  const span = (axis, position, side) => {
    const middle = field.middle[axis] + (position - Math.floor((grid[axis] - 1) / 2)) * field.stride[axis];
    const from = Math.max(0, middle - field[part][axis] / 2);
    const to = Math.min(side, middle + field[part][axis] / 2);
    return [from / side, Math.max(0, to - from) / side];
  };
  const [top, height] = span(0, y, input.height);
  const [left, width] = span(1, x, input.width);
  return { left, top, width, height };
}

/**
 * The position itself, as shares of the map's sides.
 * @param {LayerDocument} layer
 * @param {Position} position
 * @returns {Box}
 */
export function cellBox({ grid: [height, width] }, [x, y]) {
  return { left: x / width, top: y / height, width: 1 / width, height: 1 / height };
}

/**
 * The box in words, in pixels of the source image.
 * @param {Box} box
 * @param {ImageEntry} image
 */
export function boxText({ left, top, width, height }, { box: [l, t, r, b] }) {
  const span = (start, length, from, to) =>
    `${Math.round(from + start * (to - from))}–${Math.round(from + (start + length) * (to - from))}`;
  return `x ${span(left, width, l, r)}, y ${span(top, height, t, b)} px`;
}

/**
 * Put an element that covers the whole image's box where `box` is.
 * @param {HTMLElement} element
 * @param {Box | null} box
 */
export function putBox(element, box) {
  element.hidden = box === null;
  for (const [side, share] of Object.entries(box ?? {})) element.style.setProperty(side, `${(100 * share).toFixed(3)}%`);
}
