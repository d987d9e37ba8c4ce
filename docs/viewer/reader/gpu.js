/**
 * The arithmetic of networks in WebGPU, a point a thread, where the browser has it; simd.js and layers.js do the same
 * everywhere. Numbers are f32, and sines are computed as in simd.js, as those of WGSL may be off by 5e-4.
 */

import { stencil } from "./lattice.js";
import { LARGEST, P3, P5, P7, P9, PARTS } from "./simd.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./path.js").Axes} Axes */
/** @typedef {import("./path.js").Path} Path */
/** @typedef {{ path: Path, axes: Axes }} Piece  a grid of points at which the outputs of a head are wanted */

// Flags of buffers, as the specification of WebGPU numbers them.
const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [1, 4, 8, 64, 128];
const MODE_READ = 1; // A buffer is mapped to be read.
const WIDTHS = [16, 32, 66]; // Features, in fours, that the programs have room for: narrow ones need fewer registers.
const GROUP = 64; // Threads that run together.
const MOST_GROUPS = 65535; // Groups along an axis of a dispatch.
// More products at once would keep a slow GPU from drawing the screen; a tenth of a second of 100 GFLOP/s.
export const MOST_PRODUCTS = 2 ** 33;
const MOST_SUMS = 2 ** 26; // Larger arrays, in bytes, are left to the processor: a device need not allow them.
const MARGIN = 32; // Voxels by which points of a lattice may be outside of a box, at most.
const MIXED = 5; // Sums between points of a lattice are at most this many times as large as those at them.

const SINE = `
fn sine(angle: vec4f) -> vec4f {
  let k = round(angle * 0.3183098861837907);
  let r = angle - k * ${PARTS[0]} - k * ${PARTS[1]} - k * ${PARTS[2]};
  let s = r * r;
  let tail = ${P3} + s * (${P5} + s * (${P7} + s * ${P9}));
  return (r + r * (s * tail)) * (1 - 2 * vec4f(vec4i(k) & vec4i(1)));
}`;

/** Layers one after the other, at each point of a grid. @param {number} fours of features */
const layersCode = (fours) => `
struct Task { size: vec4u, layers: u32, width: u32, outputs: u32, count: u32 }
struct Layer { inputs: u32, fours: u32, outputs: u32, weights: u32, positions: i32, a: u32, b: u32, c: u32 }
@group(0) @binding(0) var<uniform> task: Task;
@group(0) @binding(1) var<storage, read> layers: array<Layer>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> positions: array<f32>;
@group(0) @binding(4) var<storage, read> below: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;
${SINE}
@compute @workgroup_size(${GROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let point = id.x;
  if (point >= task.count) { return; }
  let columns = task.size.z;
  let rows = task.size.y;
  let place = vec3u(point / (rows * columns), task.size.x + point / columns % rows, task.size.x + rows + point % columns);
  var x: array<vec4f, ${fours}>;
  var y: array<vec4f, ${fours}>;
  for (var i = 0u; i < task.width; i++) { x[i / 4][i % 4] = below[point * task.width + i]; }
  for (var i = 0u; 4 * i < task.width; i++) { x[i] = sine(x[i]); }
  for (var l = 0u; l < task.layers; l++) {
    let layer = layers[l];
    if (layer.positions >= 0) {
      for (var axis = 0u; axis < 3; axis++) {
        let i = layer.inputs - 3 + axis;
        x[i / 4][i % 4] = positions[u32(layer.positions) + place[axis]];
      }
    }
    var w = layer.weights;
    for (var o = 0u; o < layer.outputs; o++) {
      var sum = weights[w];
      w++;
      for (var i = 0u; i < layer.fours; i++) {
        let v = x[i];
        sum += weights[w] * v.x + weights[w + 1] * v.y + (weights[w + 2] * v.z + weights[w + 3] * v.w);
        w += 4;
      }
      y[o] = sum;
    }
    if (l + 1 < task.layers) { for (var o = 0u; o < layer.outputs; o++) { x[o] = sine(y[o]); } }
  }
  for (var o = 0u; o < task.outputs; o++) { sums[point * task.outputs + o] = y[o / 4][o % 4]; }
}`;

/** Points between those of a lattice, along the middle one of three axes. */
const MIX_CODE = `
struct Task { outer: u32, points: u32, size: u32, inner: u32 }
@group(0) @binding(0) var<uniform> task: Task;
@group(0) @binding(1) var<storage, read> taps: array<u32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read> lattice: array<f32>;
@group(0) @binding(4) var<storage, read_write> mixed: array<f32>;
@compute @workgroup_size(${GROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let at = id.y * groups.x * ${GROUP} + id.x;
  if (at >= task.outer * task.points * task.inner) { return; }
  let point = at / task.inner % task.points;
  let start = at / (task.inner * task.points) * task.size;
  var sum = 0.0;
  for (var tap = 4 * point; tap < 4 * point + 4; tap++) {
    sum += factors[tap] * lattice[(start + taps[tap]) * task.inner + at % task.inner];
  }
  mixed[at] = sum;
}`;

/** Thrown where a device did not do what it was asked. The processor then does it. */
export class GpuError extends Error {}

export class Gpu {
  /**
   * @param {GPUDevice} device
   * @param {GPUComputePipeline[]} programs for each of WIDTHS, and last the one that mixes
   */
  constructor(device, programs) {
    this.device = device;
    this.programs = programs;
  }

  /**
   * A device of this browser; null if it has none.
   * @param {boolean} takesSoftware whether a device that a program imitates is taken, too: it is no faster
   * @returns {Promise<Gpu | null>}
   */
  static async open(takesSoftware) {
    const adapter = await globalThis.navigator?.gpu?.requestAdapter();
    if (!adapter || (isSoftware(adapter) && !takesSoftware)) return null;
    const device = await adapter.requestDevice();
    const codes = [...WIDTHS.map(layersCode), MIX_CODE];
    const programs = await Promise.all(
      codes.map((code) =>
        device.createComputePipelineAsync({
          layout: "auto",
          compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
        }),
      ),
    );
    return new Gpu(device, programs);
  }

  /**
   * Outputs of heads at grids of points, before gain and offset, in C order.
   * @param {Piece[]} pieces of which each is `isFit`
   * @returns {Promise<Float32Array[]>}
   * @throws {GpuError}
   */
  async outputs(pieces) {
    const { device } = this;
    const work = new Work(this);
    const kinds = /** @type {GPUErrorFilter[]} */ (["validation", "out-of-memory", "internal"]);
    for (const kind of kinds) device.pushErrorScope(kind);
    const sizes = pieces.map(({ axes }) => axes[0].length * axes[1].length * axes[2].length);
    const bytes = 4 * sizes.reduce((sum, n) => sum + n, 0);
    try {
      const out = work.buffer(bytes, MAP_READ | COPY_DST);
      let at = 0;
      for (const [number, piece] of pieces.entries()) {
        work.encoder.copyBufferToBuffer(work.piece(piece), 0, out, at, 4 * sizes[number]);
        at += 4 * sizes[number];
      }
      device.queue.submit([work.encoder.finish()]);
      const errors = kinds.map(() => device.popErrorScope());
      const mapped = out.mapAsync(MODE_READ);
      mapped.catch(() => undefined); // What the scopes say comes first.
      for (const error of await Promise.all(errors)) if (error) throw new GpuError(error.message);
      await mapped;
      const all = new Float32Array(out.getMappedRange().slice(0));
      at = 0;
      return sizes.map((n) => {
        at += n;
        return all.subarray(at - n, at);
      });
    } catch (error) {
      throw error instanceof GpuError ? error : new GpuError(String(error)); // For example, the device was lost.
    } finally {
      for (const one of work.buffers) one.destroy();
    }
  }
}

/** @param {GPUAdapter} adapter */
function isSoftware({ info }) {
  return info.isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${info.architecture} ${info.description}`);
}

/**
 * Products that a piece takes.
 * @param {Piece} piece
 */
export function productsOf({ path, axes }) {
  const each = path.layers.reduce((sum, { inputs, outputs }) => sum + inputs * outputs, 0);
  return each * axes[0].length * axes[1].length * axes[2].length;
}

/**
 * Whether the programs can do a piece: angles are small enough, and arrays.
 * @param {Piece} piece
 */
export function isFit(piece) {
  const { path, axes } = piece;
  if (productsOf(piece) > MOST_PRODUCTS) return false;
  return path.runs.every(({ first, end, stride }) => {
    const layers = path.layers.slice(first, end);
    const points = axes.reduce((product, axis) => product * (axis.length + 4), 1); // Interpolation needs up to 4 more.
    const features = Math.max(1, ...layers.map(({ outputs }) => outputs));
    const angles = layers.map(({ ofFeatures, ofPositions }, at) => {
      const { centre, scale } = path.networks[Math.floor((first + at) / path.perNetwork)] ?? path.networks[0];
      const ends = axes.flatMap((axis, number) => [axis[0] - centre[number], axis[axis.length - 1] - centre[number]]);
      const farthest = Math.max(...ends.map(Math.abs)) + (stride > 1 ? MARGIN : 0);
      return ofFeatures + ofPositions * farthest * scale;
    });
    return 4 * points * features <= MOST_SUMS && Math.max(0, ...angles) * (stride > 1 ? MIXED : 1) < LARGEST;
  });
}

/** What is done in one go: a list of commands, and the buffers that they need. */
class Work {
  /** @param {Gpu} gpu */
  constructor({ device, programs }) {
    this.device = device;
    this.programs = programs;
    this.encoder = device.createCommandEncoder();
    /** @type {GPUBuffer[]} */
    this.buffers = [];
  }

  /**
   * @param {number} size in bytes
   * @param {number} usage
   */
  buffer(size, usage) {
    const made = this.device.createBuffer({ size, usage });
    this.buffers.push(made);
    return made;
  }

  /**
   * A buffer with numbers.
   * @param {Float32Array | Uint32Array} numbers
   * @param {number} [usage]
   */
  filled(numbers, usage = STORAGE) {
    const made = this.buffer(Math.max(16, numbers.byteLength), usage | COPY_DST);
    this.device.queue.writeBuffer(made, 0, /** @type {Float32Array<ArrayBuffer>} */ (numbers));
    return made;
  }

  /**
   * An array that a program writes.
   * @param {number} n numbers
   */
  room(n) {
    return this.buffer(4 * n, STORAGE | COPY_SRC);
  }

  /**
   * Let a program work on buffers.
   * @param {number} program
   * @param {number[]} task
   * @param {GPUBuffer[]} buffers
   * @param {number} threads
   */
  dispatch(program, task, buffers, threads) {
    const pipeline = this.programs[program];
    const all = [this.filled(Uint32Array.from(task), UNIFORM), ...buffers];
    const entries = all.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const pass = this.encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    const groups = Math.ceil(threads / GROUP);
    const high = Math.ceil(groups / MOST_GROUPS);
    pass.dispatchWorkgroups(Math.ceil(groups / high), high);
    pass.end();
  }

  /**
   * Outputs of a head at a grid.
   * @param {Piece} piece
   */
  piece({ path, axes }) {
    return this.sums(path, path.runs.length - 1, axes);
  }

  /**
   * Sums that end a run, at a grid.
   * @param {Path} path
   * @param {number} number of the run
   * @param {Axes} axes
   * @returns {GPUBuffer}
   */
  sums(path, number, axes) {
    const { first, end } = path.runs[number];
    const width = number ? path.layers[first - 1].outputs : 0;
    const below = number ? this.interpolated(path, number - 1, axes) : this.filled(new Float32Array(4));
    if (first === end) return below;
    const layers = path.layers.slice(first, end);
    const size = axes.map((axis) => axis.length);
    const { positions, places } = positionsOf(path, first, end, axes);
    const { weights, starts } = packed(layers);
    const table = layers.flatMap(({ inputs, outputs }, at) => {
      return [inputs, Math.ceil(inputs / 4), Math.ceil(outputs / 4), starts[at], places[at], 0, 0, 0];
    });
    const widest = Math.max(width, ...layers.map(({ inputs, outputs }) => Math.max(inputs, outputs))) / 4;
    const count = size[0] * size[1] * size[2];
    const { outputs } = layers[layers.length - 1];
    const sums = this.room(count * outputs);
    this.dispatch(
      WIDTHS.findIndex((fours) => fours >= widest),
      [...size, 0, layers.length, width, outputs, count],
      [this.filled(Uint32Array.from(table)), this.filled(weights), this.filled(positions), below, sums],
      count,
    );
    return sums;
  }

  /**
   * Sums that end a run on a lattice, interpolated to a grid.
   * @param {Path} path
   * @param {number} number of the run
   * @param {Axes} axes
   */
  interpolated(path, number, axes) {
    const { end, stride } = path.runs[number];
    const stencils = axes.map((axis, at) => stencil(axis, path.box[at], path.box[at + 3], stride));
    const { outputs } = path.layers[end - 1];
    let sums = this.sums(path, number, /** @type {Axes} */ (stencils.map(({ points }) => points)));
    const size = stencils.map(({ points }) => points.length);
    for (const [axis, { taps, weights }] of stencils.entries()) {
      const points = axes[axis].length;
      const outer = size.slice(0, axis).reduce((product, n) => product * n, 1);
      const inner = size.slice(axis + 1).reduce((product, n) => product * n, outputs);
      const mixed = this.room(outer * points * inner);
      const buffers = [this.filled(Uint32Array.from(taps)), this.filled(Float32Array.from(weights)), sums, mixed];
      this.dispatch(WIDTHS.length, [outer, points, size[axis], inner], buffers, outer * points * inner);
      size[axis] = points;
      sums = mixed;
    }
    return sums;
  }
}

/**
 * Positions of points in the nodes of the layers that take them: along z, y, x, node by node.
 * @param {Path} path
 * @param {number} first layer
 * @param {number} end
 * @param {Axes} axes
 */
function positionsOf(path, first, end, axes) {
  /** @type {number[]} */
  const numbers = [];
  /** Where those of each layer begin; -1 if it takes none. @type {number[]} */
  const places = [];
  for (let layer = first; layer < end; layer++) {
    places.push(path.layers[layer].hasPosition ? numbers.length : -1);
    if (!path.layers[layer].hasPosition) continue;
    const { centre, scale } = path.networks[layer / path.perNetwork];
    for (const [axis, points] of axes.entries())
      for (const point of points) numbers.push((point - centre[axis]) * scale);
  }
  return { positions: Float32Array.from(numbers), places };
}

/**
 * Weights in the order in which the program reads them: for four outputs their biases, then of each input a factor for
 * each of them.
 * @param {Layer[]} layers
 */
function packed(layers) {
  const sizes = layers.map(({ inputs, outputs }) => Math.ceil(outputs / 4) * (1 + 4 * Math.ceil(inputs / 4)));
  const weights = new Float32Array(4 * sizes.reduce((sum, n) => sum + n, 0));
  /** @type {number[]} */
  const starts = [];
  let start = 0;
  for (const [number, { inputs, outputs, matrix, bias }] of layers.entries()) {
    starts.push(start);
    const block = 4 * (1 + 4 * Math.ceil(inputs / 4));
    for (let o = 0; o < outputs; o++) {
      const at = 4 * start + block * (o >> 2) + (o & 3);
      weights[at] = bias[o];
      for (let i = 0; i < inputs; i++) weights[at + 4 * (1 + i)] = matrix[o * inputs + i];
    }
    start += sizes[number];
  }
  return { weights, starts };
}
