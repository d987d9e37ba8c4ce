/** A small assembler of WebAssembly: what the arithmetic of networks and residuals needs, and no more. */

/** @param {number} value an unsigned number, as LEB128 */
function unsigned(value) {
  const bytes = [];
  let left = value;
  do {
    bytes.push((left & 127) | (left > 127 ? 128 : 0));
    left >>>= 7;
  } while (left);
  return bytes;
}

/** @param {number} value a signed number, as LEB128 */
function signed(value) {
  const bytes = [];
  let left = value;
  for (;;) {
    const byte = left & 127;
    left >>= 7;
    const isLast = (left === 0 && !(byte & 64)) || (left === -1 && (byte & 64) > 0);
    bytes.push(isLast ? byte : byte | 128);
    if (isLast) return bytes;
  }
}

export const I32 = 0x7f;
export const I64 = 0x7e;
export const F32 = 0x7d;
export const F64 = 0x7c;
export const V128 = 0x7b;

/** @typedef {number[]} Code */

/** @param {number} op of the vector instructions */
const vector = (op) => [0xfd, ...unsigned(op)];

/** @param {number} op @param {number} align @param {number} offset */
const memory = (op, align, offset) => [...vector(op), align, ...unsigned(offset)];

/** Instructions that take their operands from the stack. */
export const F32X4 = {
  abs: vector(0xe0),
  add: vector(0xe4),
  sub: vector(0xe5),
  mul: vector(0xe6),
  max: vector(0xe9),
  nearest: vector(0x6a),
  fused: vector(0x105), // a * b + c, rounded once or twice: of engines with relaxed vectors
  first: [...vector(0x1f), 0],
};
export const F64X2 = {
  abs: vector(0xec),
  add: vector(0xf0),
  sub: vector(0xf1),
  mul: vector(0xf2),
  div: vector(0xf3),
  min: vector(0xf6), // of the kind that is one instruction, whatever it makes of NaN
  max: vector(0xf7),
  floor: vector(0x75),
  nearest: vector(0x94),
  equal: vector(0x47),
  splat: vector(0x14),
};
/** Of numbers of 64 bits, and of whole numbers of 32 and 64. */
export const I = {
  add: [0x6a],
  sub: [0x6b],
  mul: [0x6c],
  and: [0x71],
  shiftLeft: [0x74],
  shiftRight: [0x76],
  notAbove: [0x4d],
  isGreater: [0x4a],
  isLess: [0x48],
  toF64: [0xb7],
  extend: [0xad],
};
export const L = {
  add: [0x7c],
  mul: [0x7e],
  or: [0x84],
  shiftLeft: [0x86],
  shiftRight: [0x88],
  isZero: [0x50],
  wrap: [0xa7],
  load: [0x29, 3, 0],
  store: [0x37, 3, 0],
};
export const F = {
  load: [0x2b, 3, 0],
  store: [0x39, 3, 0],
  abs: [0x99],
  negate: [0x9a],
  floor: [0x9c],
  add: [0xa0],
  sub: [0xa1],
  mul: [0xa2],
  div: [0xa3],
  notBelow: [0x66],
  /** @param {number} value */
  constant: (value) => [0x44, ...new Uint8Array(Float64Array.of(value).buffer)],
};
export const bitsOfF64 = [0xbd];
export const bitsToF64 = [0xbf];
export const select = [0x1b];
export const store8 = [0x3a, 0, 0];
export const load16 = [0x2f, 1, 0];
export const store16 = [0x3b, 1, 0];
export const store32 = [0x36, 2, 0];
/** @param {number} value a number of 64 bits */
export const constant64 = (value) => [0x42, ...signed(value)];
/** Run code while a condition, which it leaves on the stack, holds. @param {Code[]} body */
export const loop = (body) => [0x03, 0x40, ...body.flat(), 0x0d, 0, 0x0b];
/** Run code if a condition holds. @param {Code} condition @param {Code[]} body */
export const when = (condition, body) => [...condition, 0x04, 0x40, ...body.flat(), 0x0b];
export const toInt32x4 = vector(0xf8);
export const shiftLeft32x4 = vector(0xab);
export const and = vector(0x4e);
export const xor = vector(0x51);

/** @param {number} local */
export const get = (local) => [0x20, ...unsigned(local)];
/** @param {number} local */
export const set = (local) => [0x21, ...unsigned(local)];
/** @param {number} value */
export const constant = (value) => [0x41, ...signed(value)];
/** @param {number} [offset] */
export const load = (offset = 0) => memory(0x00, 0, offset);
/** @param {number} [offset] */
export const loadSplat32 = (offset = 0) => memory(0x09, 2, offset);
/** @param {number} [offset] */
export const loadSplat64 = (offset = 0) => memory(0x0a, 3, offset);
/** @param {number} [offset] */
export const load32 = (offset = 0) => [0x28, 2, ...unsigned(offset)];
/** @param {number} [offset] */
export const store = (offset = 0) => memory(0x0b, 0, offset);

/**
 * A vector of one number in all lanes.
 * @param {number} value
 */
export function splatF32(value) {
  return [...vector(0x0c), ...new Uint8Array(new Float32Array(4).fill(value).buffer)];
}

/**
 * A vector of one number in both lanes.
 * @param {number} value
 */
export function splatF64(value) {
  return [...vector(0x0c), ...new Uint8Array(new Float64Array(2).fill(value).buffer)];
}

/**
 * local += value
 * @param {number} local
 * @param {Code} value
 */
export const increase = (local, value) => [...get(local), ...value, ...I.add, ...set(local)];

/**
 * Run code while `left` is below `end`, both locals, at least once.
 * @param {number} left
 * @param {number} end
 * @param {Code[]} body
 */
export const repeat = (left, end, body) => [0x03, 0x40, ...body.flat(), ...get(left), ...get(end), 0x49, 0x0d, 0, 0x0b];

/**
 * Run code if one local is below another.
 * @param {number} low
 * @param {number} high
 * @param {Code[]} body
 */
export const ifBelow = (low, high, body) => when([...get(low), ...get(high), 0x49], body);

/**
 * A function.
 * @typedef {object} Definition
 * @property {string} name
 * @property {number[]} parameters types
 * @property {number[]} results types
 * @property {number[]} locals types of the others, which begin behind the parameters
 * @property {Code[]} body
 */

/** @param {number} id @param {number[][]} items */
function section(id, items) {
  const content = [...unsigned(items.length), ...items.flat()];
  return [id, ...unsigned(content.length), ...content];
}

/** @param {string} text */
function name(text) {
  return [...unsigned(text.length), ...[...text].map((letter) => letter.charCodeAt(0))];
}

/**
 * The bytes of a module that exports some functions, and its memory.
 * @param {Definition[]} functions
 */
function assemble(functions) {
  const types = functions.map(({ parameters, results }) => [
    ...[0x60, ...unsigned(parameters.length), ...parameters],
    ...[...unsigned(results.length), ...results],
  ]);
  const bodies = functions.map(({ locals, body }) => {
    const code = [...unsigned(locals.length), ...locals.flatMap((type) => [1, type]), ...body.flat(), 0x0b];
    return [...unsigned(code.length), ...code];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, types),
    ...section(
      3,
      functions.map((_, at) => unsigned(at)),
    ),
    ...section(5, [[0x00, 1]]),
    ...section(7, [
      ...functions.map((one, at) => [...name(one.name), 0x00, ...unsigned(at)]),
      [...name("memory"), 0x02, 0x00],
    ]),
    ...section(10, bodies),
  ]);
}

/**
 * The exports of a module of some functions; null where the engine has no vectors, or a page forbids it to compile.
 * @param {Definition[]} functions
 * @returns {unknown}
 */
export function instantiate(functions) {
  const bytes = assemble(functions);
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(bytes)) return null;
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return null; // A content security policy forbids it.
    throw error;
  }
}
