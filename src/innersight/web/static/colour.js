/** Values to colours. The same maps as the Python figures: magma for values that are never negative, RdBu_r around 0. */

// Anchors of matplotlib's maps, at equal steps; between them the colour is interpolated.
export const MAGMA = `
  000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf`;
const RDBU_R = `
  053061 2065ab 4393c3 90c4dd d1e5f0 f7f6f6 fddbc7 f3a481 d6604d b1182b 67001f`;

const LEVELS = 256;
const SOLID = 1.5; // an overlay is as opaque as it gets from 1 / SOLID of the limit on, and fades evenly to nothing at 0
const SEQUENTIAL = table(MAGMA);
const DIVERGING = table(RDBU_R);

/**
 * The scale that values from `lo` to `hi` are coloured with: 0 to the highest, or the same distance to both sides of 0.
 * `limit` is 0 when there is nothing but zeros; colours are clipped beyond it.
 */
export function scaleOf(lo, hi, signed) {
  return { signed, limit: signed ? Math.max(Math.abs(lo), Math.abs(hi)) : Math.max(hi, 0) };
}

/** Return ImageData of a map {width, height, values}; `strength` > 0 lets small magnitudes fade out, for overlays. */
export function colourise({ width, height, values }, scale, strength = 0) {
  const image = new ImageData(width, height);
  const colours = scale.signed ? DIVERGING : SEQUENTIAL;
  for (let i = 0; i < values.length; i++) {
    const share = scale.limit > 0 ? Math.max(-1, Math.min(1, values[i] / scale.limit)) : 0;
    const level = Math.round((scale.signed ? (share + 1) / 2 : Math.max(0, share)) * (LEVELS - 1));
    image.data.set(colours.subarray(3 * level, 3 * level + 3), 4 * i);
    image.data[4 * i + 3] = strength > 0 ? Math.round(255 * strength * Math.min(1, SOLID * Math.abs(share))) : 255;
  }
  return image;
}

/** The CSS gradient of a scale, from low to high. */
export function gradient(scale) {
  return `linear-gradient(to right, ${anchors(scale.signed ? RDBU_R : MAGMA).map((hex) => `#${hex}`).join(", ")})`;
}

function anchors(text) {
  return text.trim().split(/\s+/);
}

function table(text) {
  const stops = anchors(text).map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const colours = new Uint8ClampedArray(3 * LEVELS);
  for (let level = 0; level < LEVELS; level++) {
    const position = (level / (LEVELS - 1)) * (stops.length - 1);
    const before = Math.min(Math.floor(position), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      colours[3 * level + c] = stops[before][c] + (stops[before + 1][c] - stops[before][c]) * (position - before);
    }
  }
  return colours;
}
