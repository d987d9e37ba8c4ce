/** .xz streams (the file format 1.2.1 of xz-utils): one filter, LZMA2, with all checks that the format has. */

import { crc32 } from "./checksums.js";
import { checkRange, require, TincError } from "./errors.js";
import { Lzma2 } from "./lzma2.js";

// Streams with a larger dictionary are refused: the next size is 8 MiB, and a decoder needs more than that alone.
const MOST_DICTIONARY = 6 * 2 ** 20;
const LZMA2_FILTER = 0x21;
const [NO_CHECK, CRC32, CRC64] = [0, 1, 4];
const CHECK_BYTES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

/** A cursor over the bytes of a stream. */
class Bytes {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = 0;
  }

  /** @param {number} size */
  take(size) {
    require(this.at + size <= this.bytes.length, `an .xz stream is ${this.bytes.length} bytes, expected more`);
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }

  u8() {
    return this.take(1)[0];
  }

  u32() {
    this.take(4);
    return this.view.getUint32(this.at - 4, true);
  }

  /** A number of at most 9 bytes, in the fewest; exact below 2^53, which is far beyond any size here. */
  number() {
    let value = 0;
    for (let place = 0; place < 9; place++) {
      const byte = this.u8();
      value += (byte & 127) * 2 ** (7 * place);
      if (byte < 128) {
        require(byte || !place, "a number of an .xz stream is longer than it need be, expected the fewest bytes");
        return value;
      }
    }
    throw new TincError("a number of an .xz stream is longer than 9 bytes, expected at most 9");
  }

  /**
   * Compare the CRC-32 of the bytes from a place on with the one that follows.
   * @param {number} start
   */
  checkCrc(start) {
    const computed = crc32(this.bytes.subarray(start, this.at));
    require(this.u32() === computed, "a CRC-32 of an .xz stream is wrong, expected that of its header or index");
  }

  /**
   * Skip zeros up to a multiple of four bytes from a place on.
   * @param {number} start
   */
  skipPadding(start) {
    while ((this.at - start) % 4) require(this.u8() === 0, "padding of an .xz stream is not 0, expected 0");
  }
}

/**
 * Decode a stream that must hold exactly so many bytes, and end with the bytes given.
 * @param {Uint8Array} bytes
 * @param {number} size
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function decodeXz(bytes, size) {
  const out = new Uint8Array(size);
  const cursor = new Bytes(bytes);
  const check = readFlags(cursor, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
  /** @type {{unpadded: number, unpacked: number}[]} */
  const blocks = [];
  let done = 0;
  while (bytes[cursor.at] !== 0) {
    const block = readBlock(cursor, out, done, check);
    done += block.unpacked;
    blocks.push(block);
  }
  checkRange("bytes that an .xz stream holds", done, size, size);
  const indexSize = readIndex(cursor, blocks);
  readFooter(cursor, indexSize, check);
  require(cursor.at === bytes.length, `an .xz stream ends at byte ${cursor.at}, expected ${bytes.length}`);
  return out;
}

/**
 * @param {Bytes} cursor
 * @param {number[]} magic
 */
function readFlags(cursor, magic) {
  const found = cursor.take(6);
  require(magic.every((byte, at) => byte === found[at]), "residual is no .xz stream, expected its magic bytes");
  const start = cursor.at;
  const [reserved, check] = cursor.take(2);
  cursor.checkCrc(start);
  require(reserved === 0 && check < 16, `an .xz stream has the flags ${reserved}, ${check}, expected others`);
  return check;
}

/**
 * @param {Bytes} cursor
 * @param {Uint8Array} out
 * @param {number} done bytes of `out` that are there
 * @param {number} check kind of it
 */
function readBlock(cursor, out, done, check) {
  const start = cursor.at;
  const headerSize = 4 * (cursor.u8() + 1);
  const end = start + headerSize - 4;
  const flags = cursor.u8();
  require((flags & 0x3f) === 0, `a block of an .xz stream has the flags ${flags}, expected one filter`);
  const packed = flags & 0x40 ? cursor.number() : null;
  const unpacked = flags & 0x80 ? cursor.number() : null;
  const [filter, propertiesSize] = [cursor.number(), cursor.number()];
  require(filter === LZMA2_FILTER && propertiesSize === 1, `a filter of an .xz stream is ${filter}, expected LZMA2`);
  const dictionary = dictionaryOf(cursor.u8());
  require(cursor.at <= end, "header of a block of an .xz stream is too short, expected a longer one");
  for (const byte of cursor.take(end - cursor.at)) {
    require(byte === 0, "padding of the header of a block is not 0, expected 0");
  }
  cursor.checkCrc(start);
  const first = cursor.at;
  const { read, written } = new Lzma2(cursor.bytes, first, out, done, dictionary).decode();
  cursor.at += read;
  require(packed === null || packed === read, `a block of an .xz stream is ${read} bytes, expected ${packed}`);
  require(unpacked === null || unpacked === written, `a block holds ${written} bytes, expected ${unpacked}`);
  cursor.skipPadding(first);
  const stored = cursor.take(CHECK_BYTES[check]);
  checkData(out.subarray(done, done + written), stored, check);
  return { unpadded: headerSize + read + CHECK_BYTES[check], unpacked: written };
}

/** @param {number} code */
function dictionaryOf(code) {
  const size = code > 39 ? Number.POSITIVE_INFINITY : (2 | (code & 1)) * 2 ** ((code >> 1) + 11);
  require(size <= MOST_DICTIONARY, `an .xz stream needs ${size} bytes of memory, expected at most ${MOST_DICTIONARY}`);
  return size;
}

/**
 * @param {Uint8Array} data
 * @param {Uint8Array} stored
 * @param {number} check
 */
function checkData(data, stored, check) {
  const view = new DataView(stored.buffer, stored.byteOffset, stored.length);
  if (check === CRC32) require(view.getUint32(0, true) === crc32(data), "CRC-32 of an .xz stream is wrong");
  else if (check === CRC64) {
    require(view.getBigUint64(0, true) === crc64(data), "CRC-64 of an .xz stream is wrong");
  } else require(check === NO_CHECK, `an .xz stream has a check of the kind ${check}, expected ${CRC32} or ${CRC64}`);
}

/** CRC-64 of a byte, in two halves. */
const CRC64_LOW = new Uint32Array(256);
const CRC64_HIGH = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let [high, low] = [0, byte];
  for (let bit = 0; bit < 8; bit++) {
    const isOdd = low & 1;
    low = ((low >>> 1) | (high << 31)) >>> 0;
    high >>>= 1;
    if (isOdd) [high, low] = [(high ^ 0xc96c5795) >>> 0, (low ^ 0xd7870f42) >>> 0];
  }
  CRC64_LOW[byte] = low;
  CRC64_HIGH[byte] = high;
}

/** @param {Uint8Array} data */
function crc64(data) {
  let high = 0xffffffff;
  let low = 0xffffffff;
  for (let at = 0; at < data.length; at++) {
    const byte = (low ^ data[at]) & 255;
    low = ((low >>> 8) | (high << 24)) ^ CRC64_LOW[byte];
    high = (high >>> 8) ^ CRC64_HIGH[byte];
  }
  return (BigInt(~high >>> 0) << 32n) | BigInt(~low >>> 0);
}

/**
 * @param {Bytes} cursor
 * @param {{unpadded: number, unpacked: number}[]} blocks
 * @returns {number} bytes of the index
 */
function readIndex(cursor, blocks) {
  const start = cursor.at;
  cursor.u8();
  const count = cursor.number();
  require(count === blocks.length, `index of an .xz stream has ${count} blocks, expected ${blocks.length}`);
  for (const { unpadded, unpacked } of blocks) {
    require(cursor.number() === unpadded &&
      cursor.number() === unpacked, "index of an .xz stream is not of its blocks");
  }
  cursor.skipPadding(start);
  cursor.checkCrc(start);
  return cursor.at - start;
}

/**
 * @param {Bytes} cursor
 * @param {number} indexSize
 * @param {number} check
 */
function readFooter(cursor, indexSize, check) {
  const crc = cursor.u32();
  const start = cursor.at;
  const size = 4 * (cursor.u32() + 1);
  const [reserved, again] = cursor.take(2);
  const computed = crc32(cursor.bytes.subarray(start, cursor.at));
  const [y, z] = cursor.take(2);
  const isRight =
    crc === computed && size === indexSize && reserved === 0 && again === check && y === 0x59 && z === 0x5a;
  require(isRight, "footer of an .xz stream is not that of the stream, expected the size of its index and its flags");
}
