/** Residuals of kinds 1 and 2: integers, and the values that they stand for (residual-format.md, *Values*). */

import { Cursor } from "./cursor.js";
import { toHalf, zeros } from "./dtypes.js";
import { checkRange, require, TincError } from "./errors.js";
import { decodeIntegers } from "./integers.js";
import { MAX_HIGH } from "./limits.js";
import { gridOf } from "./neighbours.js";
import { Stack } from "./stream.js";
import { numbersOf, Tables } from "./tokens.js";

/** @typedef {import("./dtypes.js").Dtype} Dtype */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./head.js").Triple} Triple */

const [ORDERED, GRID] = [1, 2];
const MAX_TAPER = 4; // Larger tapers are refused.
const CODER_BITS = 36; // Ranks of a dtype of more bits have the others as low bits.

/**
 * What the head of such a residual says.
 * @typedef {object} Head
 * @property {boolean} isGrid
 * @property {number} taper
 * @property {number} shift
 * @property {number} low
 * @property {bigint} lowest smallest rank; 0 of a grid
 * @property {number} origin smallest value of a grid; 0 of ranks
 * @property {number} high
 * @property {number} bound
 * @property {number} step
 * @property {Uint8Array} table
 * @property {Uint8Array} lowBits
 * @property {number} corrections
 * @property {Uint8Array} positions
 * @property {Uint8Array} right bytes of the values of corrections
 * @property {Uint8Array} stream
 */

/**
 * @param {Uint8Array} bytes
 * @param {Triple} shape
 * @param {Dtype} dtype
 * @param {Uint8Array | null} hidden
 * @param {number} last above 0 only every 2^last-th voxel along each axis is decoded, without corrections
 * @returns {TypedArray}
 */
export function decodeNumbers(bytes, shape, dtype, hidden, last) {
  const size = shape[0] * shape[1] * shape[2];
  const head = readHead(bytes, dtype);
  const table = head.table.length ? readTable(head, size) : null;
  if (!head.isGrid) checkRanks(head, table, dtype);
  const lowBits = head.low ? readLowBits(head, size) : null;
  const stack = new Stack(head.stream, "residual");
  const q = decodeIntegers(stack, shape, head, hidden, last);
  if (last) return valuesOf(head, q, table, lowBits && sampled(lowBits, shape, last), dtype);
  stack.end();
  if (lowBits) checkLowBits(head, q, lowBits, dtype);
  const values = valuesOf(head, q, table, lowBits, dtype);
  correct(head, values, dtype);
  return values;
}

/**
 * @param {Uint8Array} bytes
 * @param {Dtype} dtype
 * @returns {Head}
 */
function readHead(bytes, dtype) {
  const cursor = new Cursor(bytes, "residual");
  const bits = 8 * dtype.bytes;
  const kind = cursor.u8("kind of a residual", dtype.isFloat ? GRID : ORDERED, ORDERED);
  const isGrid = kind === GRID;
  const taper = cursor.u8("taper", MAX_TAPER);
  const shift = cursor.u8("shift", dtype.isFloat && !isGrid ? bits - 1 : 0);
  const low = cursor.u8("low bits", isGrid ? 0 : Math.max(0, bits - CODER_BITS));
  const [lowest, origin] = isGrid ? [0n, cursor.f64("lowest")] : [cursor.i64("lowest"), 0];
  const high = Number(cursor.u64("high"));
  checkRange("high", high, 1, MAX_HIGH - 1);
  const bound = Number(cursor.u64("bound"));
  checkRange("bound", bound, 0, high);
  const step = isGrid ? cursor.f64("step", Number.MIN_VALUE) : cursor.f64("step", 0, 0);
  const tableBytes = cursor.u32("bytes of the table");
  const lowBytes = cursor.u32("bytes of the low bits");
  const corrections = cursor.u32("corrections");
  require(low || !lowBytes, `low bits are ${lowBytes} bytes, expected none`);
  const table = cursor.take("table", tableBytes);
  const lowBits = cursor.take("low bits", lowBytes);
  const positions = cursor.take("positions", 4 * corrections);
  const right = cursor.take("corrections", corrections * dtype.bytes);
  const stream = cursor.rest();
  return {
    ...{ isGrid, taper, shift, low, lowest, origin, high, bound, step },
    ...{ table, lowBits, corrections, positions, right, stream },
  };
}

/**
 * The ranks that occur, less the lowest.
 * @param {Head} head
 * @param {number} size voxels of the box
 */
function readTable(head, size) {
  const isAllowed = !head.isGrid && !head.low && !head.bound;
  require(isAllowed, "a table comes with a grid, low bits or a bound, expected ranks alone");
  checkRange("integers of a table", head.high + 1, 1, size);
  const stack = new Stack(head.table, "table");
  const tables = new Tables(stack);
  const [model] = tables.models;
  require(tables.models.length === 1 && model, `a table has ${tables.models.length} tables of costs, expected 1`);
  const tokens = new Uint16Array(head.high);
  stack.symbols(model, tokens, head.high);
  const steps = numbersOf(stack, tokens, head.high);
  stack.end();
  const table = new Float64Array(head.high + 1);
  for (let at = 0; at < head.high; at++) {
    checkRange("step of a table", steps[at], 1, MAX_HIGH);
    table[at + 1] = table[at] + steps[at];
    checkRange("rank of a table", table[at + 1], 1, MAX_HIGH - 1);
  }
  return table;
}

/**
 * The ranks that a dtype has, without the bits that are shifted out.
 * @param {Head} head
 * @param {Dtype} dtype
 */
function limitsOf(head, dtype) {
  if (!dtype.isFloat) return { least: BigInt(dtype.min), most: BigInt(dtype.max) };
  const half = 1n << BigInt(8 * dtype.bytes - 1);
  return { least: -half >> BigInt(head.shift), most: (half - 1n) >> BigInt(head.shift) };
}

/**
 * @param {Head} head
 * @param {Float64Array | null} table
 * @param {Dtype} dtype
 */
function checkRanks(head, table, dtype) {
  const { least, most } = limitsOf(head, dtype);
  const extent = table ? BigInt(table[table.length - 1]) : BigInt(head.high) << BigInt(head.low);
  if (head.lowest < least || head.lowest + extent > most) {
    throw new TincError(`ranks are ${head.lowest} to ${head.lowest + extent}, expected ${least} to ${most}`);
  }
}

/**
 * @param {Head} head
 * @param {number} size
 */
function readLowBits(head, size) {
  const stack = new Stack(head.lowBits, "low bits");
  const bits = stack.plain(size, head.low);
  stack.end();
  return bits;
}

/**
 * Low bits must not take the highest integer beyond the ranks of the dtype.
 * @param {Head} head
 * @param {Float64Array} q
 * @param {Float64Array} lowBits
 * @param {Dtype} dtype
 */
function checkLowBits(head, q, lowBits, dtype) {
  const room = Number(limitsOf(head, dtype).most - (head.lowest + (BigInt(head.high) << BigInt(head.low))));
  for (let at = 0; at < q.length; at++) {
    if (q[at] === head.high) checkRange("low bits of the highest rank", lowBits[at], 0, room);
  }
}

/**
 * Every 2^level-th number along each axis.
 * @param {Float64Array} numbers
 * @param {Triple} shape
 * @param {number} level
 */
function sampled(numbers, shape, level) {
  const [nz, ny, nx] = gridOf(shape, level);
  const out = new Float64Array(nz * ny * nx);
  const step = 2 ** level;
  for (let at = 0; at < out.length; at++) {
    const [z, y, x] = [Math.floor(at / (ny * nx)), Math.floor(at / nx) % ny, at % nx];
    out[at] = numbers[(z * step * shape[1] + y * step) * shape[2] + x * step];
  }
  return out;
}

/**
 * @param {Head} head
 * @param {Float64Array} q
 * @param {Float64Array | null} table
 * @param {Float64Array | null} lowBits
 * @param {Dtype} dtype
 */
function valuesOf(head, q, table, lowBits, dtype) {
  const out = zeros(dtype, q.length);
  if (head.isGrid) {
    const { step, origin } = head;
    const { max } = dtype;
    const isHalf = dtype.name === "f2";
    for (let at = 0; at < q.length; at++) {
      const value = Math.min(Math.max((q[at] + 0) * step + origin, -max), max); // + 0: no -0 times the step
      out[at] = isHalf ? toHalf(value) : value;
    }
  } else if (dtype.bytes === 8) wideValues(head, q, table, lowBits, new Uint32Array(out.buffer));
  else if (dtype.isFloat) floatValues(head, q, table, dtype.bytes === 2 ? out : new Uint32Array(out.buffer));
  else {
    const lowest = Number(head.lowest); // Ranks of 32 bits and sums with q are exact.
    if (table) for (let at = 0; at < q.length; at++) out[at] = lowest + table[q[at]];
    else for (let at = 0; at < q.length; at++) out[at] = lowest + q[at];
  }
  return out;
}

/**
 * Bits of f2 and f4.
 * @param {Head} head
 * @param {Float64Array} q
 * @param {Float64Array | null} table
 * @param {TypedArray} bits overwritten
 */
function floatValues(head, q, table, bits) {
  const lowest = Number(head.lowest); // Ranks of 32 bits and sums with q are exact.
  const sign = 2 ** (8 * bits.BYTES_PER_ELEMENT - 1);
  for (let at = 0; at < q.length; at++) {
    const rank = lowest + (table ? table[q[at]] : q[at]);
    bits[at] = rank < 0 ? ((-1 - rank) << head.shift) | sign : rank << head.shift;
  }
}

/**
 * Bits of f8, as two words: rank = lowest + (q << low) + low bits, modulo 2^64.
 * @param {Head} head
 * @param {Float64Array} q
 * @param {Float64Array | null} table
 * @param {Float64Array | null} lowBits
 * @param {Uint32Array} words overwritten
 */
function wideValues(head, q, table, lowBits, words) {
  const { shift, low } = head;
  const unsigned = BigInt.asUintN(64, head.lowest);
  const [lowestHigh, lowestLow] = [Number(unsigned >> 32n), Number(unsigned & 0xffffffffn)];
  const part = 2 ** (32 - low);
  for (let at = 0; at < q.length; at++) {
    const offset = table ? table[q[at]] : q[at];
    const upper = Math.floor(offset / part);
    const sum = lowestLow + (offset - upper * part) * 2 ** low + (lowBits ? lowBits[at] : 0);
    let lower = sum >>> 0;
    let high = (lowestHigh + upper + (sum >= 4294967296 ? 1 : 0)) >>> 0;
    const isNegative = high >= 0x80000000;
    if (isNegative) [high, lower] = [~high >>> 0, ~lower >>> 0];
    if (shift >= 32) [high, lower] = [(lower << (shift - 32)) >>> 0, 0];
    else if (shift) [high, lower] = [((high << shift) | (lower >>> (32 - shift))) >>> 0, (lower << shift) >>> 0];
    words[2 * at] = lower;
    words[2 * at + 1] = isNegative ? (high | 0x80000000) >>> 0 : high;
  }
}

/**
 * Put the values of corrections in their places; each changes a bit.
 * @param {Head} head
 * @param {TypedArray} values
 * @param {Dtype} dtype
 */
function correct(head, values, dtype) {
  const positions = new Uint32Array(head.positions.slice().buffer);
  const all = new Uint8Array(values.buffer);
  let before = -1;
  for (const [at, position] of positions.entries()) {
    checkRange("position of a correction", position, before + 1, values.length - 1);
    before = position;
    const right = head.right.subarray(at * dtype.bytes, (at + 1) * dtype.bytes);
    const place = all.subarray(position * dtype.bytes, (position + 1) * dtype.bytes);
    if (right.every((byte, k) => byte === place[k])) {
      throw new TincError("a correction leaves its voxel as it is, expected another value");
    }
    place.set(right);
  }
}
