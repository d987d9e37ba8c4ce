/** Residuals (residual-format.md): boxes of voxels within a bound of the original, or bit for bit. */

import { bytesOfBackground, partLeft, readBackground } from "./background.js";
import { Cursor } from "./cursor.js";
import { bytesOf, zeros } from "./dtypes.js";
import { checkRange, require, TincError } from "./errors.js";
import { decodeLabels } from "./labels.js";
import { checkBox, MAX_BACKGROUND_BOX, MAX_BOX } from "./limits.js";
import { decodeNumbers } from "./ranks.js";
import { Stack } from "./stream.js";
import { decodeXz } from "./xz.js";

/** @typedef {import("./dtypes.js").Dtype} Dtype */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./octree.js").Box} Box */

export const [CONSTANT, ORDERED, GRID, REPEATS, LABELS, MASKED, BACKGROUND] = [0, 1, 2, 3, 4, 5, 6];

/**
 * The values of a box.
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 * @returns {TypedArray}
 */
export function decodeResidual(bytes, shape, dtype) {
  checkBox(shape, bytes[0] === BACKGROUND ? MAX_BACKGROUND_BOX : MAX_BOX);
  const size = shape[0] * shape[1] * shape[2];
  const kind = bytes.length ? bytes[0] : -1;
  if (kind === CONSTANT) return constant(bytes, size, dtype);
  if (kind === REPEATS && dtype.isFloat) {
    return dtype.view(decodeXz(bytes.subarray(1), size * dtype.bytes).buffer);
  }
  if (kind === LABELS) return labelValues(bytes.subarray(1), shape, dtype).values;
  if (kind === MASKED && dtype.isFloat) return decodeMasked(bytes, shape, dtype);
  if (kind === BACKGROUND) return decodeBackground(bytes, shape, dtype);
  return decodeNumbers(bytes, shape, dtype, null, 0);
}

/**
 * Whether a filter changes the values: those of numbers that were rounded.
 * @param {Uint8Array} bytes
 */
export function isRounded(bytes) {
  const rest = bytes[0] === BACKGROUND ? bytes.subarray(bytesOfBackground(bytes)) : bytes;
  return (rest[0] === ORDERED || rest[0] === GRID) && rest.subarray(20, 28).some(Boolean);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} size
 * @param {Dtype} dtype
 */
function constant(bytes, size, dtype) {
  checkRange("bytes of a constant box", bytes.length, 1 + dtype.bytes, 1 + dtype.bytes);
  const values = zeros(dtype, size);
  const all = bytesOf(values);
  all.set(bytes.subarray(1));
  for (let done = dtype.bytes; done < all.length; done *= 2) all.copyWithin(done, 0, done);
  return values;
}

/**
 * Values whose bits are labels; and which of them have the label 0.
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 */
export function labelValues(bytes, shape, dtype) {
  const { names, indices } = decodeLabels(new Stack(bytes, "labels"), shape, 8 * dtype.bytes);
  const values = zeros(dtype, indices.length);
  const { buffer } = values;
  if (Array.isArray(names)) {
    const bits = new BigUint64Array(buffer);
    for (let at = 0; at < bits.length; at++) bits[at] = names[indices[at]];
  } else {
    const bits = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[dtype.bytes];
    if (!bits) throw new TincError(`labels are of ${dtype.bytes} bytes, expected 1, 2 or 4`);
    const out = new bits(buffer);
    for (let at = 0; at < out.length; at++) out[at] = names[indices[at]];
  }
  return { values, indices, hasZero: Number(names[0]) === 0 };
}

/**
 * The parts of a masked residual: the bytes of its labels, and those of the residual of the other voxels.
 * @param {Uint8Array} bytes
 */
export function splitMasked(bytes) {
  const cursor = new Cursor(bytes, "masked residual");
  cursor.u8("kind");
  const mask = cursor.take("labels", cursor.u32("bytes of the labels"));
  const rest = cursor.rest();
  require(rest.length && rest[0] <= GRID, `behind a mask is a residual of kind ${rest[0]}, expected 0 to ${GRID}`);
  return { mask, rest };
}

/**
 * Special values, and a residual of the others.
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 */
function decodeMasked(bytes, shape, dtype) {
  const { mask, rest } = splitMasked(bytes);
  const { values, indices, hasZero } = labelValues(mask, shape, dtype);
  const others = decodeResidual(rest, shape, dtype);
  // Label 0 is the first of all, where there is one.
  return hasZero ? merged(values, others, dtype, (voxel) => indices[voxel] > 0) : values;
}

/**
 * A polynomial, and a residual of what it does not hide.
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 */
function decodeBackground(bytes, shape, dtype) {
  const background = readBackground(bytes, shape, dtype);
  const { values, hidden, isWhole, rest } = background;
  if (isWhole) {
    require(!rest.length, `behind a background of a whole box are ${rest.length} bytes, expected none`);
    return values;
  }
  const part = partLeft(background, shape, true);
  const size = sizeOf(part);
  checkBox(size, MAX_BOX);
  const hiddenPart = new Uint8Array(size[0] * size[1] * size[2]);
  copyPart(hidden, shape, hiddenPart, part, false);
  const numbers = decodeNumbers(rest, size, dtype, hiddenPart, 0);
  putShown(values, shape, numbers, part, dtype, hiddenPart);
  return values;
}

/**
 * Put values into a part of a box, but for those that its background hides.
 * @param {TypedArray} whole
 * @param {Triple} shape  of the box
 * @param {TypedArray} piece
 * @param {Box} part
 * @param {Dtype} dtype
 * @param {TypedArray} hidden  of the part: 1 where the background is
 */
export function putShown(whole, shape, piece, part, dtype, hidden) {
  const own = zeros(dtype, piece.length);
  copyPart(whole, shape, own, part, false);
  const both = merged(own, piece, dtype, (voxel) => hidden[voxel] > 0);
  copyPart(whole, shape, both, part, true);
}

/**
 * Values of one array where a condition holds, else of another; bit for bit.
 * @param {TypedArray} one overwritten
 * @param {TypedArray} other
 * @param {Dtype} dtype
 * @param {(voxel: number) => boolean} isOne
 */
export function merged(one, other, dtype, isOne) {
  const words = dtype.bytes === 8 ? 2 : 1;
  const [into, from] = dtype.bytes < 4 ? [one, other] : [wordsOf(one), wordsOf(other)];
  for (let voxel = 0, at = 0; at < into.length; voxel++, at += words) {
    if (isOne(voxel)) continue;
    into[at] = from[at];
    if (words > 1) into[at + 1] = from[at + 1];
  }
  return one;
}

/** @param {TypedArray} values of 4 or 8 bytes */
function wordsOf(values) {
  return new Uint32Array(values.buffer, values.byteOffset, values.byteLength / 4);
}

/**
 * @param {Box} box
 * @returns {Triple}
 */
export function sizeOf(box) {
  return [box[3] - box[0], box[4] - box[1], box[5] - box[2]];
}

/**
 * Copy a part of a box, row by row: out of the box, or into it.
 * @param {TypedArray} whole
 * @param {readonly number[]} shape of the whole
 * @param {TypedArray} piece
 * @param {Box} part
 * @param {boolean} isInto
 */
export function copyPart(whole, shape, piece, part, isInto) {
  const [, ny, nx] = sizeOf(part);
  for (let z = part[0]; z < part[3]; z++) {
    for (let y = part[1]; y < part[4]; y++) {
      const row = (z * shape[1] + y) * shape[2];
      const ofWhole = whole.subarray(row + part[2], row + part[5]);
      const first = ((z - part[0]) * ny + y - part[1]) * nx;
      const ofPiece = piece.subarray(first, first + nx);
      if (isInto) ofWhole.set(ofPiece);
      else ofPiece.set(ofWhole);
    }
  }
}
