import { checkRange, TincError } from "./errors.js";

/** A cursor over bytes, little-endian. It checks every field that it reads; `field` is the name in errors. */
export class Cursor {
  /**
   * @param {Uint8Array} bytes
   * @param {string} name what the bytes are, in errors
   */
  constructor(bytes, name) {
    this.bytes = bytes;
    this.name = name;
    this.at = 0;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /**
   * Move on by a number of bytes, and return where they begin.
   * @param {string} field
   * @param {number} size
   */
  skip(field, size) {
    const at = this.at;
    if (at + size > this.bytes.length) {
      throw new TincError(`${field}: ${this.name} is ${this.bytes.length} bytes, expected at least ${at + size}`);
    }
    this.at += size;
    return at;
  }

  /**
   * @param {string} field
   * @param {number} size
   */
  take(field, size) {
    const at = this.skip(field, size);
    return this.bytes.subarray(at, at + size);
  }

  /** All bytes that are left. */
  rest() {
    return this.take("rest", this.bytes.length - this.at);
  }

  /**
   * @param {string} field
   * @param {number} [high]
   * @param {number} [low]
   */
  u8(field, high = 255, low = 0) {
    const value = this.view.getUint8(this.skip(field, 1));
    checkRange(field, value, low, high);
    return value;
  }

  /** @param {string} field */
  u16(field) {
    return this.view.getUint16(this.skip(field, 2), true);
  }

  /** @param {string} field */
  i16(field) {
    return this.view.getInt16(this.skip(field, 2), true);
  }

  /** @param {string} field */
  u32(field) {
    return this.view.getUint32(this.skip(field, 4), true);
  }

  /** @param {string} field */
  u64(field) {
    return this.view.getBigUint64(this.skip(field, 8), true);
  }

  /** @param {string} field */
  i64(field) {
    return this.view.getBigInt64(this.skip(field, 8), true);
  }

  /**
   * A finite f32 of a range.
   * @param {string} field
   */
  f32(field) {
    const value = this.view.getFloat32(this.skip(field, 4), true);
    checkRange(field, value, -Number.MAX_VALUE, Number.MAX_VALUE);
    return value;
  }

  /**
   * A finite f64 of a range.
   * @param {string} field
   * @param {number} [low]
   * @param {number} [high]
   */
  f64(field, low = -Number.MAX_VALUE, high = Number.MAX_VALUE) {
    const value = this.view.getFloat64(this.skip(field, 8), true);
    checkRange(field, value, low, high);
    return value;
  }

  /**
   * An unsigned LEB128 number in its fewest bytes, at most 7.
   * @param {string} field
   * @param {number} low
   * @param {number} high
   */
  uv(field, low, high) {
    let value = 0;
    for (let place = 0; place < 7; place++) {
      const byte = this.u8(field);
      value += (byte & 127) * 2 ** (7 * place);
      if (byte < 128) {
        if (!byte && place) throw new TincError(`${field}: ${value} is stored in ${place + 1} bytes, expected fewer`);
        checkRange(field, value, low, high);
        return value;
      }
    }
    throw new TincError(`${field}: number is longer than 7 bytes, expected at most 7`);
  }

  /**
   * Numbers of so many bits each, least significant bit first; the bits that pad the last byte must be 0.
   * @param {string} field
   * @param {number} count
   * @param {number} [width]
   */
  bits(field, count, width = 1) {
    const packed = this.take(field, Math.ceil((count * width) / 8));
    const values = new Uint16Array(count);
    for (let bit = 0; bit < count * width; bit++) {
      if ((packed[bit >> 3] >> (bit & 7)) & 1) values[Math.floor(bit / width)] |= 1 << (bit % width);
    }
    const used = (count * width) & 7;
    if (used && packed[packed.length - 1] >> used) throw new TincError(`${field}: padding bits are not 0, expected 0`);
    return values;
  }

  /** Throw TincError if bytes are left. */
  end() {
    if (this.at !== this.bytes.length) {
      throw new TincError(`${this.name} is ${this.bytes.length} bytes, expected ${this.at}`);
    }
  }
}
