/**
 * The arithmetic of networks in WebAssembly, four f32 at a time, where the engine has that; layers.js does the same
 * everywhere. Points are rows, padded to whole vectors. Weights are copied into the memory run by run.
 */

import {
  constant,
  F32,
  F32X4,
  get,
  I,
  I32,
  increase,
  instantiate,
  load,
  loadSplat32,
  repeat,
  set,
  shiftLeft32x4,
  splatF32,
  store,
  toInt32x4,
  V128,
  xor,
} from "./assembler.js";

/** @typedef {import("./assembler.js").Definition} Definition */
/** @typedef {import("./layers.js").Layer} Layer */

/**
 * Sums of a layer, for 4 points and 8 outputs at a time; inputs are a multiple of 4.
 * @param {boolean} isFused whether a product and a sum are one instruction, which not all engines have
 * @returns {Definition}
 */
function layerCode(isFused) {
  /** @param {number} sum */
  const addProduct = (sum) => (isFused ? [...get(sum), ...F32X4.fused] : [...F32X4.mul, ...get(sum), ...F32X4.add]);
  const [x, xStride, w, bias, inputs, wStride, y, yStride, count] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const [o, p, wp, xp, yp, i] = [9, 10, 11, 12, 13, 14];
  const rows = [15, 16, 17, 18];
  const [b0, b1, w0, w1, t] = [19, 20, 21, 22, 23];
  const sums = [24, 25, 26, 27, 28, 29, 30, 31];
  const inner = repeat(i, inputs, [
    ...[0, 1, 2, 3].map((step) =>
      [
        [...get(wp), ...load(), ...set(w0)],
        [...get(wp), ...load(16), ...set(w1)],
        ...rows.map((row, at) => [
          ...[...get(row), ...loadSplat32(4 * step), ...set(t)],
          ...[...get(t), ...get(w0), ...addProduct(sums[2 * at]), ...set(sums[2 * at])],
          ...[...get(t), ...get(w1), ...addProduct(sums[2 * at + 1]), ...set(sums[2 * at + 1])],
        ]),
        increase(wp, get(wStride)),
      ].flat(),
    ),
    ...rows.map((row) => increase(row, constant(16))),
    increase(i, constant(4)),
  ]);
  const points = repeat(p, count, [
    ...sums.map((sum, at) => [...get(at % 2 ? b1 : b0), ...set(sum)]),
    ...rows.map((row, at) => [...get(at ? rows[at - 1] : xp), ...(at ? [...get(xStride), ...I.add] : []), ...set(row)]),
    [...get(w), ...get(o), ...I.add, ...set(wp), ...constant(0), ...set(i)],
    inner,
    ...rows.map((_, at) => [
      ...[...get(yp), ...get(sums[2 * at]), ...store()],
      ...[...get(yp), ...get(sums[2 * at + 1]), ...store(16)],
      ...increase(yp, get(yStride)),
    ]),
    increase(xp, [...get(xStride), ...constant(4), ...I.mul]),
    increase(p, constant(4)),
  ]);
  const outputs = repeat(o, wStride, [
    [...get(bias), ...get(o), ...I.add, ...load(), ...set(b0)],
    [...get(bias), ...get(o), ...I.add, ...load(16), ...set(b1)],
    [...get(x), ...set(xp), ...get(y), ...get(o), ...I.add, ...set(yp), ...constant(0), ...set(p)],
    points,
    increase(o, constant(32)),
  ]);
  return {
    name: "layer",
    parameters: new Array(9).fill(I32),
    results: [],
    locals: [...new Array(10).fill(I32), ...new Array(13).fill(V128)],
    body: [outputs],
  };
}

/**
 * The largest size of the numbers of an array.
 * @returns {Definition}
 */
function largestCode() {
  const [at, end, most] = [0, 1, 2];
  const lanes = [1, 2, 3].map((lane) => [...get(most), 0xfd, 0x1f, lane, 0x97]);
  return {
    name: "largest",
    parameters: [I32, I32],
    results: [F32],
    locals: [V128],
    body: [
      repeat(at, end, [
        [...get(most), ...get(at), ...load(), ...F32X4.abs, ...F32X4.max, ...set(most)],
        increase(at, constant(16)),
      ]),
      [...get(most), ...F32X4.first, ...lanes.flat()],
    ],
  };
}

// Coefficients of r^3 to r^9 of a sine on [-pi/2, pi/2], whose largest error is 5e-9.
export const [P3, P5, P7, P9] = [
  -0.16666657096436416, 0.008333017290247607, -0.0001980661512286548, 2.600054619676141e-6,
];
// Three parts of pi: products of the first two with integers below 2^12 are exact.
export const PARTS = [3.140625, 0.0009675025939941406, 1.5099580252808664e-7];
export const LARGEST = 2 ** 13; // Of larger angles sines would not be exact: they are left to Math.sin.
// A point of a lattice is at most 32 voxels outside of a cell, and those are at most 64 halves of its edge.
const LARGEST_POSITION = 64;

/**
 * Sines of the numbers of an array, in place.
 * @returns {Definition}
 */
function sineCode() {
  const [at, end, k, r, s] = [0, 1, 2, 3, 4];
  /** @param {number} part */
  const reduce = (part) => [...get(k), ...splatF32(part), ...F32X4.mul, ...F32X4.sub];
  /** @param {number} coefficient */
  const next = (coefficient) => [...get(s), ...F32X4.mul, ...splatF32(coefficient), ...F32X4.add];
  return {
    name: "sine",
    parameters: [I32, I32],
    results: [],
    locals: [V128, V128, V128],
    body: [
      repeat(at, end, [
        [...get(at), ...load(), ...splatF32(1 / Math.PI), ...F32X4.mul, ...F32X4.nearest, ...set(k)],
        [...get(at), ...load(), ...PARTS.flatMap(reduce), ...set(r)],
        [...get(r), ...get(r), ...F32X4.mul, ...set(s)],
        [...get(at), ...splatF32(P9), ...next(P7), ...next(P5), ...next(P3)],
        [...get(s), ...F32X4.mul, ...get(r), ...F32X4.mul, ...get(r), ...F32X4.add],
        [...get(k), ...toInt32x4, ...constant(31), ...shiftLeft32x4, ...xor, ...store()],
        increase(at, constant(16)),
      ]),
    ],
  };
}

/**
 * @typedef {object} Kernels
 * @property {(x: number, xStride: number, w: number, bias: number, inputs: number, wStride: number, y: number,
 *   yStride: number, count: number) => void} layer
 * @property {(start: number, end: number) => number} largest
 * @property {(start: number, end: number) => void} sine
 * @property {WebAssembly.Memory} memory
 */

/** @param {boolean} isFused */
const kernelsOf = (isFused) => instantiate([layerCode(isFused), largestCode(), sineCode()]);
export const KERNELS = /** @type {Kernels | null} */ (kernelsOf(true) ?? kernelsOf(false));

const PAGE = 2 ** 16;
export const TILE = 64; // Points whose features of two layers fit into the first cache of a core.

/** @param {number} n @param {number} unit */
const roundUp = (n, unit) => Math.ceil(n / unit) * unit;

/**
 * Floats of a row of inputs.
 * @param {Layer} layer
 */
const rowOf = (layer) => roundUp(layer.inputs, 8) + 8;

/** Evaluates runs of layers. There is one, as all use one memory. */
export class Simd {
  /** @param {Kernels} kernels */
  constructor(kernels) {
    this.kernels = kernels;
    /** Layers whose weights are in the memory. @type {Layer[]} */
    this.layers = [];
    /** @type {{weights: number, bias: number}[]} */
    this.places = [];
    const width = 280; // Floats of a row: at most 259 inputs.
    this.buffers = [0, TILE * width * 4];
    this.first = 2 * TILE * width * 4;
    this._grow(this.first);
  }

  /** @param {number} bytes */
  _grow(bytes) {
    const { memory } = this.kernels;
    const missing = Math.ceil((bytes - memory.buffer.byteLength) / PAGE);
    if (missing > 0) memory.grow(missing);
    this.floats = new Float32Array(memory.buffer);
  }

  /**
   * Copy the weights of layers into the memory. Rows of 0 fill up the inputs; what stands there is finite.
   * @param {Layer[]} layers
   */
  use(layers) {
    if (layers.length === this.layers.length && layers.every((layer, at) => layer === this.layers[at])) return;
    let at = this.first;
    this.places = layers.map(({ inputs, outputs }) => {
      const row = roundUp(outputs, 8) * 4;
      const place = { weights: at, bias: at + roundUp(inputs, 4) * row };
      at += (roundUp(inputs, 4) + 1) * row;
      return place;
    });
    this._grow(at);
    this.layers = layers;
    const floats = new Float32Array(this.kernels.memory.buffer);
    for (const [number, { inputs, outputs, matrix, bias }] of layers.entries()) {
      const row = roundUp(outputs, 8);
      const { weights, bias: biasAt } = this.places[number];
      floats.fill(0, weights / 4, biasAt / 4 + row);
      for (let o = 0; o < outputs; o++) {
        for (let i = 0; i < inputs; i++) floats[weights / 4 + i * row + o] = matrix[o * inputs + i];
      }
      floats.set(bias, biasAt / 4);
    }
  }

  /**
   * Sums of the last layer in use, for some points.
   * @param {Float64Array | null} below sums of the layer before the first, (points, width); null for none
   * @param {number} width of these
   * @param {number} from first point of `below`
   * @param {number} count points, at most a tile
   * @param {(layer: number, x: Float32Array, stride: number, offset: number) => void} position writes positions
   * @param {Float64Array} out takes the sums, (points, outputs)
   */
  evaluate(below, width, from, count, position, out) {
    const { layers, places, kernels } = this;
    const floats = /** @type {Float32Array} */ (this.floats);
    const points = roundUp(count, 4);
    if (points > count) floats.fill(0, 0, this.first / 4); // so that rows behind the last point are small
    let [x, y] = this.buffers;
    let stride = rowOf(layers[0]);
    if (below) {
      for (let p = 0; p < count; p++) {
        for (let i = 0; i < width; i++) floats[x / 4 + p * stride + i] = below[(from + p) * width + i];
      }
      this._sine(x, x + points * stride * 4, Number.POSITIVE_INFINITY);
    }
    for (const [at, layer] of layers.entries()) {
      if (layer.hasPosition) position(at, floats.subarray(x / 4), stride, layer.inputs - 3);
      const isLast = at === layers.length - 1;
      const next = isLast ? roundUp(layer.outputs, 8) : rowOf(layers[at + 1]);
      const { weights, bias } = places[at];
      const row = roundUp(layer.outputs, 8) * 4;
      kernels.layer(x, stride * 4, weights, bias, roundUp(layer.inputs, 4), row, y, next * 4, points);
      if (!isLast) this._sine(y, y + points * next * 4, layer.ofFeatures + LARGEST_POSITION * layer.ofPositions);
      [x, y, stride] = [y, x, next];
    }
    const { outputs } = layers[layers.length - 1];
    for (let p = 0; p < count; p++) {
      for (let o = 0; o < outputs; o++) out[(from + p) * outputs + o] = floats[x / 4 + p * stride + o];
    }
  }

  /**
   * @param {number} start
   * @param {number} end
   * @param {number} most no number is larger
   */
  _sine(start, end, most) {
    if (most < LARGEST || this.kernels.largest(start, end) < LARGEST) {
      this.kernels.sine(start, end);
      return;
    }
    const floats = /** @type {Float32Array} */ (this.floats);
    for (let at = start / 4; at < end / 4; at++) floats[at] = Math.sin(floats[at]);
  }
}

export const SIMD = KERNELS && new Simd(KERNELS);
