/** LZMA2: chunks of LZMA, or of bytes as they are. The output is the dictionary, as all of it is kept. */

import { require, TincError } from "./errors.js";

const N_STATES = 12;
const POSITION_STATES = 16;
const HALF = 1024; // Of 2048: a bit of which nothing is known.

/** Probabilities of the bits of lengths of matches. */
class LengthCoder {
  constructor() {
    this.choice = new Uint16Array(2);
    this.low = new Uint16Array(POSITION_STATES * 8);
    this.middle = new Uint16Array(POSITION_STATES * 8);
    this.high = new Uint16Array(256);
  }

  reset() {
    for (const probabilities of [this.choice, this.low, this.middle, this.high]) probabilities.fill(HALF);
  }

  /**
   * @param {Lzma2} coder
   * @param {number} positionState
   */
  read(coder, positionState) {
    if (!coder.bit(this.choice, 0)) return 2 + coder.tree(this.low, positionState * 8, 3);
    if (!coder.bit(this.choice, 1)) return 10 + coder.tree(this.middle, positionState * 8, 3);
    return 18 + coder.tree(this.high, 0, 8);
  }
}

export class Lzma2 {
  /**
   * @param {Uint8Array} bytes
   * @param {number} start where the chunks begin
   * @param {Uint8Array} out
   * @param {number} done bytes of `out` that are there, of earlier blocks
   * @param {number} dictionary bytes that a match may reach back
   */
  constructor(bytes, start, out, done, dictionary) {
    this.bytes = bytes;
    this.start = start;
    this.at = start;
    this.out = out;
    this.done = done;
    this.written = done;
    /** First byte that matches may reach. */
    this.oldest = done;
    this.dictionary = dictionary;
    this.lc = 0;
    this.lp = 0;
    this.pb = 0;
    this.isMatch = new Uint16Array(N_STATES * POSITION_STATES);
    this.isRep = new Uint16Array(N_STATES);
    this.isRep0 = new Uint16Array(N_STATES);
    this.isRep1 = new Uint16Array(N_STATES);
    this.isRep2 = new Uint16Array(N_STATES);
    this.isRep0Long = new Uint16Array(N_STATES * POSITION_STATES);
    this.slots = new Uint16Array(4 * 64);
    this.special = new Uint16Array(115);
    this.align = new Uint16Array(16);
    this.literals = new Uint16Array(0x300 << 4);
    this.lengths = new LengthCoder();
    this.repLengths = new LengthCoder();
    /** @type {number[]} */
    this.reps = [0, 0, 0, 0];
    /** @type {number} */
    this.state = 0;
    this.range = 0;
    this.code = 0;
    this.limit = 0;
  }

  byte() {
    if (this.at >= this.bytes.length) throw new TincError("LZMA2 data end too early, expected more bytes");
    return this.bytes[this.at++];
  }

  /** Decode all chunks; return how many bytes were read and written. */
  decode() {
    let [needsDictionary, needsProperties] = [true, true];
    for (;;) {
      const control = this.byte();
      if (control === 0) break;
      if (control === 1 || control >= 0xe0) {
        this.oldest = this.written;
        [needsDictionary, needsProperties] = [false, true];
      }
      require(!needsDictionary, "LZMA2 data begin without a new dictionary, expected one");
      if (control < 0x80) {
        require(control < 3, `a chunk of LZMA2 is ${control}, expected 0 to 2, or 128 and above`);
        this._copy(256 * this.byte() + this.byte() + 1);
        continue;
      }
      const size = (control & 31) * 65536 + 256 * this.byte() + this.byte() + 1;
      const packed = 256 * this.byte() + this.byte() + 1;
      if (control >= 0xc0) {
        this._setProperties(this.byte());
        needsProperties = false;
      }
      require(!needsProperties, "LZMA2 data have no properties, expected some");
      if (control >= 0xa0) this._resetState();
      this._lzma(size, packed);
    }
    return { read: this.at - this.start, written: this.written - this.done };
  }

  /** @param {number} size */
  _room(size) {
    require(this.written + size <=
      this.out.length, `LZMA2 data hold more than ${this.out.length} bytes, expected these`);
  }

  /** @param {number} size */
  _copy(size) {
    this._room(size);
    require(this.at + size <= this.bytes.length, "LZMA2 data end too early, expected more bytes");
    this.out.set(this.bytes.subarray(this.at, this.at + size), this.written);
    this.at += size;
    this.written += size;
  }

  /** @param {number} properties */
  _setProperties(properties) {
    require(properties < 225, `properties of LZMA2 are ${properties}, expected less than 225`);
    this.lc = properties % 9;
    this.lp = Math.floor(properties / 9) % 5;
    this.pb = Math.floor(properties / 45);
    require(this.lc + this.lp <= 4, `properties of LZMA2 are ${properties}, expected lc + lp of at most 4`);
  }

  _resetState() {
    this.state = 0;
    this.reps = [0, 0, 0, 0];
    const some = [this.isMatch, this.isRep, this.isRep0, this.isRep1, this.isRep2, this.isRep0Long];
    for (const probabilities of [...some, this.slots, this.special, this.align, this.literals])
      probabilities.fill(HALF);
    this.lengths.reset();
    this.repLengths.reset();
  }

  /**
   * A chunk of LZMA.
   * @param {number} size bytes that it holds
   * @param {number} packed bytes that it takes
   */
  _lzma(size, packed) {
    this._room(size);
    const end = this.at + packed;
    require(end <= this.bytes.length && packed >= 5, "a chunk of LZMA ends too early, expected more bytes");
    require(this.byte() === 0, "a chunk of LZMA does not begin with 0, expected 0");
    this.range = 0xffffffff;
    this.code = 0;
    for (let k = 0; k < 4; k++) this.code = ((this.code << 8) | this.byte()) >>> 0;
    this.limit = end;
    const stop = this.written + size;
    while (this.written < stop) this._symbol(stop);
    this._normalize();
    require(this.at === end && this.code === 0, "a chunk of LZMA does not end where it should, expected its end");
  }

  _normalize() {
    if (this.range >= 0x1000000) return;
    if (this.at >= this.limit) throw new TincError("a chunk of LZMA ends too early, expected more bytes");
    this.range = (this.range << 8) >>> 0;
    this.code = ((this.code << 8) | this.bytes[this.at++]) >>> 0;
  }

  /**
   * @param {Uint16Array} probabilities
   * @param {number} index
   */
  bit(probabilities, index) {
    this._normalize();
    const probability = probabilities[index];
    const bound = (this.range >>> 11) * probability;
    if (this.code < bound) {
      this.range = bound;
      probabilities[index] = probability + ((2048 - probability) >> 5);
      return 0;
    }
    this.range -= bound;
    this.code -= bound;
    probabilities[index] = probability - (probability >> 5);
    return 1;
  }

  /**
   * @param {Uint16Array} probabilities
   * @param {number} offset
   * @param {number} bits
   */
  tree(probabilities, offset, bits) {
    let node = 1;
    for (let k = 0; k < bits; k++) node = 2 * node + this.bit(probabilities, offset + node);
    return node - (1 << bits);
  }

  /**
   * The same with the lowest bit first.
   * @param {Uint16Array} probabilities
   * @param {number} offset
   * @param {number} bits
   */
  _reverseTree(probabilities, offset, bits) {
    let node = 1;
    let value = 0;
    for (let k = 0; k < bits; k++) {
      const bit = this.bit(probabilities, offset + node);
      node = 2 * node + bit;
      value |= bit << k;
    }
    return value;
  }

  /** @param {number} bits of equal probability */
  _direct(bits) {
    let value = 0;
    for (let k = 0; k < bits; k++) {
      this._normalize();
      this.range >>>= 1;
      const bit = this.code >= this.range ? 1 : 0;
      if (bit) this.code -= this.range;
      value = 2 * value + bit;
    }
    return value;
  }

  /** @param {number} stop */
  _symbol(stop) {
    const position = this.written - this.oldest;
    const positionState = position & ((1 << this.pb) - 1);
    if (!this.bit(this.isMatch, this.state * POSITION_STATES + positionState)) {
      this._literal(position);
      return;
    }
    const { reps } = this;
    let length = 0;
    if (!this.bit(this.isRep, this.state)) {
      this.reps = [0, reps[0], reps[1], reps[2]];
      length = this.lengths.read(this, positionState);
      this.state = this.state < 7 ? 7 : 10;
      this.reps[0] = this._distance(length);
    } else if (!this.bit(this.isRep0, this.state)) {
      if (!this.bit(this.isRep0Long, this.state * POSITION_STATES + positionState)) length = 1;
    } else if (!this.bit(this.isRep1, this.state)) this.reps = [reps[1], reps[0], reps[2], reps[3]];
    else if (!this.bit(this.isRep2, this.state)) this.reps = [reps[2], reps[0], reps[1], reps[3]];
    else this.reps = [reps[3], reps[0], reps[1], reps[2]];
    if (length === 1) this.state = this.state < 7 ? 9 : 11;
    else if (!length) {
      length = this.repLengths.read(this, positionState);
      this.state = this.state < 7 ? 8 : 11;
    }
    const distance = this.reps[0] + 1;
    require(distance <= this.written - this.oldest && distance <= this.dictionary, "a match reaches too far back");
    require(this.written + length <= stop, "a match goes beyond its chunk, expected it inside");
    for (let k = 0; k < length; k++, this.written++) this.out[this.written] = this.out[this.written - distance];
  }

  /** @param {number} position */
  _literal(position) {
    const { out, written, literals } = this;
    const before = written > this.oldest ? out[written - 1] : 0;
    const context = ((position & ((1 << this.lp) - 1)) << this.lc) + (before >> (8 - this.lc));
    const offset = 0x300 * context;
    let symbol = 1;
    if (this.state >= 7) {
      const distance = this.reps[0] + 1;
      require(distance <= written - this.oldest, "a match reaches too far back");
      let matched = out[written - distance];
      while (symbol < 256) {
        const expected = (matched >> 7) & 1;
        matched <<= 1;
        const bit = this.bit(literals, offset + ((1 + expected) << 8) + symbol);
        symbol = 2 * symbol + bit;
        if (bit !== expected) break;
      }
    }
    while (symbol < 256) symbol = 2 * symbol + this.bit(literals, offset + symbol);
    out[this.written++] = symbol & 255;
    this.state = this.state < 4 ? 0 : this.state < 10 ? this.state - 3 : this.state - 6;
  }

  /** @param {number} length of the match */
  _distance(length) {
    const slot = this.tree(this.slots, 64 * Math.min(length - 2, 3), 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const base = (2 | (slot & 1)) * 2 ** bits;
    if (slot < 14) return base + this._reverseTree(this.special, base - slot, bits);
    return base + this._direct(bits - 4) * 16 + this._reverseTree(this.align, 0, 4);
  }
}
