/** Where the bytes of a file come from. A source reads exactly the bytes from `start` to `end`, or throws. */

import { TincError } from "./errors.js";
import { MAX_FILE } from "./limits.js";

/**
 * @typedef {object} Source
 * @property {number} size bytes of the file
 * @property {(start: number, end: number) => Promise<Uint8Array>} read
 */

const FIRST = 2 ** 11; // Bytes that are read at once: prefix and HEAD of most files.
const MOST_WHOLE = 256 * 2 ** 20; // Larger files, in bytes, are not read whole from a server without ranges.

/**
 * Bytes in memory, given out as copies: a message with a view would take the whole buffer with it.
 * @param {Uint8Array} bytes
 * @returns {Source}
 */
export function bytesSource(bytes) {
  return { size: bytes.length, read: async (start, end) => exactly(bytes.slice(start, end), end - start) };
}

/**
 * @param {Blob} blob a File, too
 * @returns {Source}
 */
export function blobSource(blob) {
  return {
    size: blob.size,
    read: async (start, end) => exactly(new Uint8Array(await blob.slice(start, end).arrayBuffer()), end - start),
  };
}

/**
 * A file on a server, of which only the parts that are needed are asked for; whole, if the server knows no ranges.
 * @param {string} url
 * @param {typeof globalThis.fetch} [fetch]
 * @returns {Promise<Source>}
 */
export async function urlSource(url, fetch = globalThis.fetch) {
  /** @param {number} start @param {number} end */
  const ask = (start, end) => fetch(url, { headers: { Range: `bytes=${start}-${end - 1}` } });
  const first = await ask(0, FIRST);
  const total = /^bytes 0-\d+\/(\d+)$/.exec(first.headers.get("Content-Range") ?? "");
  if (first.status === 206 && total) {
    const begin = await readBody(first, FIRST, "a part of a file");
    const size = Number(total[1]);
    if (size > MAX_FILE) throw new TincError(`file is ${size} bytes, expected at most ${MAX_FILE}`);
    return {
      size,
      read: async (start, end) => {
        if (start === end || end <= begin.length) return begin.slice(start, end); // No server gives an empty range.
        const response = await ask(start, end).catch((error) => {
          throw new TincError(`the server cannot be reached any more (${error.message})`);
        });
        if (response.status !== 206) throw new TincError(`server answers ${response.status}, expected 206, a part`);
        return exactly(await readBody(response, end - start, "a part of a file"), end - start);
      },
    };
  }
  // A part of a file whose size other pages may not read (no Access-Control-Expose-Headers) is of no use.
  if (first.status === 206) await first.body?.cancel();
  const whole = first.status === 206 ? await fetch(url) : first;
  if (!whole.ok || whole.status === 206) throw new TincError(`server answers ${whole.status}, expected a file`);
  return bytesSource(await readBody(whole, MOST_WHOLE, "a file from a server without ranges"));
}

/**
 * @param {Response} response
 * @param {number} most bytes
 * @param {string} what it is, for the error
 */
async function readBody(response, most, what) {
  if (!response.body) return new Uint8Array(await response.arrayBuffer());
  const reader = response.body.getReader();
  /** @type {Uint8Array[]} */
  const parts = [];
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    size += part.value.length;
    if (size > most) {
      await reader.cancel();
      throw new TincError(`server gives more than ${most} bytes, expected at most these of ${what}`);
    }
    parts.push(part.value);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} size
 */
function exactly(bytes, size) {
  if (bytes.length !== size) throw new TincError(`source gives ${bytes.length} bytes, expected ${size}`);
  return bytes;
}
