/**
 * Greyscale PNG to bytes, without a canvas: values must not pass through colour management, and some browsers add
 * noise to what a page reads back from a canvas.
 */

import { breathe } from "./turns.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/** Return {width, height, data} of an 8-bit, non-interlaced greyscale PNG. */
export async function decodeGrey(bytes) {
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) throw new Error("A value sheet is not a PNG file.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [];
  let width = 0;
  let height = 0;
  for (let at = 8; at < bytes.length;) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (type === "IHDR") {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      const [depth, colour, , , interlaced] = bytes.subarray(at + 16, at + 21);
      if (depth !== 8 || colour !== 0 || interlaced !== 0) {
        throw new Error(`A value sheet must be an 8-bit greyscale PNG, not depth ${depth}, colour type ${colour}.`);
      }
    }
    if (type === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  return { width, height, data: await unfilter(raw, width, height) };
}

/** Undo the filters row by row, in pieces that leave time for frames: a large sheet has 16 million cells. */
async function unfilter(raw, width, height) {
  const data = new Uint8Array(width * height);
  let since = performance.now();
  for (let y = 0; y < height; y++) {
    restore(raw, data, y, width);
    if (y % 64 === 63) since = await breathe(since);
  }
  return data;
}

function restore(raw, data, y, width) {
  const from = y * (width + 1) + 1;
  const filter = raw[from - 1];
  const to = y * width;
  const above = to - width;
  if (filter === 0 || (filter === 2 && y === 0)) {
    data.set(raw.subarray(from, from + width), to);
  } else if (filter === 1) {
    for (let x = 0, left = 0; x < width; x++) data[to + x] = left = (raw[from + x] + left) & 255;
  } else if (filter === 2) {
    for (let x = 0; x < width; x++) data[to + x] = raw[from + x] + data[above + x];
  } else {
    for (let x = 0, left = 0, corner = 0; x < width; x++) {
      const up = y > 0 ? data[above + x] : 0;
      left = (raw[from + x] + (filter === 3 ? (left + up) >> 1 : paeth(left, up, corner))) & 255;
      data[to + x] = left;
      corner = up;
    }
  }
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const toLeft = Math.abs(guess - left);
  const toUp = Math.abs(guess - up);
  const toCorner = Math.abs(guess - corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
