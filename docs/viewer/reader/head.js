/** The beginning of every file: prefix, and the facts with which each head begins (checks 1 to 4 of format.md). */

import { crc16, crc32, hex } from "./checksums.js";
import { Cursor } from "./cursor.js";
import { DTYPES, fromHalf } from "./dtypes.js";
import { checkRange, TincError } from "./errors.js";
import * as limits from "./limits.js";

/** @typedef {import("./dtypes.js").Dtype} Dtype */
/** @typedef {[number, number, number]} Triple along z, y, x */

export const RESIDUAL = 1; // Feature of files that hold residuals.
export const LATTICE = 2; // Feature of files with layers on lattices.
export const LEADING = 4; // Feature of files with axes before z, y, x.
const FURTHER = 8; // The head begins with the features from number 8 on.
export const BLOCKS = 16; // Feature of files that hold blocks.
export const FILTER = 32; // Feature of files with a filter.
export const REGIONS = 64; // Feature of files with regions.
export const BACKGROUND = 128; // Feature of files with backgrounds.
export const SORTED = 256; // Feature of files whose networks have sorted columns.
const [FIRST_FURTHER, LAST] = [8, 8]; // Numbers of the first of the further features, and of the last that is known.

export const PREFIX = 16; // Bytes before HEAD.
const MAGIC = [0x89, 0x54, 0x4e, 0x43]; // Files with other first bytes are refused.
const [SPACING, ORIGIN, ERROR_BOUND, AFFINE] = [1, 2, 4, 8]; // Flags of facts that are stored.

/**
 * What a head says about its volume, before what is in it.
 * @typedef {object} Facts
 * @property {number} flags
 * @property {Dtype} dtype
 * @property {Triple} shape
 * @property {number} lo
 * @property {number} hi
 * @property {Triple | null} spacing
 * @property {string} unit "" if none is stored
 * @property {Triple | null} origin
 * @property {number | null} errorBound
 * @property {number[] | null} affine 12 numbers, row by row
 */

/**
 * Check the prefix of a file, and return what it says.
 * @param {Uint8Array} prefix the first 16 bytes
 * @param {number} size bytes of the file
 */
export function readPrefix(prefix, size) {
  const cursor = new Cursor(prefix, "prefix");
  const magic = [...cursor.take("magic", MAGIC.length)];
  if (magic.join() !== MAGIC.join()) {
    throw new TincError(
      `this is not a .tinc file: it begins with the bytes ${magic.join(" ")}, expected ${MAGIC.join(" ")}`,
    );
  }
  const version = cursor.u8("version");
  const features = cursor.u8("features");
  const length = cursor.u32("head length");
  const stored = cursor.u16("CRC-16");
  const computed = crc16(prefix.subarray(0, 10));
  if (computed !== stored) throw new TincError(`prefix: CRC-16 is ${hex(computed)}, expected ${hex(stored)}`);
  if (version >> 4 !== 1) throw new TincError(`file needs a reader of format ${version >> 4}, expected format 1`);
  checkRange("head length", length, 1, Math.min(limits.MAX_HEAD, size - PREFIX));
  return { features, length, crc: cursor.u32("CRC-32 of the head") };
}

/** @param {number} size bytes of a file */
export function checkSize(size) {
  checkRange("file size", size, limits.MIN_FILE, limits.MAX_FILE);
}

/**
 * Check the CRC-32 of a head, and return all features, those that it begins with among them.
 * @param {Uint8Array} head
 * @param {{features: number, crc: number}} prefix
 */
export function checkHead(head, { features, crc }) {
  const computed = crc32(head);
  if (computed !== crc) throw new TincError(`head: CRC-32 is ${hex(computed)}, expected ${hex(crc)}`);
  if (!(features & FURTHER)) return features;
  const further = readFurther(new Cursor(head, "head"));
  const last = FIRST_FURTHER + Math.floor(Math.log2(further));
  if (last > LAST) throw new TincError(`file needs the feature of number ${last}, which this reader does not have`);
  return (features ^ FURTHER) | (further << FIRST_FURTHER);
}

/**
 * The features from number 8 on.
 * @param {Cursor} cursor
 */
function readFurther(cursor) {
  return cursor.uv("further features", 1, limits.MAX_UV);
}

/**
 * Read features and HEAD from the bytes of a whole file.
 * @param {Uint8Array} bytes
 */
export function headOf(bytes) {
  checkSize(bytes.length);
  const prefix = readPrefix(bytes.subarray(0, PREFIX), bytes.length);
  const head = bytes.subarray(PREFIX, PREFIX + prefix.length);
  return { features: checkHead(head, prefix), head };
}

/**
 * Read flags, dtype, shape and range, with which every head begins behind further features. Optional facts follow later.
 * @param {Cursor} cursor
 * @param {number} features
 * @returns {Facts}
 */
export function readStart(cursor, features) {
  if (features >> FIRST_FURTHER) readFurther(cursor);
  const flags = cursor.u8("flags", SPACING | ORIGIN | ERROR_BOUND | AFFINE);
  const dtype = DTYPES[cursor.u8("dtype", DTYPES.length - 1)];
  const axis = () => cursor.uv("axis", 1, limits.MAX_AXIS);
  /** @type {Triple} */
  const shape = [axis(), axis(), axis()];
  // Two axes are at most 2^48, exact; three only where they are small enough.
  checkRange("number of voxels", shape[0] * shape[1], 1, limits.MAX_VOXELS);
  checkRange("number of voxels", shape[0] * shape[1] * shape[2], 1, limits.MAX_VOXELS);
  const [lo, hi] = [0, 1].map(() => readValue(cursor, dtype));
  if (!(lo > Number.NEGATIVE_INFINITY && lo <= hi && hi < Number.POSITIVE_INFINITY)) {
    throw new TincError(`value range is ${lo} to ${hi}, expected it finite and ascending`);
  }
  return { flags, dtype, shape, lo, hi, spacing: null, unit: "", origin: null, errorBound: null, affine: null };
}

/**
 * @param {Cursor} cursor
 * @param {Dtype} dtype
 */
function readValue(cursor, dtype) {
  const value = dtype.view(cursor.take("value range", dtype.bytes).slice().buffer)[0];
  return dtype.name === "f2" ? fromHalf(value) : value;
}

/**
 * Read the facts that the flags name.
 * @param {Cursor} cursor
 * @param {Facts} facts
 */
export function readOptional(cursor, facts) {
  const flags = facts.flags;
  if (flags & SPACING) {
    const edge = () => cursor.f64("spacing", limits.MIN_SPACING, limits.MAX_SPACING);
    facts.spacing = [edge(), edge(), edge()];
    facts.unit = printable(cursor.take("unit", cursor.uv("unit length", 0, limits.MAX_UNIT)));
  }
  if (flags & ORIGIN) facts.origin = [cursor.f64("origin"), cursor.f64("origin"), cursor.f64("origin")];
  if (flags & ERROR_BOUND) facts.errorBound = cursor.f64("error bound", 0);
  if (flags & AFFINE) facts.affine = Array.from({ length: 12 }, () => cursor.f32("affine"));
}

/** @param {string} text */
export function isPrintable(text) {
  return !/[\p{C}\p{Z}]/u.test(text.replaceAll(" ", ""));
}

/** @param {Uint8Array} bytes */
function printable(bytes) {
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new TincError(`unit is the bytes ${bytes.join(" ")}, expected UTF-8`);
  }
  if (!isPrintable(text)) throw new TincError(`unit is ${JSON.stringify(text)}, expected printable text`);
  return text;
}
