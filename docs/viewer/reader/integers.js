/**
 * The integers q of a residual (residual-format.md, *Numbers*), from coarse to fine.
 *
 * All sums are whole numbers. Where their bound, from `high` and the weights, is below 2^53, doubles hold every partial
 * sum exactly in any order; else the stage is computed with BigInt.
 */

import * as kernels from "./kernels.js";
import { bitLength, FAR, gridOf, indexOf, knownOrbits, Layout, mirrored, NEAR, ORDER, SHELLS } from "./neighbours.js";
import { FLAT, MEDIUM, numbersOf, readNumber, readNumbers, STEEP, Tables } from "./tokens.js";
import { workspace } from "./workspace.js";

/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./kernels.js").Taps} Taps */
/** @typedef {import("./stream.js").Stack} Stack */

const LEAST_FITTED = 300; // Stages of fewer voxels have no weights of their own.
const MAX_WEIGHT = 32767; // Weights of terms beyond are cut to this,
const MAX_ACTIVITY = 65535; // and those of parts.
const VOTES = [4, 2, 1]; // A known neighbour that is background counts so much, by its shell.

/**
 * What the head of a residual says about its integers.
 * @typedef {object} Range
 * @property {number} high
 * @property {number} bound
 * @property {number} taper
 */

/**
 * Decode a box of integers.
 * @param {Stack} stack
 * @param {Triple} shape
 * @param {Range} range
 * @param {Uint8Array | null} hidden voxels that a background hides, of the shape; null for none
 * @param {number} last level to end with: above 0 only every 2^last-th voxel along each axis is decoded
 * @returns {Float64Array} of the grid of the last level, in C order
 */
export function decodeIntegers(stack, shape, range, hidden, last) {
  const { high } = range;
  const first = readNumber(stack, FLAT, "first voxel", 0, high);
  const background = readNumber(stack, FLAT, "background", -1, high);
  const tables = new Tables(stack);
  const flags = background >= 0 ? new Tables(stack) : null;
  /** @type {Map<string, {weights: number[], activity: number[]}>} */
  const stored = new Map();
  const top = bitLength(Math.max(...shape) - 1) - 1;
  /** @type {{layout: Layout, values: Float64Array, errors: Float64Array} | null} */
  let above = null;
  const arrays = workspace(stack, shape, last);
  for (let level = top; level >= last; level--) {
    const layout = new Layout(gridOf(shape, level));
    const [values, errors] = arrays.levels[(level - last) & 1];
    if (above) {
      above.layout.gather(above.values, values, layout);
      above.layout.gather(above.errors, errors, layout);
    } else {
      values[layout.origin] = first;
      errors[layout.origin] = 0;
    }
    layout.repeatFaces(values, [0, 0, 0]);
    layout.repeatFaces(errors, [0, 0, 0]);
    const known = new Array(8).fill(false);
    known[0] = true;
    for (const parity of ORDER) {
      if (layout.grid.some((n, axis) => n <= parity[axis])) continue;
      const stage = new Stage(layout, values, errors, arrays, parity, known, range, level);
      const seen = hidden ? seenVoxels(hidden, shape, parity, level, layout.shape(parity)) : null;
      stage.decode(arrays.stack, { background, tables, flags, stored, seen });
      layout.repeatFaces(values, parity);
      layout.repeatFaces(errors, parity);
      known[indexOf(parity)] = true;
    }
    above = { layout, values, errors };
  }
  arrays.finish();
  const [nz, ny, nx] = gridOf(shape, last);
  const out = new Float64Array(nz * ny * nx).fill(first);
  if (above) above.layout.gather(above.values, out, { origin: 0, plane: ny * nx, row: nx });
  return out;
}

/**
 * Which voxels of a stage are not hidden.
 * @param {Uint8Array} hidden
 * @param {Triple} shape
 * @param {Triple} parity
 * @param {number} level
 * @param {Triple} size voxels of the stage
 */
function seenVoxels(hidden, shape, parity, level, size) {
  const seen = new Uint8Array(size[0] * size[1] * size[2]);
  /** @param {number} axis @param {number} at */
  const place = (axis, at) => (2 * at + parity[axis]) * 2 ** level;
  let voxel = 0;
  for (let z = 0; z < size[0]; z++) {
    for (let y = 0; y < size[1]; y++) {
      const row = (place(0, z) * shape[1] + place(1, y)) * shape[2];
      for (let x = 0; x < size[2]; x++) seen[voxel++] = hidden[row + place(2, x)] ? 0 : 1;
    }
  }
  return seen;
}

/** All voxels of one parity of a level, about to be decoded. */
class Stage {
  /**
   * @param {Layout} layout
   * @param {Float64Array} values
   * @param {Float64Array} errors
   * @param {import("./workspace.js").Workspace} arrays
   * @param {Triple} parity
   * @param {boolean[]} known
   * @param {Range} range
   * @param {number} level
   */
  constructor(layout, values, errors, { prediction, activities, classes }, parity, known, range, level) {
    this.prediction = prediction;
    this.activities = activities;
    this.classes = classes;
    this.layout = layout;
    this.values = values;
    this.errors = errors;
    this.parity = parity;
    this.high = range.high;
    this.step = 2 * boundOf(range, level) + 1;
    this.shape = layout.shape(parity);
    this.size = this.shape[0] * this.shape[1] * this.shape[2];
    this.start = indexOf(parity) * layout.size + layout.origin;
    this.near = knownOrbits(parity, NEAR, known);
    this.far = knownOrbits(parity, FAR, known);
    this.shells = SHELLS.map((shell) => knownOrbits(parity, shell, known));
  }

  /** @param {Triple[]} orbits */
  _distances(orbits) {
    return orbits.flatMap((orbit) => mirrored(orbit).map((offset) => this.layout.distance(this.parity, offset)));
  }

  /**
   * Decode the voxels of the stage, and put them and their errors where they belong.
   * @param {Stack} stack
   * @param {{background: number, tables: Tables, flags: Tables | null,
   *   stored: Map<string, {weights: number[], activity: number[]}>, seen: Uint8Array | null}} from
   */
  decode(stack, { background, tables, flags, stored, seen }) {
    const { weights, activity } = this._weights(stack, stored);
    const { classes } = this;
    this._foresee(weights, activity);
    const empty = flags ? this._flags(stack, flags, background, seen) : null;
    let coded = null;
    if (seen || empty) {
      coded = new Int32Array(this.size);
      let count = 0;
      for (let at = 0; at < this.size; at++) if ((!seen || seen[at]) && !empty?.[at]) coded[count++] = at;
      coded = coded.subarray(0, count);
    }
    const count = coded ? coded.length : this.size;
    const ofCoded = coded ? Uint8Array.from(coded, (at) => classes[at]) : classes;
    const numbers = numbersOf(stack, tables.tokens(stack, ofCoded, count), count, stack.numbers(count));
    let steps = numbers;
    if (coded) {
      steps = new Float64Array(this.size);
      for (let at = 0; at < count; at++) steps[coded[at]] = numbers[at];
    }
    this._place(steps, empty, background);
  }

  /**
   * The weights of terms and parts that hold for the stage.
   * @param {Stack} stack
   * @param {Map<string, {weights: number[], activity: number[]}>} stored
   */
  _weights(stack, stored) {
    const key = [this.parity, this.near, this.far].join(";");
    const nWeights = 2 * this.near.length + this.far.length;
    const shells = this.shells.filter((shell) => shell.length);
    if (this.size >= LEAST_FITTED && readNumber(stack, STEEP, "whether weights follow", 0, 1)) {
      const weights = readNumbers(stack, MEDIUM, nWeights);
      const activity = readNumbers(stack, MEDIUM, 2 * shells.length);
      const found = {
        weights: Array.from(weights, (w) => Math.min(Math.max(w, -MAX_WEIGHT), MAX_WEIGHT)),
        activity: Array.from(activity, (a) => Math.min(Math.max(a, 0), MAX_ACTIVITY)),
      };
      stored.set(key, found);
      return found;
    }
    const known = stored.get(key);
    if (known) return known;
    const activity = new Array(2 * shells.length).fill(0);
    activity[0] = Math.floor(512 / this._distances(shells[0]).length);
    return { weights: new Array(nWeights).fill(0), activity };
  }

  /**
   * Predictions, in eighths, over the padded places of the stage; and the class of each voxel.
   * @param {number[]} weights
   * @param {number[]} activity
   */
  _foresee(weights, activity) {
    const { near, far, high } = this;
    const values = new kernels.TapList();
    const errors = new kernels.TapList();
    const ofValues = [...near.slice(1), ...far];
    const ofErrors = weights.slice(ofValues.length, -1);
    const line = weights[weights.length - 1];
    const ofBase = weights.slice(0, ofValues.length).reduce((rest, w) => rest - w, 256 - line);
    // M(d), in eighths, is 8 / n times the sum of the n values of an orbit, which is a whole number.
    for (const [orbit, weight] of [[near[0], ofBase], ...ofValues.map((o, at) => [o, weights[at]])]) {
      const distances = this._distances([/** @type {Triple} */ (orbit)]);
      values.add(distances, (8 / distances.length) * /** @type {number} */ (weight));
    }
    for (const [at, orbit] of near.entries()) errors.add(this._distances([orbit]), ofErrors[at]);
    const spread = new kernels.TapList();
    const sizes = new kernels.TapList();
    for (const [at, shell] of this.shells.filter((orbits) => orbits.length).entries()) {
      spread.add(this._distances(shell), 8 * activity[2 * at]);
      sizes.add(this._distances(shell), activity[2 * at + 1]);
    }
    // No value is beyond high, no error, difference of eighths or mean along lines beyond 8 high.
    const most = 8 * high * (values.total / 8 + errors.total + Math.abs(line)) + 128;
    const mostActivity = 8 * high * (spread.total / 8 + sizes.total);
    const work = {
      values: this.values,
      errors: this.errors,
      start: this.start,
      shape: this.shape,
      row: this.layout.row,
      plane: this.layout.plane,
      high,
      step: this.step,
      taps: { values: values.taps(), errors: errors.taps(), spread: spread.taps(), sizes: sizes.taps() },
      line,
      pairs: line ? this._pairs() : [],
      prediction: this.prediction,
      activities: this.activities,
      classes: this.classes,
    };
    if (most < 2 ** 53 && mostActivity < 2 ** 53) kernels.foresee(work);
    else kernels.foreseeExactly(work);
  }

  /** Opposite neighbours of the known near orbits: distances of both, and the square of the offset. */
  _pairs() {
    return this.near.flatMap((orbit) => {
      const distances = this._distances([orbit]);
      const square = orbit.reduce((sum, d) => sum + d * d, 0);
      const half = distances.length / 2;
      return distances.slice(0, half).map((one, at) => ({ one, other: distances[2 * half - 1 - at], square }));
    });
  }

  /**
   * Which voxels are background, as flags say.
   * @param {Stack} stack
   * @param {Tables} flags
   * @param {number} background
   * @param {Uint8Array | null} seen
   */
  _flags(stack, flags, background, seen) {
    /** @type {[number, number][]} */
    const taps = this.shells.flatMap((shell, at) =>
      this._distances(shell).map((distance) => /** @type {[number, number]} */ ([distance, VOTES[at]])),
    );
    const all = taps.reduce((sum, [, votes]) => sum + votes, 0);
    const { values, shape, layout } = this;
    const flagged = new Int32Array(this.size);
    const classes = new Uint8Array(this.size);
    let count = 0;
    let voxel = 0;
    for (let z = 0; z < shape[0]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        const row = this.start + z * layout.plane + y * layout.row;
        for (let x = 0; x < shape[2]; x++, voxel++) {
          if (seen && !seen[voxel]) continue;
          let votes = 0;
          for (const [distance, vote] of taps) if (values[row + x + distance] === background) votes += vote;
          if (!votes) continue;
          classes[count] = Math.ceil((15 * votes) / all);
          flagged[count++] = voxel;
        }
      }
    }
    const tokens = flags.tokens(stack, classes, count);
    const empty = new Uint8Array(this.size);
    for (let at = 0; at < count; at++) if (tokens[at]) empty[flagged[at]] = 1;
    return empty;
  }

  /**
   * Put values and errors where they belong.
   * @param {Float64Array} steps k of each voxel
   * @param {Uint8Array | null} empty which voxels are background
   * @param {number} background
   */
  _place(steps, empty, background) {
    const { prediction, values, errors, shape, step, high, start } = this;
    const { plane, row } = this.layout;
    const place = kernels.placeRows({
      prediction,
      values,
      errors,
      steps,
      step,
      high,
      isPadded: this.layout.pads[2] > 0,
    });
    for (let z = 0; z < shape[0]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        place(z * plane + y * row, start, (z * shape[1] + y) * shape[2], shape[2]);
      }
    }
    if (!empty) return;
    for (let at = 0; at < empty.length; at++) {
      if (!empty[at]) continue;
      const x = at % shape[2];
      const y = Math.floor(at / shape[2]) % shape[1];
      const z = Math.floor(at / (shape[1] * shape[2]));
      values[start + z * plane + y * row + x] = background;
      errors[start + z * plane + y * row + x] = 0;
    }
  }
}

/**
 * The bound of a level: max(b // 4, b 4^l // (4 + taper)^l). b is below 2^36 and l below 12, so b 4^l may reach 2^60.
 * @param {Range} range
 * @param {number} level
 */
function boundOf({ bound, taper }, level) {
  const power = BigInt(level);
  const scaled = (BigInt(bound) * 4n ** power) / BigInt(4 + taper) ** power;
  return Math.max(Math.floor(bound / 4), Number(scaled));
}
