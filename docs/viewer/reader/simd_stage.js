/** Predictions of a stage of a residual in WebAssembly, two f64 at a time: what `foresee` of kernels.js does. */

import {
  and,
  bitsOfF64,
  bitsToF64,
  constant,
  constant64,
  F,
  F64,
  F64X2,
  get,
  I,
  I32,
  ifBelow,
  increase,
  instantiate,
  L,
  load,
  load32,
  loadSplat64,
  repeat,
  select,
  set,
  splatF64,
  store,
  store8,
  V128,
  when,
  xor,
} from "./assembler.js";

import { furtherCode, symbolsCode } from "./simd_stream.js";

/** @typedef {import("./assembler.js").Code} Code */
/** @typedef {import("./kernels.js").Taps} Taps */
/** @typedef {import("./kernels.js").Work} Work */

const VECTORS = 4; // Of two numbers, which are worked on together.
export const SLACK = 2 * VECTORS; // Numbers behind an array that may be read, or overwritten.
const TAP = 16; // Bytes: f64 factor, i32 distance.
const PAIR = 16; // Bytes: f64 square, i32 distances of both.

/** @returns {import("./assembler.js").Definition} */
function stageCode() {
  const [source, size, prediction, activity] = [0, 1, 2, 3];
  const [taps, pairs, spread, sizes, end] = [4, 5, 6, 7, 8];
  const [lineOne, mostOne, noiseOne] = [9, 10, 11];
  const [i, p, at, other] = [12, 13, 14, 15];
  const sums = [16, 17, 18, 19];
  const centres = [20, 21, 22, 23];
  const [above, below] = [
    [24, 25],
    [26, 27],
  ];
  const [f, u, v, d, line, most, noise] = [28, 29, 30, 31, 32, 33, 34];
  /** @param {number} offset of the distance in a record @param {number} into */
  const place = (offset, into) => [
    ...get(source),
    ...get(i),
    ...I.add,
    ...get(p),
    ...load32(offset),
    ...I.add,
    ...set(into),
  ];
  /** @param {number} first @param {number} stop @param {(vector: number) => Code} term */
  const overTaps = (first, stop, term) => [
    ...[...get(first), ...set(p)],
    ...ifBelow(first, stop, [
      repeat(p, stop, [
        place(8, at),
        [...get(p), ...loadSplat64(), ...set(f)],
        ...sums.map((sum, vector) => [
          ...get(sum),
          ...get(f),
          ...term(vector),
          ...F64X2.mul,
          ...F64X2.add,
          ...set(sum),
        ]),
        increase(p, constant(TAP)),
      ]),
    ]),
  ];
  /** Means along lines, of two of the vectors. @param {number} half */
  const lines = (half) => [
    ...[...above, ...below].flatMap((sum) => [...splatF64(0), ...set(sum)]),
    ...[...get(pairs), ...set(p)],
    ...repeat(p, spread, [
      place(8, at),
      place(12, other),
      [...get(p), ...loadSplat64(), ...set(f)],
      ...[0, 1].map((vector) => [
        ...[...get(at), ...load(32 * half + 16 * vector), ...set(u)],
        ...[...get(other), ...load(32 * half + 16 * vector), ...set(v)],
        ...[...get(u), ...get(v), ...F64X2.sub, ...set(d)],
        ...[...splatF64(1), ...get(d), ...get(d), ...F64X2.mul, ...get(noise), ...F64X2.add],
        ...[...get(f), ...F64X2.mul, ...F64X2.div, ...set(d)],
        ...[...get(above[vector]), ...get(d), ...get(u), ...get(v), ...F64X2.add, ...F64X2.mul, ...F64X2.add],
        ...[...set(above[vector]), ...get(below[vector]), ...get(d), ...F64X2.add, ...set(below[vector])],
      ]),
      increase(p, constant(PAIR)),
    ]),
    ...[0, 1].flatMap((vector) => [
      ...[...get(sums[2 * half + vector]), ...get(line)],
      ...[...splatF64(4), ...get(above[vector]), ...F64X2.mul, ...get(below[vector]), ...F64X2.div, ...F64X2.nearest],
      ...[...splatF64(0), ...F64X2.max, ...get(most), ...F64X2.min],
      ...[...F64X2.mul, ...F64X2.add, ...set(sums[2 * half + vector])],
    ]),
  ];
  /** @param {number} vector */
  const fromTap = (vector) => [...get(at), ...load(16 * vector)];
  const block = [
    sums.flatMap((sum) => [...splatF64(128), ...set(sum)]),
    overTaps(taps, pairs, fromTap),
    ifBelow(pairs, spread, [lines(0), lines(1)]),
    ...sums.map((sum, vector) => [
      ...[...get(sum), ...splatF64(1 / 256), ...F64X2.mul, ...F64X2.floor],
      ...[...splatF64(0), ...F64X2.max, ...get(most), ...F64X2.min, ...set(u)],
      ...[...get(prediction), ...get(i), ...I.add, ...get(u), ...store(16 * vector)],
      ...[...get(u), ...splatF64(4), ...F64X2.add, ...splatF64(1 / 8), ...F64X2.mul, ...F64X2.floor],
      ...[...set(centres[vector]), ...splatF64(0), ...set(sum)],
    ]),
    overTaps(spread, sizes, (vector) => [...fromTap(vector), ...get(centres[vector]), ...F64X2.sub, ...F64X2.abs]),
    overTaps(sizes, end, (vector) => [...fromTap(vector), ...F64X2.abs]),
    ...sums.map((sum, vector) => [...get(activity), ...get(i), ...I.add, ...get(sum), ...store(16 * vector)]),
    increase(i, constant(16 * VECTORS)),
  ];
  return {
    name: "stage",
    parameters: [...new Array(9).fill(I32), F64, F64, F64],
    results: [],
    locals: [...new Array(4).fill(I32), ...new Array(19).fill(V128)],
    body: [
      [...get(lineOne), ...F64X2.splat, ...set(line)],
      [...get(mostOne), ...F64X2.splat, ...set(most)],
      [...get(noiseOne), ...F64X2.splat, ...set(noise)],
      repeat(i, size, block),
    ],
  };
}

/**
 * Values and errors of a row of voxels, from predictions and steps; one number behind an odd row is overwritten.
 * @returns {import("./assembler.js").Definition}
 */
function placeCode() {
  const [prediction, steps, values, errors, size, stepOne, highOne] = [0, 1, 2, 3, 4, 5, 6];
  const [i, step, high, p, centre, value] = [7, 8, 9, 10, 11, 12];
  /** @param {number} array */
  const at = (array) => [...get(array), ...get(i), ...I.add];
  return {
    name: "place",
    parameters: [...new Array(5).fill(I32), F64, F64],
    results: [],
    locals: [I32, ...new Array(5).fill(V128)],
    body: [
      [...get(stepOne), ...F64X2.splat, ...set(step)],
      [...get(highOne), ...F64X2.splat, ...set(high)],
      repeat(i, size, [
        [...at(prediction), ...load(), ...set(p)],
        [...get(p), ...splatF64(4), ...F64X2.add, ...splatF64(1 / 8), ...F64X2.mul, ...F64X2.floor, ...set(centre)],
        // The sign of prediction - 8 centre turns that of the step.
        [...get(p), ...get(centre), ...splatF64(8), ...F64X2.mul, ...F64X2.sub, ...splatF64(-0), ...and],
        [...at(steps), ...load(), ...get(step), ...F64X2.mul, ...xor, ...get(centre), ...F64X2.add],
        [...splatF64(0), ...F64X2.max, ...get(high), ...F64X2.min, ...set(value)],
        [...at(values), ...get(value), ...store()],
        [...at(errors), ...get(value), ...splatF64(8), ...F64X2.mul, ...get(p), ...F64X2.sub, ...store()],
        increase(i, constant(16)),
      ]),
    ],
  };
}

/**
 * Classes of a row of voxels, as `classify` of kernels.js finds them.
 * @returns {import("./assembler.js").Definition}
 */
function classesCode() {
  const [activity, prediction, classes, end, isFine, step] = [0, 1, 2, 3, 4, 5];
  const [exponent, found, a, p] = [6, 7, 8, 9];
  return {
    name: "classes",
    parameters: [...new Array(5).fill(I32), F64],
    results: [],
    locals: [I32, I32, F64, F64],
    body: [
      repeat(classes, end, [
        [...get(activity), ...F.load, ...set(a), ...get(a), ...get(step), ...F.constant(128), ...F.mul, ...F.div],
        [...bitsOfF64, ...constant64(52), ...L.shiftRight, ...L.wrap, ...set(exponent)],
        [...get(a), ...get(step), ...F.constant(181), ...F.mul],
        [...get(exponent), ...I.extend, ...constant64(52), ...L.shiftLeft, ...bitsToF64, ...F.mul, ...F.notBelow],
        [...get(exponent), ...constant(1023), ...I.sub, ...constant(1), ...I.shiftLeft, ...I.add],
        [...constant(1), ...I.add, ...set(found)],
        [...get(found), ...constant(0), ...get(found), ...constant(0), ...I.isGreater, ...select, ...set(found)],
        [...get(found), ...constant(99), ...get(found), ...constant(99), ...I.isLess, ...select],
        [...constant(1), ...I.shiftLeft, ...set(found)],
        when(get(isFine), [
          [...get(prediction), ...F.load, ...set(p)],
          [...get(p), ...get(p), ...F.constant(4), ...F.add, ...F.constant(1 / 8), ...F.mul, ...F.floor],
          [...F.constant(8), ...F.mul, ...F.sub, ...F.abs, ...F.constant(2), ...F.notBelow],
          [...get(found), ...I.add, ...set(found)],
        ]),
        [...get(classes), ...get(found), ...store8],
        increase(activity, constant(8)),
        increase(prediction, constant(8)),
        increase(classes, constant(1)),
      ]),
    ],
  };
}

/**
 * Whether all neighbours of each voxel of a row are equal to the first one: a number all of whose bits are 1 (a NaN), or 0.
 * @returns {import("./assembler.js").Definition}
 */
function equalCode() {
  const [source, size, taps, end, out] = [0, 1, 2, 3, 4];
  const [i, p, first, all] = [5, 6, 7, 8];
  const neighbour = [...get(source), ...get(i), ...I.add, ...get(p), ...load32(), ...I.add, ...load()];
  return {
    name: "equal",
    parameters: new Array(5).fill(I32),
    results: [],
    locals: [I32, I32, V128, V128],
    body: [
      repeat(i, size, [
        [...get(taps), ...set(p), ...neighbour, ...set(first)],
        [...get(first), ...get(first), ...F64X2.equal, ...set(all)],
        repeat(p, end, [
          [...get(all), ...neighbour, ...get(first), ...F64X2.equal, ...and, ...set(all)],
          increase(p, constant(4)),
        ]),
        [...get(out), ...get(i), ...I.add, ...get(all), ...store()],
        increase(i, constant(16)),
      ]),
    ],
  };
}

/**
 * @typedef {object} Kernels
 * @property {(source: number, size: number, prediction: number, activity: number, taps: number, pairs: number,
 *   spread: number, sizes: number, end: number, line: number, most: number, noise: number) => void} stage
 * @property {(prediction: number, steps: number, values: number, errors: number, size: number, step: number,
 *   high: number) => void} place
 * @property {(activity: number, prediction: number, classes: number, end: number, isFine: number,
 *   step: number) => void} classes
 * @property {(source: number, size: number, taps: number, end: number, out: number) => void} equal
 * @property {(head: number, words: number, c: number, lookup: number, order: number, end: number,
 *   out: number) => void} symbols
 * @property {(head: number, words: number, octave: number, order: number, end: number, tokens: number,
 *   numbers: number) => void} further
 * @property {WebAssembly.Memory} memory
 */

export const KERNELS = /** @type {Kernels | null} */ (
  instantiate([stageCode(), placeCode(), classesCode(), equalCode(), symbolsCode(), furtherCode()])
);

const PAGE = 2 ** 16;
const TABLES = 2 ** 15; // Bytes at the begin of the memory: records of at most 7 orbits of 8, 9 of 8, and 28 pairs.

/**
 * Arrays in the memory of the kernels; those that were given out before are overwritten.
 * @param {Kernels} kernels
 * @param {number[]} sizes bytes of each
 * @returns {number[]} where each begins
 */
export function placesInMemory({ memory }, sizes) {
  let at = TABLES;
  const places = sizes.map((size) => {
    const place = at;
    at = Math.ceil((at + size) / 8 + SLACK) * 8;
    return place;
  });
  const missing = Math.ceil((at - memory.buffer.byteLength) / PAGE);
  if (missing > 0) memory.grow(missing);
  return places;
}

/**
 * Predictions and activities of a plane of a stage, whose arrays are in the memory.
 * @param {Kernels} kernels
 * @param {Work} work
 * @param {Float64Array} activities
 */
export function stageOf(kernels, work, activities) {
  const { taps, values, errors, pairs, prediction, high, step, line } = work;
  const view = new DataView(kernels.memory.buffer);
  let at = 0;
  /** @param {number} number @param {number} one @param {number} other */
  const record = (number, one, other) => {
    view.setFloat64(at, number, true);
    view.setInt32(at + 8, one, true);
    view.setInt32(at + 12, other, true);
    at += TAP;
  };
  const toErrors = errors.byteOffset - values.byteOffset;
  /** @param {Taps} some @param {number} offset */
  const records = ({ distances, factors }, offset) => {
    for (const [tap, distance] of distances.entries()) if (factors[tap]) record(factors[tap], 8 * distance + offset, 0);
  };
  records(taps.values, 0);
  records(taps.errors, toErrors);
  const ofPairs = at;
  for (const { one, other, square } of pairs) record(square, 8 * one, 8 * other);
  const ofSpread = at;
  records(taps.spread, 0);
  const ofSizes = at;
  records(taps.sizes, toErrors);
  const end = at;
  const most = 8 * high;
  const noise = 2 * step * step;
  const first = values.byteOffset + 8 * work.start;
  const bytes = 8 * ((work.shape[1] - 1) * work.row + work.shape[2]);
  /** @param {number} z */
  return (z) => {
    const place = 8 * z * work.plane;
    const into = prediction.byteOffset + place;
    kernels.stage(
      first + place,
      bytes,
      into,
      activities.byteOffset,
      0,
      ofPairs,
      ofSpread,
      ofSizes,
      end,
      line,
      most,
      noise,
    );
  };
}

/**
 * What finds, of a row of voxels of an array in the memory, which have neighbours that are all equal.
 * @param {Kernels} kernels
 * @param {Float64Array} values
 * @param {number[]} distances of the neighbours
 * @param {Float64Array} out takes a NaN for such voxels, 0 for others
 * @returns {(at: number, count: number) => void} from the place of the first voxel
 */
export function equalRows(kernels, values, distances, out) {
  const taps = new Int32Array(kernels.memory.buffer, 0, distances.length);
  for (const [tap, distance] of distances.entries()) taps[tap] = 8 * distance;
  return (at, count) => kernels.equal(values.byteOffset + 8 * at, 8 * count, 0, taps.byteLength, out.byteOffset);
}
