/** Backgrounds (residual-format.md): a polynomial that stands for the smooth part of a box, and what it hides. */

import { Cursor } from "./cursor.js";
import { rint, toHalf, zeros } from "./dtypes.js";
import { checkRange, require } from "./errors.js";
import { decodeLabels } from "./labels.js";
import { checkBox, MAX_BACKGROUND_BOX, MAX_BOX } from "./limits.js";
import { Stack } from "./stream.js";
import { MEDIUM, readNumbers } from "./tokens.js";

/** @typedef {import("./dtypes.js").Dtype} Dtype */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./octree.js").Box} Box */

const MAX_DEGREE = 8; // Polynomials of higher degree are refused.
const HEAD_BYTES = 16; // Of kind, degree, lengths and step.
const CROPPED = 128; // Added to the degree where what is behind is of a part of the box.
const UNIT = 32; // Numbers behind a background are of a part from a multiple of so many voxels.

/**
 * @typedef {object} Background
 * @property {TypedArray} values of the polynomial, of the dtype of the box; given out once
 * @property {Uint8Array<ArrayBuffer>} hidden which voxels have these
 * @property {boolean} isWhole whether all have
 * @property {boolean} isCropped
 * @property {Uint8Array} rest bytes behind the background
 */

/**
 * Read the background with which bytes begin.
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 * @returns {Background}
 */
export function readBackground(bytes, shape, dtype) {
  checkBox(shape, MAX_BACKGROUND_BOX);
  const cursor = new Cursor(bytes, "background");
  cursor.u8("kind of the background", 6, 6);
  const form = cursor.u8("degree");
  const degree = form & ~CROPPED;
  const isCropped = form >= CROPPED;
  checkRange("degree", degree, 0, MAX_DEGREE);
  const coefficientBytes = cursor.u16("bytes of the coefficients");
  const maskBytes = cursor.u32("bytes of the mask");
  const step = cursor.f64("step of the coefficients", Number.MIN_VALUE);
  require(maskBytes || !isCropped, "a background has no mask and yet a part that it leaves, expected a mask");
  const stack = new Stack(cursor.take("coefficients", coefficientBytes), "coefficients");
  const exponents = exponentsOf(degree);
  const numbers = readNumbers(stack, MEDIUM, exponents.length);
  stack.end();
  const mask = cursor.take("mask", maskBytes);
  const hidden = new Uint8Array(shape[0] * shape[1] * shape[2]).fill(1);
  if (maskBytes) readMask(mask, shape, hidden);
  /** @type {Map<string, number>} */
  const scaled = new Map(exponents.map((powers, at) => [powers.join(), numbers[at] * step]));
  const values = polynomial(scaled, degree, shape, dtype);
  return { values, hidden, isWhole: !maskBytes, isCropped, rest: cursor.rest() };
}

/**
 * Bytes that the background takes with which bytes begin; all of them if they are too few for one.
 * @param {Uint8Array} bytes
 */
export function bytesOfBackground(bytes) {
  if (bytes.length < HEAD_BYTES) return bytes.length;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return HEAD_BYTES + view.getUint16(2, true) + view.getUint32(4, true);
}

/**
 * Powers of z, y, x of each coefficient.
 * @param {number} degree
 */
function exponentsOf(degree) {
  /** @type {Triple[]} */
  const found = [];
  for (let sum = 0; sum <= degree; sum++) {
    for (let i = 0; i <= sum; i++) for (let j = 0; j <= sum - i; j++) found.push([i, j, sum - i - j]);
  }
  return found;
}

/**
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Uint8Array} hidden overwritten
 */
function readMask(bytes, shape, hidden) {
  /** @type {Triple} */
  const cells = [(shape[0] + 1) >> 1, (shape[1] + 1) >> 1, (shape[2] + 1) >> 1];
  checkRange("cells of a mask", cells[0] * cells[1] * cells[2], 1, MAX_BOX);
  const { names, indices } = decodeLabels(new Stack(bytes, "mask"), cells, 8);
  require(names.length === 2 && names[1] === 1, "mask of a background has other labels than 0 and 1, expected both");
  let voxel = 0;
  for (let z = 0; z < shape[0]; z++) {
    for (let y = 0; y < shape[1]; y++) {
      const row = ((z >> 1) * cells[1] + (y >> 1)) * cells[2];
      for (let x = 0; x < shape[2]; x++) hidden[voxel++] = indices[row + (x >> 1)];
    }
  }
}

/**
 * Chebyshev polynomials T_0 .. T_degree at the voxels of an axis.
 * @param {number} n
 * @param {number} degree
 */
function chebyshev(n, degree) {
  const u = Float64Array.from({ length: n }, (_, v) => (2 * v + 1 - n) / n);
  const found = [new Float64Array(n).fill(1), u];
  for (let i = 2; i <= degree; i++) {
    const [before, last] = found.slice(-2);
    found.push(u.map((one, at) => 2 * one * last[at] - before[at]));
  }
  return found;
}

/**
 * The polynomial at all voxels, by f64 operations in the order of residual-format.md.
 * @param {Map<string, number>} c by the powers of z, y, x
 * @param {number} degree
 * @param {Triple} shape
 * @param {Dtype} dtype
 */
function polynomial(c, degree, shape, dtype) {
  const [tz, ty, tx] = shape.map((n) => chebyshev(n, degree));
  const [nz, ny, nx] = shape;
  const planes = [];
  for (let i = 0; i <= degree; i++) {
    const plane = new Float64Array(ny * nx);
    for (let j = 0; j <= degree - i; j++) {
      const line = new Float64Array(nx);
      for (let k = 0; k <= degree - i - j; k++) {
        const coefficient = c.get([i, j, k].join()) ?? 0;
        for (let x = 0; x < nx; x++) line[x] += tx[k][x] * coefficient;
      }
      for (let y = 0; y < ny; y++) {
        for (let x = 0; x < nx; x++) plane[y * nx + x] += ty[j][y] * line[x];
      }
    }
    planes.push(plane);
  }
  const out = zeros(dtype, nz * ny * nx);
  const { min, max, isFloat } = dtype;
  const isHalf = dtype.name === "f2";
  const total = new Float64Array(ny * nx);
  for (let z = 0; z < nz; z++) {
    total.fill(0);
    for (const [i, plane] of planes.entries()) {
      const t = tz[i][z];
      for (let at = 0; at < plane.length; at++) total[at] += t * plane[at];
    }
    for (let at = 0; at < total.length; at++) {
      const value = Math.min(Math.max(isFloat ? total[at] : rint(total[at]), min), max);
      out[z * ny * nx + at] = isHalf ? toHalf(value) : value;
    }
  }
  return out;
}

/**
 * The part of a box that a background leaves: what is behind it is of this part.
 * @param {Background} background
 * @param {Triple} shape
 * @param {boolean} isAligned whether it begins at multiples of 32 voxels, as that of numbers does
 * @returns {Box}
 */
export function partLeft({ hidden, isCropped }, shape, isAligned) {
  if (!isCropped) return [0, 0, 0, ...shape];
  const low = [...shape];
  const high = [0, 0, 0];
  let voxel = 0;
  for (let z = 0; z < shape[0]; z++) {
    for (let y = 0; y < shape[1]; y++) {
      for (let x = 0; x < shape[2]; x++) {
        if (hidden[voxel++]) continue;
        for (const [axis, at] of [z, y, x].entries()) {
          if (at < low[axis]) low[axis] = at;
          if (at >= high[axis]) high[axis] = at + 1;
        }
      }
    }
  }
  const [z, y, x] = isAligned ? low.map((at) => at - (at % UNIT)) : low;
  return [z, y, x, high[0], high[1], high[2]];
}
