/** Sketches of residuals: every 2^level-th voxel along each axis, in a fraction of the time that all take. */

import { partLeft, readBackground } from "./background.js";
import { U1, zeros } from "./dtypes.js";
import { checkBox, MAX_BACKGROUND_BOX, MAX_BOX } from "./limits.js";
import { gridOf } from "./neighbours.js";
import { decodeNumbers } from "./ranks.js";
import {
  BACKGROUND,
  copyPart,
  GRID,
  labelValues,
  MASKED,
  merged,
  ORDERED,
  putShown,
  sizeOf,
  splitMasked,
} from "./residual.js";

/** @typedef {import("./dtypes.js").Dtype} Dtype */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./head.js").Triple} Triple */

const ALIGNMENT = 5; // The part that a background leaves begins at multiples of 2^5 voxels.

/**
 * Every 2^level-th voxel along each axis, without corrections; null for kinds that are decoded whole. What is damaged may
 * not be noticed.
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 * @param {number} level
 * @returns {TypedArray | null} of the grid of the level
 */
export function sketchResidual(bytes, shape, dtype, level) {
  checkBox(shape, bytes[0] === BACKGROUND ? MAX_BACKGROUND_BOX : MAX_BOX);
  if (bytes[0] === ORDERED || bytes[0] === GRID) return decodeNumbers(bytes, shape, dtype, null, level);
  if (bytes[0] === MASKED && dtype.isFloat) return sketchMasked(bytes, shape, dtype, level);
  return bytes[0] === BACKGROUND ? sketchBackground(bytes, shape, dtype, level) : null;
}

/**
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 * @param {number} level
 */
function sketchMasked(bytes, shape, dtype, level) {
  const { mask, rest } = splitMasked(bytes);
  const others = sketchResidual(rest, shape, dtype, level);
  if (!others) return null;
  const { values, indices, hasZero } = labelValues(mask, shape, dtype);
  const isSpecial = sampled(Uint8Array.from(indices, Math.sign), shape, U1, level);
  const some = sampled(values, shape, dtype, level);
  return hasZero ? merged(some, others, dtype, (voxel) => isSpecial[voxel] > 0) : some;
}

/**
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 * @param {number} level
 */
function sketchBackground(bytes, shape, dtype, level) {
  const background = readBackground(bytes, shape, dtype);
  const fine = Math.min(level, ALIGNMENT);
  const grid = gridOf(shape, fine);
  const values = sampled(background.values, shape, dtype, fine);
  if (!background.isWhole) {
    const part = partLeft(background, shape, true);
    const size = sizeOf(part);
    checkBox(size, MAX_BOX);
    const hidden = new Uint8Array(size[0] * size[1] * size[2]);
    copyPart(background.hidden, shape, hidden, part, false);
    const numbers = decodeNumbers(background.rest, size, dtype, hidden, fine);
    const isHidden = sampled(hidden, size, U1, fine);
    const first = part.slice(0, 3).map((at) => at / 2 ** fine);
    const end = gridOf(size, fine).map((n, axis) => first[axis] + n);
    const place = /** @type {import("./octree.js").Box} */ ([...first, ...end]);
    putShown(values, grid, numbers, place, dtype, isHidden);
  }
  return sampled(values, grid, dtype, level - fine);
}

/**
 * Every 2^level-th value along each axis.
 * @param {TypedArray} values
 * @param {Triple} shape
 * @param {Dtype} dtype
 * @param {number} level
 */
function sampled(values, shape, dtype, level) {
  const grid = gridOf(shape, level);
  const out = zeros(dtype, grid[0] * grid[1] * grid[2]);
  const step = 2 ** level;
  let at = 0;
  for (let z = 0; z < shape[0]; z += step) {
    for (let y = 0; y < shape[1]; y += step) {
      for (let x = 0; x < shape[2]; x += step) out[at++] = values[(z * shape[1] + y) * shape[2] + x];
    }
  }
  return out;
}
