/** MODEL and WEIGHTS payloads: the weights of every network, gains and offsets, and the values of scalar leaves. */

import { WEIGHTS } from "./chunks.js";
import { Cursor } from "./cursor.js";
import { fromHalf } from "./dtypes.js";
import { checkRange, TincError } from "./errors.js";
import * as limits from "./limits.js";
import { ENTROPY, FLOAT16, GLOBAL, PER_HEAD, SORTED_ENTROPY } from "./networks_file.js";
import { geometric, Stack } from "./stream.js";
import { SCALAR } from "./widths.js";

/** @typedef {import("./networks_file.js").Group} Group */
/** @typedef {import("./networks_file.js").NetworksHead} NetworksHead */
/** @typedef {import("./stream.js").Model} Model */

/**
 * What all nodes of a group have of a name: numbers times step, in the entropy format under a distribution.
 * @typedef {object} Tensor
 * @property {string} name
 * @property {Group} group
 * @property {number[]} nodes those that have it, ascending
 * @property {number} size numbers of one node
 * @property {number} step
 * @property {Law | null} law of the integers; null in formats that have none
 * @property {Law[]} gaps laws of the gaps between keys; none where there are no keys
 */

/**
 * The weights of one node: matrices of inputs times outputs, row by row; absent ones have no elements.
 * @typedef {Record<string, Float32Array>} NodeWeights
 */

/**
 * All that the payloads of a tree hold.
 * @typedef {object} Weights
 * @property {NodeWeights[]} nodes by number of the node; empty without network
 * @property {Float64Array} gain by number of the node with the head
 * @property {Float64Array} offset
 * @property {Float64Array} scalar values of scalar leaves, by number of the node
 */

/**
 * Read the payloads of MODEL and WEIGHTS chunks.
 * @param {NetworksHead} head
 * @param {Uint8Array[]} payloads of all chunks, in the order of the table, checked
 * @returns {Weights}
 */
export function readWeights(head, payloads) {
  const bytes = payloads.reduce((sum, payload) => sum + payload.length, 0);
  const model = new Cursor(payloads[0], "MODEL chunk");
  const tensors = readTensors(head, model);
  checkRange("chunks times tensors", head.table.length * tensors.length, 1, limits.MAX_PIECES);
  const items = tensors.reduce((sum, tensor) => sum + tableItems(tensor), 0);
  checkRange("items of the tables of tensors", items, 0, limits.TABLE_ITEMS + limits.TABLE_ITEMS_PER_BYTE * bytes);
  const size = head.widths.length;
  /** @type {Weights} */
  const weights = {
    nodes: Array.from({ length: size }, () => ({})),
    gain: new Float64Array(size).fill(1),
    offset: new Float64Array(size),
    scalar: new Float64Array(size),
  };
  const corrections = readCalibration(head, model, weights);
  readScalars(head, model, weights);
  const networks = Array.from({ length: head.tree.depth + 1 }, (_, level) => networksOfLevel(head, level));
  const first = new Array(head.tree.depth + 1).fill(0);
  for (const [at, chunk] of head.table.entries()) {
    if (chunk.kind !== WEIGHTS) continue;
    const run = networks[chunk.level].slice(first[chunk.level], first[chunk.level] + chunk.nodes);
    first[chunk.level] += chunk.nodes;
    const ofLevel = tensors.filter((tensor) => tensor.group.level === chunk.level);
    readRun(head, payloads[at], run, ofLevel, corrections, weights);
  }
  for (const values of [weights.gain, weights.offset, weights.scalar]) checkSizes(values);
  return weights;
}

/**
 * The items of all tables of a tensor.
 * @param {Tensor} tensor
 */
function tableItems({ law, gaps, group }) {
  if (!law) return 0;
  return 2 * law.largest + 1 + (gaps.length ? stretchesOfKeys(group.width).length * (law.largest + 1) : 0);
}

/**
 * @param {NetworksHead} head
 * @param {number} level
 */
function networksOfLevel(head, level) {
  const { levelStart } = head.tree;
  const nodes = [];
  for (let node = levelStart[level]; node < levelStart[level + 1]; node++) if (head.widths[node] > 0) nodes.push(node);
  return nodes;
}

/** @param {ArrayLike<number>} values */
function checkSizes(values) {
  for (let at = 0; at < values.length; at++) {
    if (!(Math.abs(values[at]) <= limits.MAX_WEIGHT)) {
      throw new TincError(`a weight, gain or offset is ${values[at]}, expected at most ${limits.MAX_WEIGHT}`);
    }
  }
}

/**
 * The tensors of all groups, in the order of the file.
 * @param {NetworksHead} head
 * @param {Cursor} model
 */
function readTensors(head, model) {
  /** @type {Tensor[]} */
  const tensors = [];
  for (const group of head.groups) {
    const { width, inputs } = group;
    /** @type {[string, number][]} */
    const shapes = [
      ["feature", inputs * width],
      ["position", 4 * width],
    ];
    for (let k = 1; k < head.layers; k++) shapes.push([`hidden ${k}`, width * width], [`bias ${k}`, width]);
    shapes.push(["head", width], ["head bias", 1]);
    for (const [name, size] of shapes) {
      const nodes = name.startsWith("head") ? group.heads : group.nodes;
      if (!nodes.length || !size) continue;
      const step = head.format === FLOAT16 ? 1 : readStep(model);
      const law = head.format >= ENTROPY ? readLaw(model, head.format) : null;
      const hasKeys = head.format === SORTED_ENTROPY && (name === "position" || name.startsWith("bias"));
      tensors.push({ name, group, nodes, size, step, law, gaps: law && hasKeys ? law.gaps : [] });
    }
  }
  return tensors;
}

const GAP_LAWS = 9; // The least of up to 256 keys needs this many laws.

const STEP = new Float32Array(1);
const STEP_BITS = new Uint32Array(STEP.buffer);

/**
 * The upper half of an f32.
 * @param {Cursor} cursor
 */
function readStep(cursor) {
  STEP_BITS[0] = cursor.u16("step") << 16;
  const step = STEP[0];
  if (!(step > 0 && step < Number.POSITIVE_INFINITY)) {
    throw new TincError(`a step is ${step}, expected a finite number above 0`);
  }
  return step;
}

/** The distribution of integers. Its table is made when it is first needed, after the limit of all tables is checked. */
class Law {
  /**
   * @param {number} theta
   * @param {number} largest
   * @param {number} [lowest] -largest or 0
   */
  constructor(theta, largest, lowest = -largest) {
    this.theta = theta;
    this.largest = largest;
    this.lowest = lowest;
    /** @type {Model | null} */
    this.model = null;
  }

  /** Laws of gaps: of theta^1, ^2, ^4, .. */
  get gaps() {
    const gaps = [];
    for (let power = this.theta; gaps.length < GAP_LAWS; power *= power) gaps.push(new Law(power, this.largest, 0));
    return gaps;
  }

  /**
   * @param {Stack} stack
   * @param {number} count
   */
  read(stack, count) {
    if (count && this.largest) this.model ??= geometric(this.theta, this.largest, this.lowest);
    return stack.integers(count, this.model, this.lowest);
  }
}

/**
 * @param {Cursor} cursor
 * @param {number} format
 */
function readLaw(cursor, format) {
  if (format === SORTED_ENTROPY) {
    const code = cursor.u8("code of a mean");
    const mean = ((8 + (code % 8)) * 2 ** Math.floor(code / 8)) / 2 ** 17;
    const largest = cursor.uv("largest magnitude", 0, limits.MAX_LARGEST);
    return new Law((Math.sqrt(1 + mean * mean) - 1) / mean, largest);
  }
  const decay = cursor.u16("decay");
  const largest = cursor.u16("largest magnitude");
  checkRange("largest magnitude", largest, 0, limits.MAX_LARGEST);
  return new Law(decay / 65536, largest);
}

/**
 * The stretches of keys that share a law of gaps: how many, and which law.
 * @param {number} width
 */
function stretchesOfKeys(width) {
  /** @type {[number, number][]} */
  const runs = [];
  for (let rest = width; rest > 0; rest--) {
    const power = 31 - Math.clz32(Math.floor((4 * rest) / 3));
    const run = runs[runs.length - 1];
    if (run?.[1] === power) run[0]++;
    else runs.push([1, power]);
  }
  return runs;
}

/**
 * Read the integers of a tensor that has the keys of sorted columns.
 * @param {Stack} stack
 * @param {Tensor} tensor
 * @param {Law} law
 * @param {number} nodes
 */
function readWithKeys(stack, tensor, law, nodes) {
  const { size } = tensor;
  const { width } = tensor.group;
  const out = new Int32Array(nodes * size);
  let key = 0;
  for (const [length, power] of stretchesOfKeys(width)) {
    const gaps = tensor.gaps[power].read(stack, nodes * length);
    for (let node = 0; node < nodes; node++) {
      for (let at = 0; at < length; at++) {
        const place = node * size + key + at;
        out[place] = gaps[node * length + at] + (key + at ? out[place - 1] : 0);
        checkRange("key", out[place], 0, law.largest);
      }
    }
    key += length;
  }
  const others = law.read(stack, nodes * (size - width));
  for (let node = 0; node < nodes; node++) {
    out.set(others.subarray(node * (size - width), (node + 1) * (size - width)), node * size + width);
  }
  return out;
}

/**
 * Gains and offsets that MODEL has; and how those of WEIGHTS payloads are coded, if there are such.
 * @param {NetworksHead} head
 * @param {Cursor} model
 * @param {Weights} weights
 */
function readCalibration(head, model, weights) {
  if (head.calibration === GLOBAL) {
    const view = new DataView(model.take("gain and offset", 8).slice().buffer);
    weights.gain.fill(view.getFloat32(0, true));
    weights.offset.fill(view.getFloat32(4, true));
  }
  return head.calibration === PER_HEAD ? [readLaw(model, head.format), readLaw(model, head.format)] : [];
}

/**
 * Values of scalar leaves, at the end of MODEL.
 * @param {NetworksHead} head
 * @param {Cursor} model
 * @param {Weights} weights
 */
function readScalars(head, model, weights) {
  const scalars = [...head.tree.leaves].filter((leaf) => head.widths[leaf] === SCALAR);
  if (scalars.length) {
    const step = readStep(model);
    const law = readLaw(model, ENTROPY);
    const base = model.i16("base of scalars");
    const stack = new Stack(model.rest(), "scalars");
    const integers = law.read(stack, scalars.length);
    stack.end();
    for (const [at, leaf] of scalars.entries()) weights.scalar[leaf] = (integers[at] + base) * step;
  }
  model.end();
}

/**
 * How many of ascending nodes are below a node.
 * @param {number[]} nodes
 * @param {number} node
 */
function placeOf(nodes, node) {
  let low = 0;
  for (let high = nodes.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (nodes[middle] < node) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Read the payload of a WEIGHTS chunk.
 * @param {NetworksHead} head
 * @param {Uint8Array} payload
 * @param {number[]} networks of the chunk
 * @param {Tensor[]} tensors of the level
 * @param {Law[]} corrections laws of gains and offsets, if there are such
 * @param {Weights} weights
 */
function readRun(head, payload, networks, tensors, corrections, weights) {
  const isCoded = head.format >= ENTROPY;
  const cursor = new Cursor(payload, "WEIGHTS chunk");
  const stack = new Stack(isCoded ? payload : new Uint8Array(), "WEIGHTS chunk");
  const first = networks[0];
  const last = networks[networks.length - 1];
  for (const tensor of tensors) {
    const nodes = tensor.nodes.slice(placeOf(tensor.nodes, first), placeOf(tensor.nodes, last + 1));
    const count = nodes.length * tensor.size;
    if (!count) continue;
    const numbers = readNumbers(tensor, stack, cursor, head.format, nodes.length);
    const values = Float32Array.from(numbers, (number) => number * tensor.step);
    checkSizes(values);
    for (const [at, node] of nodes.entries()) {
      weights.nodes[node][tensor.name] = values.subarray(at * tensor.size, (at + 1) * tensor.size);
    }
  }
  const heads = networks.filter((node) => head.hasHead[node]);
  for (const [place, law] of corrections.entries()) {
    const integers = isCoded ? law.read(stack, heads.length) : readShorts(cursor, heads.length);
    for (const [at, node] of heads.entries()) {
      (place ? weights.offset : weights.gain)[node] = (place ? 0 : 1) + integers[at] / 256;
    }
  }
  if (isCoded) stack.end();
  else cursor.end();
}

/**
 * The numbers of a tensor of so many nodes.
 * @param {Tensor} tensor
 * @param {Stack} stack
 * @param {Cursor} cursor
 * @param {number} format
 * @param {number} nodes
 */
function readNumbers(tensor, stack, cursor, format, nodes) {
  const count = nodes * tensor.size;
  if (!tensor.law) return readFixed(cursor, format, count);
  return tensor.gaps.length ? readWithKeys(stack, tensor, tensor.law, nodes) : tensor.law.read(stack, count);
}

/**
 * @param {Cursor} cursor
 * @param {number} format
 * @param {number} count
 * @returns {ArrayLike<number>}
 */
function readFixed(cursor, format, count) {
  if (format !== FLOAT16) return new Int8Array(cursor.take("weights", count).slice().buffer);
  return Float32Array.from(new Uint16Array(cursor.take("weights", 2 * count).slice().buffer), fromHalf);
}

/**
 * @param {Cursor} cursor
 * @param {number} count
 */
function readShorts(cursor, count) {
  return new Int16Array(cursor.take("gains and offsets", 2 * count).slice().buffer);
}
