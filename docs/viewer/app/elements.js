/** Numbers of arrays as their files store them. */

import { TincError } from "../reader/errors.js";

/**
 * @typedef {Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array} Integers
 * @typedef {Integers | Float32Array | Float64Array} Values
 */

/**
 * Bytes of an element, how it is read, and the array of such elements, by NumPy's code.
 * @type {Record<string, [number, (view: DataView, at: number, little: boolean) => number, new (n: number) => Values]>}
 */
const ELEMENTS = {
  b1: [1, (view, at) => view.getUint8(at), Uint8Array],
  u1: [1, (view, at) => view.getUint8(at), Uint8Array],
  i1: [1, (view, at) => view.getInt8(at), Int8Array],
  u2: [2, (view, at, little) => view.getUint16(at, little), Uint16Array],
  i2: [2, (view, at, little) => view.getInt16(at, little), Int16Array],
  u4: [4, (view, at, little) => view.getUint32(at, little), Uint32Array],
  i4: [4, (view, at, little) => view.getInt32(at, little), Int32Array],
  u8: [8, (view, at, little) => Number(view.getBigUint64(at, little)), Float64Array],
  i8: [8, (view, at, little) => Number(view.getBigInt64(at, little)), Float64Array],
  f2: [2, (view, at, little) => halfFloat(view.getUint16(at, little)), Float32Array],
  f4: [4, (view, at, little) => view.getFloat32(at, little), Float32Array],
  f8: [8, (view, at, little) => view.getFloat64(at, little), Float64Array],
};

/** @param {number} bits of an IEEE half */
export function halfFloat(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  const size =
    exponent === 0
      ? fraction * 2 ** -14
      : exponent < 31
        ? (1 + fraction) * 2 ** (exponent - 15)
        : fraction
          ? Number.NaN
          : Number.POSITIVE_INFINITY;
  return bits & 0x8000 ? -size : size;
}

/**
 * Bytes of an element.
 * @param {string} code
 * @param {string} where  for the error
 */
export function elementSize(code, where) {
  if (!Object.hasOwn(ELEMENTS, code)) {
    throw new TincError(
      `${where} holds elements of type ${code.slice(0, 20)}; expected one of ${Object.keys(ELEMENTS).join(" ")}`,
    );
  }
  return ELEMENTS[code][0];
}

/**
 * Numbers that a file holds, as a typed array of this machine. 64-bit integers become doubles.
 * @param {Uint8Array} bytes
 * @param {string} code
 * @param {boolean} little
 * @returns {Values}
 */
export function elementsOf(bytes, code, little) {
  const [size, get, Kind] = ELEMENTS[code];
  const count = Math.floor(bytes.length / size);
  const values = new Kind(count);
  if ((little || size === 1) && values.BYTES_PER_ELEMENT === size && code !== "u8" && code !== "i8") {
    new Uint8Array(values.buffer).set(bytes.subarray(0, count * size));
    return values;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = 0; i < count; i++) values[i] = get(view, i * size, little);
  return values;
}
