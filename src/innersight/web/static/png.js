/**
 * Greyscale PNG to bytes, without a canvas: values must not pass through colour management, and some browsers add
 * noise to what a page reads back from a canvas.
 */

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
  return { width, height, data: unfilter(raw, width, height) };
}

function unfilter(raw, width, height) {
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (width + 1)];
    const from = y * (width + 1) + 1;
    const to = y * width;
    for (let x = 0; x < width; x++) {
      const left = x > 0 ? data[to + x - 1] : 0;
      const up = y > 0 ? data[to + x - width] : 0;
      const corner = x > 0 && y > 0 ? data[to + x - width - 1] : 0;
      data[to + x] = raw[from + x] + predicted(filter, left, up, corner);
    }
  }
  return data;
}

function predicted(filter, left, up, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const guess = left + up - corner;
  const [toLeft, toUp, toCorner] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
