/**
 * Entropy coding (format.md, *Entropy coding*): a stack of u32 words under a state of 64 bits, which is kept as two
 * halves, each an exact integer below 2^32. All sums and products below stay under 2^53, so doubles hold them exactly.
 */

import { TincError } from "./errors.js";

/**
 * The integers c_0 .. c_m of a table, and for every value of the upper bits of q the first symbol that it can be.
 * @typedef {object} Model
 * @property {Uint32Array} c
 * @property {Uint16Array} lookup
 */

const LOOKUP_BITS = 10;
const LOOKUP_SHIFT = 24 - LOOKUP_BITS;

/**
 * c_0 .. c_m of weights t, by f64 operations in the order of format.md.
 * @param {ArrayLike<number>} t
 */
export function inBits24(t) {
  const m = t.length;
  const sums = new Float64Array(m + 1);
  for (let i = 0; i < m; i++) sums[i + 1] = sums[i] + t[i];
  const scale = (2 ** 24 - m) / sums[m];
  const c = new Uint32Array(m + 1);
  for (let i = 0; i < m; i++) c[i] = i + Math.floor(sums[i] * scale);
  c[m] = 2 ** 24;
  return c;
}

/**
 * The model of weights t.
 * @param {ArrayLike<number>} t
 * @returns {Model}
 */
export function modelOf(t) {
  const c = inBits24(t);
  const lookup = new Uint16Array(1 << LOOKUP_BITS);
  for (let place = 0, symbol = 0; place < lookup.length; place++) {
    while (c[symbol + 1] <= place << LOOKUP_SHIFT) symbol++;
    lookup[place] = symbol;
  }
  return { c, lookup };
}

/**
 * The model of integers lowest .. largest under P(k) ~ theta^|k|.
 * @param {number} theta
 * @param {number} largest
 * @param {number} [lowest] -largest or 0
 */
export function geometric(theta, largest, lowest = -largest) {
  const t = new Float64Array(largest - lowest + 1);
  for (let j = 0, p = 1; j <= largest; j++, p *= theta) {
    t[j - lowest] = Math.max(p, 2 ** -40);
    if (lowest) t[-j - lowest] = t[j - lowest];
  }
  return modelOf(t);
}

/** A stream, read from its back. */
export class Stack {
  /**
   * @param {Uint8Array} bytes
   * @param {string} name what the stream holds, in errors
   */
  constructor(bytes, name) {
    if (bytes.length % 4) throw new TincError(`${name}: a stream is ${bytes.length} bytes, expected a multiple of 4`);
    this.name = name;
    this.words = new Uint32Array(bytes.slice().buffer);
    this.left = this.words.length;
    this.high = 0;
    this.low = 0;
    if (this.left && !this.words[this.left - 1]) {
      throw new TincError(`${name}: the last word of a stream is 0, expected another`);
    }
    while (this.high === 0 && this.left) {
      this.high = this.low;
      this.low = this.words[--this.left];
    }
  }

  /** An array of so many tokens. @param {number} count @returns {Uint16Array} */
  tokens(count) {
    return new Uint16Array(count);
  }

  /** An array of so many places. @param {number} count @returns {Int32Array} */
  order(count) {
    return new Int32Array(count);
  }

  /** An array of so many numbers. @param {number} count @returns {Float64Array} */
  numbers(count) {
    return new Float64Array(count);
  }

  /**
   * Read the further bits of tokens of one octave, and put the numbers in their places.
   * @param {number} octave
   * @param {Int32Array} order places of the tokens
   * @param {Uint16Array} tokens
   * @param {Float64Array} numbers
   */
  further(octave, order, tokens, numbers) {
    const bits = this.plain(order.length, octave - 1);
    const first = 15 + 4 * (octave - 3);
    for (const [at, place] of order.entries()) {
      const r = bits[at];
      const size = 2 ** octave + (tokens[place] - first) * 2 ** (octave - 2) + Math.floor(r / 2);
      numbers[place] = r % 2 ? -size : size;
    }
  }

  /**
   * Read symbols under a model; the k-th goes to `out[order[k]]`, or to `out[k]` without an order.
   * @param {Model} model
   * @param {Uint16Array} out
   * @param {number} count
   * @param {Int32Array | null} [order]
   * @param {number} [first] where in `order` to begin
   */
  symbols(model, out, count, order = null, first = 0) {
    const { c, lookup } = model;
    const words = this.words;
    let { high, low, left } = this;
    for (let at = 0; at < count; at++) {
      const q = low & 0xffffff;
      let i = lookup[q >> LOOKUP_SHIFT];
      while (c[i + 1] <= q) i++;
      out[order ? order[first + at] : at] = i;
      const share = c[i + 1] - c[i];
      // state >> 24 is upper * 2^24 + lower; lower * share + rest < 2^48 + 2^24, upper * share < 2^40.
      const lower = ((high & 0xffff) << 8) | (low >>> 24);
      const product = (high >>> 16) * share;
      const sum = lower * share + (q - c[i]) + (product & 255) * 16777216;
      low = sum >>> 0;
      high = Math.floor(product / 256) + Math.floor(sum / 4294967296);
      if (high === 0 && left) {
        high = low;
        low = words[--left];
      }
    }
    this.high = high;
    this.low = low;
    this.left = left;
  }

  /**
   * Read integers of a tensor.
   * @param {number} count
   * @param {Model | null} model null where all are 0 and take no bits
   * @param {number} lowest the first symbol's
   * @returns {Int32Array}
   */
  integers(count, model, lowest) {
    const out = new Int32Array(count);
    if (!model || !count) return out;
    const symbols = new Uint16Array(count);
    this.symbols(model, symbols, count);
    for (let at = 0; at < count; at++) out[at] = symbols[at] + lowest;
    return out;
  }

  /**
   * Read a run of plain bits, at most 16 of each of several integers.
   * @param {number} count
   * @param {number} width
   */
  _run(count, width) {
    const out = new Uint16Array(count);
    const words = this.words;
    const shift = 24 - width;
    const mask = (1 << shift) - 1;
    const share = 1 << shift;
    let { high, low, left } = this;
    for (let at = 0; at < count; at++) {
      const q = low & 0xffffff;
      out[at] = q >> shift;
      const lower = ((high & 0xffff) << 8) | (low >>> 24);
      const product = (high >>> 16) * share;
      const sum = lower * share + (q & mask) + (product & 255) * 16777216;
      low = sum >>> 0;
      high = Math.floor(product / 256) + Math.floor(sum / 4294967296);
      if (high === 0 && left) {
        high = low;
        low = words[--left];
      }
    }
    this.high = high;
    this.low = low;
    this.left = left;
    return out;
  }

  /**
   * Read plain bits: integers of `width` bits, at most 52, so that doubles hold them exactly.
   * @param {number} count
   * @param {number} width
   */
  plain(count, width) {
    const out = new Float64Array(count);
    for (let bit = 0; bit < width && count; bit += 16) {
      const part = this._run(count, Math.min(16, width - bit));
      const scale = 2 ** bit;
      for (let at = 0; at < count; at++) out[at] += part[at] * scale;
    }
    return out;
  }

  /** Throw TincError if the stream holds more than was read. */
  end() {
    if (this.high || this.low || this.left) {
      throw new TincError(`${this.name}: a stream holds ${this.left} words more than was read, expected none`);
    }
  }
}
