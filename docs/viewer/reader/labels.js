/** Label images, and masks (residual-format.md, *Labels*): which of the labels around it does a voxel have? */

import { checkRange, TincError } from "./errors.js";
import { bitLength, gridOf, indexOf, knownOrbits, Layout, mirrored, NEAR, ORDER } from "./neighbours.js";
import { equalRows, KERNELS } from "./simd_stage.js";
import { FLAT, MEDIUM, readNumber, readNumbers, STEEP, Tables } from "./tokens.js";
import { workspace } from "./workspace.js";

/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./stream.js").Stack} Stack */
/** @typedef {import("./workspace.js").Workspace} Workspace */

/** Votes of a neighbour, by its offset sorted; others have none. @type {Record<string, number>} */
const VOTES = { "0,0,1": 16, "0,1,1": 9, "1,1,1": 3, "0,1,2": 4, "1,2,2": 1, "0,0,3": -3 };
const OTHER = 3; // Token of a label that is none of the candidates.
const NO_VOTES = -(2 ** 30); // Votes of a candidate that is missing.
const MOST_LEADS = 26; // Leads of more steps have the class of so many.

/** @param {Triple} orbit */
function votesOf(orbit) {
  return VOTES[[...orbit].sort().join()] ?? 0;
}

const DIGITS = [0, 1, 2, 3];
/** Offsets with votes, ascending. */
const VOTERS = DIGITS.flatMap((z) =>
  DIGITS.flatMap((y) => DIGITS.map((x) => /** @type {Triple} */ ([z, y, x]))),
).filter(votesOf);

/**
 * Labels of a box.
 * @typedef {object} Labels
 * @property {bigint[] | Float64Array} names the labels, ascending, as unsigned integers: of 64 bits BigInts, else numbers
 * @property {Uint32Array} indices of each voxel's label, in C order
 */

/**
 * @param {Stack} stack
 * @param {Triple} shape
 * @param {number} bits of a label: 8, 16, 32 or 64
 * @returns {Labels}
 */
export function decodeLabels(stack, shape, bits) {
  const size = shape[0] * shape[1] * shape[2];
  const count = readNumber(stack, FLAT, "number of labels", 1, Math.min(size, 2 ** bits));
  const names = bits === 64 ? readWideNames(stack, count) : readNames(stack, count, bits);
  const indices = new Uint32Array(size);
  if (count > 1) decodeIndices(stack, shape, count, indices);
  stack.end();
  return { names, indices };
}

/**
 * Labels of at most 32 bits, each stored as the difference from the one before, less 1.
 * @param {Stack} stack
 * @param {number} count
 * @param {number} bits
 */
function readNames(stack, count, bits) {
  const names = readNumbers(stack, MEDIUM, count);
  for (let at = 0; at < count; at++) {
    checkRange("difference of labels", names[at], 0, 2 ** 32 - 1);
    if (at) names[at] += names[at - 1] + 1;
    checkRange("label", names[at], 0, 2 ** bits - 1);
  }
  return names;
}

/**
 * Labels of 64 bits: the low halves of all differences, then the high ones.
 * @param {Stack} stack
 * @param {number} count
 */
function readWideNames(stack, count) {
  const low = readNumbers(stack, MEDIUM, count);
  const high = readNumbers(stack, STEEP, count);
  /** @type {bigint[]} */
  const names = [];
  for (let at = 0; at < count; at++) {
    checkRange("half of a difference of labels", low[at], 0, 2 ** 32 - 1);
    checkRange("half of a difference of labels", high[at], 0, 2 ** 32 - 1);
    const name = (BigInt(high[at]) << 32n) + BigInt(low[at]) + (at ? names[at - 1] + 1n : 0n);
    if (name >= 1n << 64n) throw new TincError(`label is ${name}, expected one below 2^64`);
    names.push(name);
  }
  return names;
}

/**
 * Read the index of every voxel's label.
 * @param {Stack} stack
 * @param {Triple} shape
 * @param {number} count of labels
 * @param {Uint32Array} out
 */
function decodeIndices(stack, shape, count, out) {
  const width = bitLength(count - 1);
  /** @param {Stack} from @param {number} n */
  const readIndices = (from, n) => {
    const indices = from.plain(n, width);
    for (const index of indices) checkRange("index of a label", index, 0, count - 1);
    return indices;
  };
  const [first] = readIndices(stack, 1);
  const tables = new Tables(stack);
  const arrays = workspace(stack, shape, 0);
  const candidates = [0, 1, 2].map(() => new Float64Array(arrays.classes.length));
  /** @type {{layout: Layout, values: Float64Array} | null} */
  let above = null;
  for (let level = bitLength(Math.max(...shape) - 1) - 1; level >= 0; level--) {
    const layout = new Layout(gridOf(shape, level));
    const [values] = arrays.levels[level & 1];
    if (above) above.layout.gather(above.values, values, layout);
    else values[layout.origin] = first;
    layout.repeatFaces(values, [0, 0, 0]);
    const known = new Array(8).fill(false);
    known[0] = true;
    for (const [place, parity] of ORDER.entries()) {
      if (layout.grid.some((n, axis) => n <= parity[axis])) continue;
      const vote = new Vote(layout, values, parity, place, known, candidates, arrays);
      const tokens = tables.tokens(arrays.stack, vote.classes, vote.size);
      let others = 0;
      for (let at = 0; at < vote.size; at++) if (tokens[at] === OTHER) others++;
      vote.place(tokens, readIndices(arrays.stack, others));
      layout.repeatFaces(values, parity);
      known[indexOf(parity)] = true;
    }
    above = { layout, values };
  }
  arrays.finish();
  const box = { origin: 0, plane: shape[1] * shape[2], row: shape[2] };
  if (!above) return;
  const whole = new Float64Array(out.length);
  above.layout.gather(above.values, whole, box);
  out.set(whole);
}

/** The candidates for the labels of all voxels of a stage, and the classes of these. */
class Vote {
  /**
   * @param {Layout} layout
   * @param {Float64Array} values
   * @param {Triple} parity
   * @param {number} number of the parity, in the order of stages
   * @param {boolean[]} known
   * @param {Float64Array[]} candidates taken for those of this stage
   * @param {Workspace} arrays
   */
  constructor(layout, values, parity, number, known, candidates, arrays) {
    this.layout = layout;
    this.values = values;
    this.shape = layout.shape(parity);
    this.size = this.shape[0] * this.shape[1] * this.shape[2];
    this.start = indexOf(parity) * layout.size + layout.origin;
    this.number = number;
    const near = knownOrbits(parity, NEAR, known);
    const isReached = [0, 1, 2].map((axis) => near.some((orbit) => orbit[axis]));
    const isNear = new Set(NEAR.map(String));
    const far = knownOrbits(parity, VOTERS, known).filter(
      (orbit) => !isNear.has(String(orbit)) && !orbit.some((d, axis) => d === 2 && isReached[axis]),
    );
    const taps = [...near, ...far].flatMap((orbit) =>
      mirrored(orbit).map((offset) => ({ distance: layout.distance(parity, offset), votes: votesOf(orbit) })),
    );
    this.distances = Int32Array.from(taps, (tap) => tap.distance);
    this.votes = Int32Array.from(taps, (tap) => tap.votes);
    this.candidates = candidates;
    this.classes = arrays.classes;
    const positive = taps.filter((tap) => tap.votes > 0).map((tap) => tap.distance);
    this._findEqual = KERNELS
      ? equalRows(KERNELS, values, positive, arrays.activities)
      : equalRowsInJavaScript(values, positive, arrays.activities);
    this._count(arrays.activities);
  }

  /**
   * Rank the labels around every voxel by their votes: the earlier one first in a tie.
   * @param {Float64Array} equal a NaN where all neighbours with positive votes are equal, of a row
   */
  _count(equal) {
    const { values, distances, votes, shape, layout, classes, number } = this;
    const [one, two, three] = this.candidates;
    let voxel = 0;
    for (let z = 0; z < shape[0]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        const row = this.start + z * layout.plane + y * layout.row;
        this._findEqual(row, shape[2]);
        for (let x = 0; x < shape[2]; x++, voxel++) {
          const at = row + x;
          let first = values[at + distances[0]];
          if (Number.isNaN(equal[x])) {
            one[voxel] = first;
            classes[voxel] = number;
            continue;
          }
          let second = -1;
          let third = -1;
          let a = 0;
          let b = 0;
          let c = 0;
          for (let tap = 0; tap < distances.length; tap++) {
            const label = values[at + distances[tap]];
            if (label === first) a += votes[tap];
            else if (second < 0 || label === second) {
              second = label;
              b += votes[tap];
            } else if (third < 0 || label === third) {
              third = label;
              c += votes[tap];
            }
          }
          if (third < 0) c = NO_VOTES;
          if (b > a) [first, second, a, b] = [second, first, b, a];
          if (c > b) {
            [second, third, b, c] = [third, second, c, b];
            if (b > a) [first, second, a, b] = [second, first, b, a];
          }
          one[voxel] = first;
          two[voxel] = second;
          three[voxel] = third;
          classes[voxel] = 7 * (1 + Math.min((a - b) >> 3, MOST_LEADS)) + number;
        }
      }
    }
  }

  /**
   * Put labels where they belong.
   * @param {Uint16Array} tokens
   * @param {Float64Array} others labels of the voxels with the token OTHER
   */
  place(tokens, others) {
    const { values, shape, layout, candidates, classes } = this;
    const [one] = candidates;
    let voxel = 0;
    let next = 0;
    for (let z = 0; z < shape[0]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        const row = this.start + z * layout.plane + y * layout.row;
        for (let x = 0; x < shape[2]; x++, voxel++) {
          const token = tokens[voxel];
          let label = one[voxel];
          if (token === OTHER) label = others[next++];
          else if (token) label = token < OTHER && classes[voxel] >= 7 ? candidates[token][voxel] : -1;
          if (label < 0) {
            throw new TincError(`token of a label is ${token}, expected a candidate that there is, or ${OTHER}`);
          }
          values[row + x] = label;
        }
      }
    }
  }
}

/**
 * The same as equalRows, where there are no kernels.
 * @param {Float64Array} values
 * @param {number[]} distances
 * @param {Float64Array} out
 * @returns {(at: number, count: number) => void}
 */
function equalRowsInJavaScript(values, distances, out) {
  return (at, count) => {
    for (let x = 0; x < count; x++) {
      const first = values[at + x + distances[0]];
      let tap = 1;
      while (tap < distances.length && values[at + x + distances[tap]] === first) tap++;
      out[x] = tap === distances.length ? Number.NaN : 0;
    }
  };
}
