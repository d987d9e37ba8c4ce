import { TincError } from "./errors.js";

/**
 * @param {Uint8Array} bytes
 * @param {number} size
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function decodeXz(bytes, size) {
  throw new TincError(`an .xz stream of ${bytes.length} bytes for ${size}`);
}
