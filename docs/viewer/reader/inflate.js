/** zlib streams (RFC 1950 and 1951), up to a size. */

import { require, TincError } from "./errors.js";

const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163];
LENGTHS.push(195, 227, 258);
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]; // Of the lengths of code lengths.

/**
 * A Huffman code: how many codes there are of each length, and their symbols in order.
 * @typedef {{counts: number[], symbols: number[]}} Code
 */

/**
 * @param {number[]} lengths
 * @returns {Code}
 */
function codeOf(lengths) {
  const counts = new Array(16).fill(0);
  for (const length of lengths) counts[length]++;
  const used = lengths.map((length, symbol) => ({ length, symbol })).filter(({ length }) => length);
  used.sort((one, other) => one.length - other.length || one.symbol - other.symbol);
  let left = 1;
  for (let length = 1; length < 16; length++) {
    left = 2 * left - counts[length];
    require(left >= 0, "a code of a zlib stream has too many symbols, expected fewer");
  }
  require(left === 0 || used.length <= 1, "a code of a zlib stream is incomplete, expected all of it");
  return { counts, symbols: used.map(({ symbol }) => symbol) };
}

const FIXED = codeOf(Array.from({ length: 288 }, (_, k) => (k < 144 ? 8 : k < 256 ? 9 : k < 280 ? 7 : 8)));
const FIXED_DISTANCES = codeOf(new Array(32).fill(5));

class Inflater {
  /**
   * @param {Uint8Array} bytes
   * @param {number} most
   */
  constructor(bytes, most) {
    this.bytes = bytes;
    this.most = most;
    this.bit = 16; // behind the header
    /** @type {number[]} */
    this.out = [];
  }

  /** @param {number} count */
  bits(count) {
    let value = 0;
    for (let k = 0; k < count; k++, this.bit++) {
      const byte = this.bytes[this.bit >> 3];
      if (byte === undefined) throw new TincError("a zlib stream is cut short, expected more bytes");
      value |= ((byte >> (this.bit & 7)) & 1) << k;
    }
    return value;
  }

  /** @param {Code} code */
  symbol({ counts, symbols }) {
    let [code, first, place] = [0, 0, 0];
    for (let length = 1; length < 16; length++) {
      code |= this.bits(1);
      if (code - first < counts[length]) return symbols[place + code - first];
      place += counts[length];
      first = 2 * (first + counts[length]);
      code *= 2;
    }
    throw new TincError("a zlib stream has a code that is none, expected one of its codes");
  }

  /** @param {number} byte */
  put(byte) {
    require(this.out.length < this.most, `a zlib stream holds more than ${this.most} bytes, expected at most these`);
    this.out.push(byte);
  }

  stored() {
    this.bit = (this.bit + 7) & ~7;
    const [size, inverse] = [this.bits(16), this.bits(16)];
    require((size ^ inverse) === 0xffff, "a stored block of a zlib stream has a wrong length");
    for (let k = 0; k < size; k++) this.put(this.bits(8));
  }

  codes() {
    const [literals, distances, count] = [this.bits(5) + 257, this.bits(5) + 1, this.bits(4) + 4];
    require(literals <= 286 && distances <= 30, "a zlib stream has too many symbols, expected at most 286 and 30");
    const ofLengths = new Array(19).fill(0);
    for (let k = 0; k < count; k++) ofLengths[ORDER[k]] = this.bits(3);
    const code = codeOf(ofLengths);
    /** @type {number[]} */
    const lengths = [];
    while (lengths.length < literals + distances) {
      const symbol = this.symbol(code);
      if (symbol < 16) lengths.push(symbol);
      else {
        require(symbol > 16 || lengths.length, "a zlib stream repeats a length before the first, expected one");
        const value = symbol === 16 ? lengths[lengths.length - 1] : 0;
        const times = symbol === 16 ? 3 + this.bits(2) : symbol === 17 ? 3 + this.bits(3) : 11 + this.bits(7);
        for (let k = 0; k < times; k++) lengths.push(value);
      }
    }
    require(lengths.length === literals + distances && lengths[256], "lengths of codes of a zlib stream are wrong");
    return [codeOf(lengths.slice(0, literals)), codeOf(lengths.slice(literals))];
  }

  /**
   * @param {Code} literals
   * @param {Code} distances
   */
  block(literals, distances) {
    for (;;) {
      const symbol = this.symbol(literals);
      if (symbol === 256) return;
      if (symbol < 256) {
        this.put(symbol);
        continue;
      }
      require(symbol < 286, "a zlib stream has a length that is none, expected one of 29");
      const k = symbol - 257;
      const length = LENGTHS[k] + this.bits(k < 8 || k === 28 ? 0 : (k - 4) >> 2);
      const code = this.symbol(distances);
      require(code < 30, "a zlib stream has a distance that is none, expected one of 30");
      const extra = code < 4 ? 0 : (code - 2) >> 1;
      const distance = code < 4 ? code + 1 : (2 + (code & 1)) * 2 ** extra + 1 + this.bits(extra);
      require(distance <= this.out.length, "a zlib stream reaches back beyond its begin");
      for (let at = 0; at < length; at++) this.put(this.out[this.out.length - distance]);
    }
  }
}

/**
 * The bytes of a zlib stream; what stands behind it is left out.
 * @param {Uint8Array} bytes
 * @param {number} most bytes that it may hold
 */
export function inflate(bytes, most) {
  const isHeader =
    bytes.length > 1 && (bytes[0] & 15) === 8 && bytes[0] >> 4 < 8 && (bytes[0] * 256 + bytes[1]) % 31 === 0;
  require(isHeader && !(bytes[1] & 32), "data are no zlib stream, expected its header");
  const inflater = new Inflater(bytes, most);
  for (let isLast = 0; !isLast; ) {
    isLast = inflater.bits(1);
    const kind = inflater.bits(2);
    require(kind < 3, "a zlib stream has a block of an unknown kind, expected 0 to 2");
    if (kind === 0) inflater.stored();
    else {
      const [literals, distances] = kind === 1 ? [FIXED, FIXED_DISTANCES] : inflater.codes();
      inflater.block(literals, distances);
    }
  }
  inflater.bit = (inflater.bit + 7) & ~7;
  let [a, b] = [1, 0];
  for (const byte of inflater.out) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  const stored = [0, 1, 2, 3].reduce((sum) => sum * 256 + inflater.bits(8), 0);
  require(stored === b * 65536 + a, "checksum of a zlib stream is wrong, expected that of its bytes");
  return Uint8Array.from(inflater.out);
}
