/** What the decoder of a box works in: arrays for two levels at a time, in the memory of the kernels if there are such. */

import { gridOf, Layout } from "./neighbours.js";
import { KERNELS, placesInMemory } from "./simd_stage.js";
import { Stack } from "./stream.js";

/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./simd_stage.js").Kernels} Kernels */
/** @typedef {import("./stream.js").Model} Model */

/**
 * @typedef {object} Workspace
 * @property {Stack} stack the stream, read by the kernels
 * @property {[Float64Array, Float64Array][]} levels values and errors of a level, and of the one above
 * @property {Float64Array} prediction of a parity
 * @property {Float64Array} activities of a plane
 * @property {Uint8Array} classes of the voxels of a stage
 * @property {() => void} finish says how far the stream was read
 */

const MOST_MODELS = 400; // Two sets of tables have at most so many.
const MOST_TOKENS = 159;
const MODEL_BYTES = 4 * (MOST_TOKENS + 1) + 2 * 1024; // c_0 .. c_m, and the table of first symbols.
const LEAST = 16; // So few symbols are read without the kernels, which first have to be told about the stream.

/**
 * @param {Stack} stack
 * @param {Triple} shape
 * @param {number} last level
 * @returns {Workspace}
 */
export function workspace(stack, shape, last) {
  const finest = new Layout(gridOf(shape, last));
  const [one, two] = [8 * finest.size, 8 * new Layout(gridOf(shape, last + 1)).size];
  const sizes = [one, one, two, two, finest.size, finest.plane];
  if (!KERNELS) {
    const arrays = sizes.map((size) => new Float64Array(size));
    return arranged(stack, arrays, new Uint8Array(finest.size), () => {});
  }
  const most = finest.size; // No stage has more voxels.
  const ofStream = [8 * most, 4 * most, 2 * most, 4 * stack.left, MOST_MODELS * MODEL_BYTES, 16, most];
  const places = placesInMemory(KERNELS, [...sizes.map((size) => 8 * size), ...ofStream]);
  const { buffer } = KERNELS.memory;
  const arrays = sizes.map((size, at) => new Float64Array(buffer, places[at], size));
  const inMemory = new MemoryStack(KERNELS, stack, places.slice(sizes.length));
  const finish = () => {
    stack.high = inMemory.high;
    stack.low = inMemory.low;
    stack.left = inMemory.left;
  };
  return arranged(inMemory, arrays, new Uint8Array(buffer, places[places.length - 1], most), finish);
}

/**
 * @param {Stack} stack
 * @param {Float64Array[]} arrays  those of two levels, predictions, activities
 * @param {Uint8Array} classes
 * @param {() => void} finish
 * @returns {Workspace}
 */
function arranged(stack, [a, b, c, d, prediction, activities], classes, finish) {
  const levels = /** @type {Workspace["levels"]} */ ([
    [a, b],
    [c, d],
  ]);
  return { stack, levels, prediction, activities, classes, finish };
}

/** A stream in the memory of the kernels. The arrays that it gives out are the same each time. */
class MemoryStack extends Stack {
  /**
   * @param {Kernels} kernels
   * @param {Stack} from
   * @param {number[]} places of numbers, order, tokens, words, models and the head
   */
  constructor(kernels, from, [numbers, order, tokens, words, models, head]) {
    super(new Uint8Array(), from.name);
    const { buffer } = kernels.memory;
    this.kernels = kernels;
    this.places = { numbers, order, tokens, words, models, head };
    this.buffer = buffer;
    this.words = new Uint32Array(buffer, words, from.left);
    this.words.set(from.words.subarray(0, from.left));
    this.high = from.high;
    this.low = from.low;
    this.left = from.left;
    this.head = new Uint32Array(buffer, head, 3);
    /** @type {Map<Model, number>} */
    this.models = new Map();
  }

  /** @param {number} count */
  tokens(count) {
    return new Uint16Array(this.buffer, this.places.tokens, count);
  }

  /** @param {number} count */
  order(count) {
    return new Int32Array(this.buffer, this.places.order, count);
  }

  /** @param {number} count */
  numbers(count) {
    return new Float64Array(this.buffer, this.places.numbers, count);
  }

  /**
   * Where a model is in the memory.
   * @param {Model} model
   */
  _placeOf(model) {
    const known = this.models.get(model);
    if (known !== undefined) return known;
    const place = this.places.models + MODEL_BYTES * this.models.size;
    new Uint32Array(this.buffer, place, model.c.length).set(model.c);
    new Uint16Array(this.buffer, place + 4 * (MOST_TOKENS + 1), model.lookup.length).set(model.lookup);
    this.models.set(model, place);
    return place;
  }

  /** @param {() => void} read */
  _withHead(read) {
    this.head.set([this.low, this.high, this.left]);
    read();
    [this.low, this.high, this.left] = this.head;
  }

  /**
   * @param {Model} model
   * @param {Uint16Array} out
   * @param {number} count
   * @param {Int32Array | null} [order]
   * @param {number} [first]
   */
  symbols(model, out, count, order = null, first = 0) {
    if (count < LEAST || !order || out.buffer !== this.buffer) super.symbols(model, out, count, order, first);
    else {
      const { words, head } = this.places;
      const place = this._placeOf(model);
      const start = order.byteOffset + 4 * first;
      this._withHead(() => {
        const lookup = place + 4 * (MOST_TOKENS + 1);
        this.kernels.symbols(head, words, place, lookup, start, start + 4 * count, out.byteOffset);
      });
    }
  }

  /**
   * @param {number} octave
   * @param {Int32Array} order
   * @param {Uint16Array} tokens
   * @param {Float64Array} numbers
   */
  further(octave, order, tokens, numbers) {
    if (order.length < LEAST || octave > 17 || order.buffer !== this.buffer || numbers.buffer !== this.buffer) {
      super.further(octave, order, tokens, numbers);
    } else {
      const { words, head } = this.places;
      const start = order.byteOffset;
      const end = start + order.byteLength;
      this._withHead(() =>
        this.kernels.further(head, words, octave, start, end, tokens.byteOffset, numbers.byteOffset),
      );
    }
  }
}
