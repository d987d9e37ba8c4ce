/** The filter of a file (format.md, *Filter*). */

import { Cursor } from "./cursor.js";
import { rint, toHalf, toNumbers, zeros } from "./dtypes.js";
import { checkRange, require } from "./errors.js";
import { MAX_FILTER, MAX_LARGEST } from "./limits.js";
import { NEAR } from "./neighbours.js";
import { geometric, Stack } from "./stream.js";

/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./head.js").Facts} Facts */
/** @typedef {import("./head.js").Triple} Triple */

/** @type {Triple[]} */
const ORBITS = [...NEAR, [2, 0, 0], [0, 2, 0], [0, 0, 2], [3, 0, 0], [0, 3, 0], [0, 0, 3]];

/** The class of a voxel, from the number of classes and its coordinates modulo 2. */
const CLASS_OF = {
  1: () => 0,
  4: (/** @type {number} */ z, /** @type {number} */ y, /** @type {number} */ x) => z + y + x,
  8: (/** @type {number} */ z, /** @type {number} */ y, /** @type {number} */ x) => 4 * z + 2 * y + x,
};

/**
 * @typedef {object} Filter
 * @property {Float32Array[]} coefficients of each class: of orbits, of clipped orbits if there are such, and a constant
 * @property {(z: number, y: number, x: number) => number} classOf
 * @property {boolean} clips
 * @property {number} unit
 */

/**
 * @param {Uint8Array} bytes
 * @returns {Filter}
 */
export function readFilter(bytes) {
  checkRange("bytes of the filter", bytes.length, 1, MAX_FILTER);
  const cursor = new Cursor(bytes, "filter");
  const classes = cursor.u8("classes of the filter");
  require(classes === 1 || classes === 4 || classes === 8, `filter has ${classes} classes, expected 1, 4 or 8`);
  const clips = cursor.u8("clips of the filter", 1) > 0;
  const bits = cursor.u8("bits of the filter", 15);
  const unit = cursor.f32("unit of the filter");
  require(unit > 0, `unit of the filter is ${unit}, expected one above 0`);
  const decay = cursor.u16("decay of the filter");
  const largest = cursor.u16("largest coefficient of the filter");
  checkRange("largest coefficient of the filter", largest, 0, MAX_LARGEST);
  require(decay > 0 === largest > 0, `filter has the law ${decay}, ${largest}, expected both 0 or none`);
  const n = ORBITS.length * (clips ? 2 : 1) + 1;
  const stack = new Stack(cursor.rest(), "filter");
  const integers = stack.integers(classes * n, largest ? geometric(decay / 65536, largest) : null, -largest);
  stack.end();
  const coefficients = Array.from({ length: classes }, (_, at) =>
    Float32Array.from(integers.subarray(at * n, (at + 1) * n), (integer) => integer * 2 ** -bits),
  );
  return { coefficients, classOf: CLASS_OF[classes], clips, unit };
}

/**
 * What a filter makes of the values of a block. Every operation on f32 is rounded once: f64 sums and products of two f32
 * that are then rounded to f32 are so, too.
 * @param {Filter} filter
 * @param {TypedArray} values
 * @param {Triple} shape
 * @param {Facts} facts of the file
 * @returns {TypedArray}
 */
export function applyFilter({ coefficients, classOf, clips, unit }, values, shape, { lo, hi, dtype }) {
  const range = hi - lo;
  if (!(range > 0 && range < Number.POSITIVE_INFINITY)) return values;
  const numbers = toNumbers(dtype, values);
  const x = new Float32Array(numbers.length);
  for (let at = 0; at < x.length; at++) x[at] = (numbers[at] - lo) / range;
  const rows = rowsOfCoefficients(coefficients, classOf);
  const sums = new Float32Array(x.length);
  eachRow(shape, (first, z, y) => {
    const row = rows[2 * (z & 1) + (y & 1)];
    const last = row.length - 1;
    for (let at = 0; at < shape[2]; at++) sums[first + at] = row[last][at & 1] * unit;
  });
  for (const [number, orbit] of ORBITS.entries()) {
    let mean = x;
    for (const [axis, d] of orbit.entries()) if (d) mean = pairsAlong(mean, shape, axis, d);
    const scale = 0.5 ** orbit.filter(Boolean).length;
    eachRow(shape, (first, z, y) => {
      const row = rows[2 * (z & 1) + (y & 1)];
      const ofTerm = row[number];
      const ofClipped = clips ? row[ORBITS.length + number] : null;
      for (let at = 0; at < shape[2]; at++) {
        const place = first + at;
        const term = Math.fround(Math.fround(mean[place] * scale) - x[place]);
        sums[place] += Math.fround(ofTerm[at & 1] * term);
        if (ofClipped) sums[place] += Math.fround(ofClipped[at & 1] * Math.min(Math.max(term, -unit), unit));
      }
    });
  }
  const out = zeros(dtype, x.length);
  const isHalf = dtype.name === "f2";
  for (let at = 0; at < x.length; at++) {
    const value = Math.min(Math.max(numbers[at] + sums[at] * range, lo), hi);
    out[at] = isHalf ? toHalf(value) : dtype.isFloat ? value : rint(value);
  }
  return out;
}

/**
 * For each parity of z and y, and each coefficient, that of even and of odd x.
 * @param {Float32Array[]} coefficients
 * @param {(z: number, y: number, x: number) => number} classOf
 */
function rowsOfCoefficients(coefficients, classOf) {
  const parities = [0, 1].flatMap((z) => [0, 1].map((y) => [z, y]));
  return parities.map(([z, y]) =>
    Array.from(coefficients[0], (_, number) => [0, 1].map((x) => coefficients[classOf(z, y, x)][number])),
  );
}

/**
 * @param {Triple} shape
 * @param {(first: number, z: number, y: number) => void} visit with the place of the first voxel of each row
 */
function eachRow(shape, visit) {
  for (let z = 0; z < shape[0]; z++) {
    for (let y = 0; y < shape[1]; y++) visit((z * shape[1] + y) * shape[2], z, y);
  }
}

/**
 * Sums of the two voxels at a distance along an axis, each the voxel at the face where it would lie beyond.
 * @param {Float32Array} x
 * @param {Triple} shape
 * @param {number} axis
 * @param {number} distance
 */
function pairsAlong(x, shape, axis, distance) {
  const out = new Float32Array(x.length);
  const steps = [shape[1] * shape[2], shape[2], 1];
  const step = steps[axis];
  const last = shape[axis] - 1;
  eachRow(shape, (first, z, y) => {
    if (axis < 2) {
      const at = axis ? y : z;
      const before = first + (Math.max(at - distance, 0) - at) * step;
      const after = first + (Math.min(at + distance, last) - at) * step;
      for (let i = 0; i < shape[2]; i++) out[first + i] = x[before + i] + x[after + i];
    } else {
      for (let i = 0; i < shape[2]; i++) {
        out[first + i] = x[first + Math.max(i - distance, 0)] + x[first + Math.min(i + distance, last)];
      }
    }
  });
  return out;
}
