/** MODEL and WEIGHTS payloads: the weights of every network, gains and offsets, and the values of scalar leaves. */

import { WEIGHTS } from "./chunks.js";
import { Cursor } from "./cursor.js";
import { fromHalf } from "./dtypes.js";
import { checkRange, TincError } from "./errors.js";
import * as limits from "./limits.js";
import { ENTROPY, FLOAT16, GLOBAL, PER_HEAD } from "./networks_file.js";
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
  const items = tensors.reduce((sum, { law }) => sum + (law ? 2 * law.largest + 1 : 0), 0);
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
      tensors.push({ name, group, nodes, size, step, law: head.format === ENTROPY ? readLaw(model) : null });
    }
  }
  return tensors;
}

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
   * @param {number} decay
   * @param {number} largest
   */
  constructor(decay, largest) {
    this.decay = decay;
    this.largest = largest;
    /** @type {Model | null} */
    this.model = null;
  }

  /**
   * @param {Stack} stack
   * @param {number} count
   */
  read(stack, count) {
    if (count && this.largest) this.model ??= geometric(this.decay, this.largest);
    return stack.integers(count, this.model, this.largest);
  }
}

/** @param {Cursor} cursor */
function readLaw(cursor) {
  const decay = cursor.u16("decay");
  const largest = cursor.u16("largest magnitude");
  checkRange("largest magnitude", largest, 0, limits.MAX_LARGEST);
  return new Law(decay, largest);
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
  return head.calibration === PER_HEAD ? [readLaw(model), readLaw(model)] : [];
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
    const law = readLaw(model);
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
  const isCoded = head.format === ENTROPY;
  const cursor = new Cursor(payload, "WEIGHTS chunk");
  const stack = new Stack(isCoded ? payload : new Uint8Array(), "WEIGHTS chunk");
  const first = networks[0];
  const last = networks[networks.length - 1];
  for (const tensor of tensors) {
    const nodes = tensor.nodes.slice(placeOf(tensor.nodes, first), placeOf(tensor.nodes, last + 1));
    const count = nodes.length * tensor.size;
    if (!count) continue;
    const numbers = tensor.law ? tensor.law.read(stack, count) : readFixed(cursor, head.format, count);
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
