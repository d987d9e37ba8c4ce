/** The table of chunks in a head (check 8 of format.md). */

import { crc32, hex } from "./checksums.js";
import { checkRange, TincError } from "./errors.js";
import { PREFIX } from "./head.js";
import * as limits from "./limits.js";

/** @typedef {import("./cursor.js").Cursor} Cursor */

export const MODEL = 0;
export const WEIGHTS = 1;
export const VERIFY = 3;
export const BLOCK = 4;
export const OVERVIEW = 5;
export const REGION = 7;
export const META = 8; // Ancillary kinds have 8 added.
export const PROVENANCE = 10;
export const QUALITY = 11;
export const DETAILS = 12;

const NAMES = ["MODEL", "WEIGHTS", "RESIDUAL", "VERIFY", "BLOCK", "OVERVIEW", "number 6", "REGION"];
const ANCILLARY = ["META", "THUMB", "PROVENANCE", "QUALITY", "DETAILS"];

/**
 * A row of the table.
 * @typedef {object} Chunk
 * @property {number} kind 0 to 7 of critical chunks, 8 more of ancillary ones
 * @property {number} level
 * @property {number} nodes
 * @property {number} start first byte of the payload in the file
 * @property {number} length bytes of the payload
 * @property {number} crc CRC-32 of the payload
 */

/**
 * Read the table of chunks, up to the end of the head.
 * @param {Cursor} cursor
 * @param {number[]} known critical kinds that this file may have
 * @returns {Chunk[]}
 */
export function readTable(cursor, known) {
  const count = cursor.uv("number of chunks", 1, limits.MAX_CHUNKS);
  /** @type {Chunk[]} */
  const table = [];
  const first = PREFIX + cursor.bytes.length;
  let start = first;
  for (let at = 0; at < count; at++) {
    const code = cursor.u8("chunk type");
    const nodes = cursor.uv("nodes of a chunk", 0, limits.MAX_CHUNK_NODES);
    const length = cursor.uv("length of a chunk", 0, limits.MAX_FILE);
    const crc = cursor.u32("CRC-32 of a chunk");
    const kind = code >> 4;
    if (kind < 8 && !known.includes(kind)) {
      throw new TincError(`file needs the chunk kind ${NAMES[kind]}, which such a file cannot have`);
    }
    if (kind === META) checkRange("length of META", length, 0, limits.MAX_META);
    if (kind === DETAILS && !(code & 15)) checkRange("bytes of DETAILS", length, 0, limits.MAX_DETAILS);
    table.push({ kind, level: code & 15, nodes, start, length, crc });
    start += length;
  }
  cursor.end();
  checkRange("file size by the lengths of chunks", start, first, limits.MAX_FILE);
  return table;
}

/**
 * End of the last chunk.
 * @param {Chunk[]} table
 */
export function endOf(table) {
  const last = table[table.length - 1];
  return last.start + last.length;
}

/**
 * Compare a payload with the CRC-32 of its chunk, and return it.
 * @param {Chunk} chunk
 * @param {Uint8Array} payload
 */
export function checked(chunk, payload) {
  const computed = crc32(payload);
  if (computed !== chunk.crc) {
    const name = NAMES[chunk.kind] ?? ANCILLARY[chunk.kind - 8] ?? `unknown (${chunk.kind - 8})`;
    const where = `${name} chunk of level ${chunk.level}`;
    throw new TincError(`${where}: CRC-32 is ${hex(computed)}, expected ${hex(chunk.crc)}`);
  }
  return payload;
}
