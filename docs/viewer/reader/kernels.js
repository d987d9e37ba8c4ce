/** The arithmetic of a stage of a residual: predictions and classes of its voxels. */

import { KERNELS, stageOf } from "./simd_stage.js";

/** @typedef {import("./head.js").Triple} Triple */

/**
 * Neighbours, and the factor of each; filled up with factors of 0 to a multiple of four.
 * @typedef {object} Taps
 * @property {Int32Array} distances
 * @property {Float64Array} factors
 */

/**
 * A stage to be foreseen. Places of `prediction` are those of a parity, less its first voxel.
 * @typedef {object} Work
 * @property {Float64Array} values
 * @property {Float64Array} errors
 * @property {number} start place of the first voxel
 * @property {Triple} shape
 * @property {number} row
 * @property {number} plane
 * @property {number} high
 * @property {number} step
 * @property {{values: Taps, errors: Taps, spread: Taps, sizes: Taps}} taps
 * @property {number} line weight of the mean along lines
 * @property {{one: number, other: number, square: number}[]} pairs
 * @property {Float64Array} prediction
 * @property {Float64Array} activities of a plane; overwritten
 * @property {Uint8Array} classes
 */

/** Collects taps; those of factor 0 are left out. */
export class TapList {
  constructor() {
    /** @type {number[]} */
    this.distances = [];
    /** @type {number[]} */
    this.factors = [];
    /** Sum of the sizes of all factors. */
    this.total = 0;
  }

  /**
   * @param {number[]} distances
   * @param {number} factor
   */
  add(distances, factor) {
    this.total += Math.abs(factor) * distances.length;
    if (!factor) return;
    this.distances.push(...distances);
    this.factors.push(...distances.map(() => factor));
  }

  /** @returns {Taps} */
  taps() {
    const missing = (4 - (this.distances.length % 4)) % 4;
    const zeros = new Array(missing).fill(0);
    return {
      distances: Int32Array.from([...this.distances, ...zeros]),
      factors: Float64Array.from([...this.factors, ...zeros]),
    };
  }
}

const CHUNK = 1024; // Places that are worked on at a time, so that sums stay in the cache.
const TOTAL = new Float64Array(CHUNK);
const ABOVE = new Float64Array(CHUNK);
const BELOW = new Float64Array(CHUNK);
const CENTRE = new Float64Array(CHUNK);

/**
 * Predictions and classes, where all sums are below 2^53.
 * @param {Work} work
 */
export function foresee(work) {
  const { values, errors, shape, row, plane, high, taps, prediction, activities } = work;
  const span = (shape[1] - 1) * row + shape[2];
  if (KERNELS) {
    const ofPlane = stageOf(KERNELS, work, activities);
    for (let z = 0; z < shape[0]; z++) {
      ofPlane(z);
      classify(work, z);
    }
    return;
  }
  for (let z = 0; z < shape[0]; z++) {
    for (let first = 0; first < span; first += CHUNK) {
      const n = Math.min(CHUNK, span - first);
      const place = z * plane + first;
      const start = work.start + place;
      TOTAL.fill(128, 0, n);
      addWeighted(TOTAL, values, start, n, taps.values);
      addWeighted(TOTAL, errors, start, n, taps.errors);
      if (work.line) addLines(work, start, n);
      const most = 8 * high;
      for (let i = 0; i < n; i++) {
        const predicted = Math.min(Math.max(Math.floor(TOTAL[i] * 0.00390625), 0), most);
        prediction[place + i] = predicted;
        CENTRE[i] = Math.floor((predicted + 4) * 0.125);
      }
      TOTAL.fill(0, 0, n);
      addSpread(TOTAL, values, start, n, taps.spread);
      addSizes(TOTAL, errors, start, n, taps.sizes);
      for (let i = 0; i < n; i++) activities[first + i] = TOTAL[i];
    }
    classify(work, z);
  }
}

/**
 * @param {Float64Array} total
 * @param {Float64Array} from
 * @param {number} start
 * @param {number} n
 * @param {Taps} taps
 */
function addWeighted(total, from, start, n, { distances, factors }) {
  for (let tap = 0; tap < distances.length; tap += 4) {
    const a = start + distances[tap];
    const b = start + distances[tap + 1];
    const c = start + distances[tap + 2];
    const d = start + distances[tap + 3];
    const fa = factors[tap];
    const fb = factors[tap + 1];
    const fc = factors[tap + 2];
    const fd = factors[tap + 3];
    for (let i = 0; i < n; i++) {
      total[i] += fa * from[a + i] + fb * from[b + i] + (fc * from[c + i] + fd * from[d + i]);
    }
  }
}

/**
 * @param {Float64Array} total
 * @param {Float64Array} from
 * @param {number} start
 * @param {number} n
 * @param {Taps} taps
 */
function addSpread(total, from, start, n, { distances, factors }) {
  for (let tap = 0; tap < distances.length; tap += 4) {
    const a = start + distances[tap];
    const b = start + distances[tap + 1];
    const c = start + distances[tap + 2];
    const d = start + distances[tap + 3];
    const fa = factors[tap];
    const fb = factors[tap + 1];
    const fc = factors[tap + 2];
    const fd = factors[tap + 3];
    for (let i = 0; i < n; i++) {
      const centre = CENTRE[i];
      total[i] +=
        fa * Math.abs(from[a + i] - centre) +
        fb * Math.abs(from[b + i] - centre) +
        (fc * Math.abs(from[c + i] - centre) + fd * Math.abs(from[d + i] - centre));
    }
  }
}

/**
 * @param {Float64Array} total
 * @param {Float64Array} from
 * @param {number} start
 * @param {number} n
 * @param {Taps} taps
 */
function addSizes(total, from, start, n, { distances, factors }) {
  for (let tap = 0; tap < distances.length; tap += 4) {
    const a = start + distances[tap];
    const b = start + distances[tap + 1];
    const c = start + distances[tap + 2];
    const d = start + distances[tap + 3];
    const fa = factors[tap];
    const fb = factors[tap + 1];
    const fc = factors[tap + 2];
    const fd = factors[tap + 3];
    for (let i = 0; i < n; i++) {
      total[i] +=
        fa * Math.abs(from[a + i]) +
        fb * Math.abs(from[b + i]) +
        (fc * Math.abs(from[c + i]) + fd * Math.abs(from[d + i]));
    }
  }
}

const WHOLE = 2 ** 52; // Adding it to a number from 0 to 2^51, and taking it away again, rounds half to even.

/**
 * Add the weighted mean along lines; pairs of neighbours count more where they agree.
 * @param {Work} work
 * @param {number} start
 * @param {number} n
 */
function addLines({ values, pairs, step, high, line }, start, n) {
  const noise = 2 * step * step;
  ABOVE.fill(0, 0, n);
  BELOW.fill(0, 0, n);
  for (const { one, other, square } of pairs) {
    const u = start + one;
    const v = start + other;
    for (let i = 0; i < n; i++) {
      const a = values[u + i];
      const b = values[v + i];
      const d = a - b;
      const t = 1 / ((d * d + noise) * square);
      ABOVE[i] += t * (a + b);
      BELOW[i] += t;
    }
  }
  const most = 8 * high;
  for (let i = 0; i < n; i++) {
    TOTAL[i] += line * Math.min(Math.max((4 * ABOVE[i]) / BELOW[i] + WHOLE - WHOLE, 0), most);
  }
}

const REAL = new Float64Array(1);
const HALVES = new Uint32Array(REAL.buffer);
const POWERS = Float64Array.from({ length: 64 }, (_, exponent) => 2 ** exponent);

/**
 * Put the classes of a plane of the stage where they belong: twice the number of edges e_0 .. e_98 that its activity
 * reaches, which is found from the power of two below; one more if the step is 1 and the prediction is between integers.
 * @param {Work} work
 * @param {number} z
 */
function classify({ shape, row, plane, step, prediction, activities, classes }, z) {
  const unit = 128 * step;
  const isFine = step === 1;
  if (KERNELS) {
    for (let y = 0; y < shape[1]; y++) {
      const first = classes.byteOffset + (z * shape[1] + y) * shape[2];
      const activity = activities.byteOffset + 8 * y * row;
      const predicted = prediction.byteOffset + 8 * (z * plane + y * row);
      KERNELS.classes(activity, predicted, first, first + shape[2], +isFine, step);
    }
    return;
  }
  for (let y = 0; y < shape[1]; y++) {
    const first = (z * shape[1] + y) * shape[2];
    for (let x = 0; x < shape[2]; x++) {
      const activity = activities[y * row + x];
      let found = 0;
      if (activity >= unit) {
        REAL[0] = activity / unit; // Never rounded up to a power of two that it is below, as both are below 2^53.
        const exponent = (HALVES[1] >>> 20) - 1023;
        found = 2 * Math.min(2 * exponent + 1 + +(activity >= step * 181 * POWERS[exponent]), 99);
      }
      if (isFine) {
        const predicted = prediction[z * plane + y * row + x];
        const fraction = predicted - 8 * Math.floor((predicted + 4) * 0.125);
        if (fraction >= 2 || fraction <= -2) found++;
      }
      classes[first + x] = found;
    }
  }
}

/**
 * What puts the values and errors of a row of voxels where they belong.
 * @param {{prediction: Float64Array, values: Float64Array, errors: Float64Array, steps: Float64Array, step: number,
 *   high: number, isPadded: boolean}} stage steps are k of each voxel; a row that is padded has room behind it
 * @returns {(from: number, start: number, voxel: number, count: number) => void} from the place of the first voxel in
 *   `prediction`, how much further it is in `values`, and its number
 */
export function placeRows({ prediction, values, errors, steps, step, high, isPadded }) {
  const kernels = KERNELS && isPadded && steps.buffer === values.buffer ? KERNELS : null;
  return (from, start, voxel, count) => {
    if (kernels) {
      const [p, k] = [prediction.byteOffset + 8 * from, steps.byteOffset + 8 * voxel];
      const at = 8 * (start + from);
      kernels.place(p, k, values.byteOffset + at, errors.byteOffset + at, 8 * count, step, high);
      return;
    }
    for (let x = 0; x < count; x++) {
      const predicted = prediction[from + x];
      const centre = Math.floor((predicted + 4) / 8);
      const moved = steps[voxel + x] * step;
      const value = Math.min(Math.max(predicted < 8 * centre ? centre - moved : centre + moved, 0), high);
      values[start + from + x] = value;
      errors[start + from + x] = 8 * value - predicted;
    }
  };
}

/**
 * The same with whole numbers of any size: of hostile files, and of weights that no encoder chooses.
 * @param {Work} work
 */
export function foreseeExactly(work) {
  const { values, errors, shape, row, plane, taps, line, pairs, step, prediction, classes } = work;
  const most = 8 * work.high;
  const noise = 2 * step * step;
  const edges = Array.from({ length: 99 }, (_, i) => (BigInt(step) * (i % 2 ? 181n : 128n)) << BigInt(i >> 1));
  /**
   * @param {Taps} some
   * @param {(distance: number) => number} number
   */
  const sum = ({ distances, factors }, number) => {
    let total = 0n;
    for (let tap = 0; tap < distances.length; tap++) {
      if (factors[tap]) total += BigInt(factors[tap]) * BigInt(number(distances[tap]));
    }
    return total;
  };
  let voxel = 0;
  for (let z = 0; z < shape[0]; z++) {
    for (let y = 0; y < shape[1]; y++) {
      for (let x = 0; x < shape[2]; x++) {
        const place = z * plane + y * row + x;
        const at = work.start + place;
        let total = 128n + sum(taps.values, (d) => values[at + d]) + sum(taps.errors, (d) => errors[at + d]);
        if (line) {
          let [above, below] = [0, 0];
          for (const { one, other, square } of pairs) {
            const [u, v] = [values[at + one], values[at + other]];
            const t = 1 / (((u - v) * (u - v) + noise) * square);
            above += t * (u + v);
            below += t;
          }
          const mean = Math.min(Math.max((4 * above) / below + WHOLE - WHOLE, 0), most);
          total += BigInt(line) * BigInt(mean);
        }
        const shifted = total >> 8n;
        const predicted = shifted < 0n ? 0 : shifted > BigInt(most) ? most : Number(shifted);
        const centre = Math.floor((predicted + 4) / 8);
        const activity =
          sum(taps.spread, (d) => Math.abs(values[at + d] - centre)) + sum(taps.sizes, (d) => Math.abs(errors[at + d]));
        const isBetween = step === 1 && Math.abs(predicted - 8 * centre) >= 2;
        prediction[place] = predicted;
        classes[voxel++] = 2 * edges.filter((edge) => edge <= activity).length + +isBetween;
      }
    }
  }
}
