/**
 * The nine dtypes of a file. A box of decoded voxels is a typed array of the dtype, but for f2, whose values are kept as
 * bits (Uint16Array) until they are given out: JavaScript has no array of half floats everywhere.
 */

/** @typedef {"u1"|"i1"|"u2"|"i2"|"u4"|"i4"|"f2"|"f4"|"f8"} DtypeName */
/**
 * @typedef {Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Int16Array<ArrayBuffer> |
 *   Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>} TypedArray
 */
/**
 * @typedef {object} Dtype
 * @property {DtypeName} name
 * @property {number} bytes of a value
 * @property {boolean} isFloat
 * @property {number} min smallest finite value
 * @property {number} max largest finite value
 * @property {(buffer: ArrayBuffer) => TypedArray} view an array of values over all of a buffer; bits of f2
 */

/** @type {Dtype[]} In the order of the index that a head stores. */
export const DTYPES = [
  { name: "u1", bytes: 1, isFloat: false, min: 0, max: 255, view: (buffer) => new Uint8Array(buffer) },
  { name: "i1", bytes: 1, isFloat: false, min: -128, max: 127, view: (buffer) => new Int8Array(buffer) },
  { name: "u2", bytes: 2, isFloat: false, min: 0, max: 2 ** 16 - 1, view: (buffer) => new Uint16Array(buffer) },
  { name: "i2", bytes: 2, isFloat: false, min: -(2 ** 15), max: 2 ** 15 - 1, view: (buffer) => new Int16Array(buffer) },
  { name: "u4", bytes: 4, isFloat: false, min: 0, max: 2 ** 32 - 1, view: (buffer) => new Uint32Array(buffer) },
  { name: "i4", bytes: 4, isFloat: false, min: -(2 ** 31), max: 2 ** 31 - 1, view: (buffer) => new Int32Array(buffer) },
  { name: "f2", bytes: 2, isFloat: true, min: -65504, max: 65504, view: (buffer) => new Uint16Array(buffer) },
  {
    name: "f4",
    bytes: 4,
    isFloat: true,
    min: -(2 - 2 ** -23) * 2 ** 127,
    max: (2 - 2 ** -23) * 2 ** 127,
    view: (buffer) => new Float32Array(buffer),
  },
  {
    name: "f8",
    bytes: 8,
    isFloat: true,
    min: -Number.MAX_VALUE,
    max: Number.MAX_VALUE,
    view: (buffer) => new Float64Array(buffer),
  },
];

export const U1 = DTYPES[0];

/**
 * An array of zeros.
 * @param {Dtype} dtype
 * @param {number} size number of values
 */
export function zeros(dtype, size) {
  return dtype.view(new ArrayBuffer(size * dtype.bytes));
}

/**
 * The bytes of an array; shares its memory.
 * @param {TypedArray} values
 */
export function bytesOf(values) {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * The number that the bits of a half float stand for.
 * @param {number} bits
 */
export function fromHalf(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * (1024 + fraction) * 2 ** (exponent - 25) : sign * fraction * 2 ** -24;
}

/**
 * The bits of the nearest half float, ties to even.
 * @param {number} value
 */
export function toHalf(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00; // Halfway from the largest, 65504, to the next power of two.
  // Adding a power of two whose last bit is that of the result rounds to it; below 2^-14 that bit is 2^-24.
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size));
  const exact = size < 2 ** exponent ? exponent - 1 : size >= 2 ** (exponent + 1) ? exponent + 1 : exponent;
  const magic = 2 ** (Math.max(exact, -14) - 10 + 52);
  const rounded = size + magic - magic;
  if (rounded < 2 ** -14) return sign | (rounded * 2 ** 24);
  const top = rounded >= 2 ** (exact + 1) ? exact + 1 : exact;
  return sign | ((top + 15) << 10) | (rounded * 2 ** (10 - top) - 1024);
}

/** @type {Float32Array | undefined} */
let halves;

/**
 * Values to give out: f2 as numbers, others as they are.
 * @param {Dtype} dtype
 * @param {TypedArray} values
 * @returns {TypedArray}
 */
export function toNumbers(dtype, values) {
  if (dtype.name !== "f2") return values;
  if (!halves) {
    halves = new Float32Array(2 ** 16);
    for (let bits = 0; bits < halves.length; bits++) halves[bits] = fromHalf(bits);
  }
  const out = new Float32Array(values.length);
  for (let at = 0; at < out.length; at++) out[at] = halves[values[at]];
  return out;
}

/**
 * Round half to even.
 * @param {number} value
 */
export function rint(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  return rest > 0.5 || floor % 2 ? floor + 1 : floor;
}
