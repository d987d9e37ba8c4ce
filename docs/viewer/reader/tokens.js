/** Symbols of residuals (residual-format.md, *Streams*): tokens under tables of costs, and numbers of any size. */

import { checkRange, TincError } from "./errors.js";
import { modelOf } from "./stream.js";

/** @typedef {import("./stream.js").Model} Model */
/** @typedef {import("./stream.js").Stack} Stack */

const MAX_CLASSES = 200; // Sets of tables for more classes are refused.
const N_TOKENS = 159; // Tables of more tokens are refused.
const LEAST_LARGE = 15; // Tokens from this one on stand for several numbers, which further bits tell apart.
const MAX_COST = 127; // Larger costs are refused.
const POWERS = new Float64Array(MAX_COST + 1).fill(1);
for (let cost = 1; cost <= MAX_COST; cost++) POWERS[cost] = POWERS[cost - 1] * 0.8408964152537145;

/** @param {ArrayLike<number>} costs */
function ofCosts(costs) {
  return modelOf(Float64Array.from(costs, (cost) => POWERS[cost]));
}

const TOKENS = Array.from({ length: N_TOKENS }, (_, token) => token);
export const FLAT = ofCosts(TOKENS.map(() => 0));
export const MEDIUM = ofCosts(TOKENS.map((token) => (token < 48 ? 0 : 24)));
export const STEEP = ofCosts(TOKENS.map((token) => Math.min(2 * token, 80)));

/**
 * Read the further bits of tokens, and return the numbers. Magnitudes are below 2^39.
 * @param {Stack} stack
 * @param {Uint16Array} tokens
 * @param {number} count
 * @param {Float64Array} numbers takes them
 * @returns {Float64Array}
 */
export function numbersOf(stack, tokens, count, numbers = new Float64Array(count)) {
  const ends = new Int32Array(N_TOKENS + 5);
  for (let at = 0; at < count; at++) {
    const token = tokens[at];
    numbers[at] = token & 1 ? (token + 1) >> 1 : -(token >> 1);
    ends[token + 1]++;
  }
  let large = 0;
  for (let token = LEAST_LARGE; token < N_TOKENS; token++) large += ends[token + 1];
  if (!large) return numbers;
  // Places of large tokens, by octave.
  const order = stack.order(large);
  const place = new Int32Array(N_TOKENS);
  let first = 0;
  for (let token = LEAST_LARGE; token < N_TOKENS; token += 4) {
    place[token] = first;
    first += ends[token + 1] + ends[token + 2] + ends[token + 3] + ends[token + 4];
  }
  for (let at = 0; at < count; at++) {
    const token = tokens[at];
    if (token >= LEAST_LARGE) order[place[token - ((token - LEAST_LARGE) & 3)]++] = at;
  }
  for (let token = LEAST_LARGE, start = 0; token < N_TOKENS; token += 4) {
    const end = place[token];
    if (end > start) stack.further(3 + (token - LEAST_LARGE) / 4, order.subarray(start, end), tokens, numbers);
    start = end;
  }
  return numbers;
}

/**
 * Read numbers under a model.
 * @param {Stack} stack
 * @param {Model} model
 * @param {number} count
 */
export function readNumbers(stack, model, count) {
  const tokens = new Uint16Array(count);
  stack.symbols(model, tokens, count);
  return numbersOf(stack, tokens, count);
}

/**
 * Read one number, which must be in a range.
 * @param {Stack} stack
 * @param {Model} model
 * @param {string} field
 * @param {number} low
 * @param {number} high
 */
export function readNumber(stack, model, field, low, high) {
  const [value] = readNumbers(stack, model, 1);
  checkRange(field, value, low, high);
  return value;
}

/** A set of tables: one for each class. */
export class Tables {
  /** @param {Stack} stack */
  constructor(stack) {
    /** @type {(Model | null)[]} null for a table of one token, which takes no bits */
    this.models = [];
    this.ofClass = new Uint8Array(MAX_CLASSES);
    this.classes = 0;
    const count = readNumber(stack, STEEP, "number of tables", 0, MAX_CLASSES);
    /** @type {number[]} */
    let costs = [0];
    for (let table = 0; table < count; table++) {
      const classes = readNumber(stack, STEEP, "classes of a table", 1, MAX_CLASSES - this.classes);
      this.ofClass.fill(table, this.classes, this.classes + classes);
      this.classes += classes;
      const size = readNumber(stack, STEEP, "tokens of a table", 1, N_TOKENS);
      costs = size > 1 ? readCosts(stack, costs, size) : [0];
      this.models.push(size > 1 ? ofCosts(costs) : null);
    }
  }

  /**
   * Read the tokens of voxels, in the order of their tables.
   * @param {Stack} stack
   * @param {Uint8Array} classes of the voxels
   * @param {number} count
   */
  tokens(stack, classes, count) {
    const tokens = stack.tokens(count).fill(0);
    const { ofClass, models } = this;
    const ends = new Int32Array(models.length + 1);
    let largest = 0;
    for (let at = 0; at < count; at++) {
      const one = classes[at];
      if (one > largest) largest = one;
      ends[ofClass[one] + 1]++;
    }
    if (count && largest >= this.classes) {
      throw new TincError(`class of a voxel is ${largest}, expected one below ${this.classes}`);
    }
    for (let table = 0; table < models.length; table++) ends[table + 1] += ends[table];
    const order = stack.order(count);
    const place = ends.slice();
    for (let at = 0; at < count; at++) order[place[ofClass[classes[at]]]++] = at;
    for (const [table, model] of models.entries()) {
      if (model) stack.symbols(model, tokens, ends[table + 1] - ends[table], order, ends[table]);
    }
    return tokens;
  }
}

/**
 * Read the costs of a table, as differences from those of the table before.
 * @param {Stack} stack
 * @param {number[]} before
 * @param {number} size
 */
function readCosts(stack, before, size) {
  const differences = readNumbers(stack, STEEP, size);
  const last = before[before.length - 1];
  let sum = 0;
  return Array.from(differences, (difference, at) => {
    sum += difference;
    const cost = (at < before.length ? before[at] : last + 1 + at - before.length) + sum;
    checkRange("cost of a token", cost, 0, MAX_COST);
    return cost;
  });
}
