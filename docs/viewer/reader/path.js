/** The layers from the root of a tree to a head, evaluated at grids of points. */

import { mixRows, runsOf, stencil } from "./lattice.js";
import { applyLayer, makeLayer, sines } from "./layers.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./lattice.js").Run} Run */
/** @typedef {import("./networks_file.js").NetworksHead} NetworksHead */
/** @typedef {import("./octree.js").Octree} Octree */
/** @typedef {import("./weights.js").Weights} Weights */
/** @typedef {[Float64Array, Float64Array, Float64Array]} Axes coordinates along z, y, x */

/**
 * A network, ready to be evaluated.
 * @typedef {object} Network
 * @property {Layer[]} layers its sine layers
 * @property {Layer | null} head
 * @property {number[]} centre of its cell, in voxels
 * @property {number} scale from voxels to positions in the node
 */

/**
 * Keeps planes of lattices.
 * @typedef {object} PlaneCache
 * @property {(key: string) => Float64Array | undefined} get
 * @property {(key: string, plane: Float64Array, bytes: number) => void} put
 */

const TILE = 128; // Points whose features of two layers of usual width fit into the caches of a core.
// Inputs and sums of a layer, for the points of a tile: a layer has at most 256 features and a position.
const BUFFERS = [new Float64Array(TILE * 259), new Float64Array(TILE * 259)];

/**
 * @param {NetworksHead} head
 * @param {Weights} weights
 * @param {number} node
 * @returns {Network}
 */
export function makeNetwork(head, weights, node) {
  const { tree, layers } = head;
  const own = weights.nodes[node];
  const { position } = own;
  const width = position.length / 4;
  const parts = [own.feature ?? new Float32Array(), position.subarray(0, 3 * width)];
  const all = [makeLayer(parts, position.subarray(3 * width), true)];
  for (let k = 1; k < layers; k++) all.push(makeLayer([own[`hidden ${k}`]], own[`bias ${k}`], false));
  const extent = tree.extent(tree.level[node]);
  return {
    layers: all,
    head: head.hasHead[node] ? makeLayer([own.head], own["head bias"], false) : null,
    centre: extent.map((size, axis) => (tree.cell[3 * node + axis] + 0.5) * size),
    scale: 2 / Math.max(...extent),
  };
}

export class Path {
  /**
   * @param {Network[]} networks from the root to the one with the head
   * @param {number[]} lattice
   * @param {import("./octree.js").Box} box of the node with the head
   * @param {string} name of the path in the cache
   * @param {PlaneCache} cache
   */
  constructor(networks, lattice, box, name, cache) {
    this.networks = networks;
    this.box = box;
    this.name = name;
    this.cache = cache;
    /** @type {Layer[]} */
    this.layers = networks.flatMap((network) => network.layers);
    const { head } = networks[networks.length - 1];
    if (head) this.layers.push(head);
    this.perNetwork = networks[0].layers.length;
    this.runs = runsOf(lattice, this.layers.length - 1);
  }

  /**
   * Outputs of the head at a grid, before gain and offset, in C order.
   * @param {Axes} axes
   */
  outputs(axes) {
    const sizes = axes.map((axis) => axis.length);
    const along = sizes.indexOf(Math.min(...sizes)); // The axis along which planes are evaluated.
    const [row, column] = [0, 1, 2].filter((axis) => axis !== along);
    const steps = [sizes[1] * sizes[2], sizes[2], 1];
    const out = new Float64Array(sizes[0] * sizes[1] * sizes[2]);
    for (let p = 0; p < sizes[along]; p++) {
      const plane = this._plane(this.runs.length - 1, along, axes[along][p], axes[row], axes[column]);
      for (let r = 0; r < sizes[row]; r++) {
        const at = p * steps[along] + r * steps[row];
        for (let c = 0; c < sizes[column]; c++) out[at + c * steps[column]] = plane[r * sizes[column] + c];
      }
    }
    return out;
  }

  /**
   * Sums that end a run, at the points of a plane: (rows, columns, outputs).
   * @param {number} number of the run
   * @param {number} along axis across which the plane lies
   * @param {number} coordinate of the plane
   * @param {Float64Array} rows coordinates along the first other axis
   * @param {Float64Array} columns coordinates along the second other axis
   * @returns {Float64Array}
   */
  _plane(number, along, coordinate, rows, columns) {
    const run = this.runs[number];
    const below = number ? this._interpolated(number - 1, along, coordinate, rows, columns) : null;
    if (below && run.first === run.end) return below;
    const { outputs } = this.layers[run.end - 1];
    const size = rows.length * columns.length;
    const out = new Float64Array(size * outputs);
    const positions = this._positions(run, along, coordinate, rows, columns);
    for (let first = 0; first < size; first += TILE) {
      const count = Math.min(TILE, size - first);
      let [x, y] = BUFFERS;
      let stride = this.layers[run.first].inputs;
      if (below) {
        const width = this.layers[run.first - 1].outputs;
        for (let p = 0; p < count; p++) {
          for (let i = 0; i < width; i++) x[p * stride + i] = below[(first + p) * width + i];
        }
        sines(x, stride, width, count);
      }
      for (let layer = run.first; layer < run.end; layer++) {
        const one = this.layers[layer];
        if (one.hasPosition) positions[layer / this.perNetwork](x, stride, one.inputs - 3, first, count);
        const isLast = layer === run.end - 1;
        const nextStride = isLast ? outputs : this.layers[layer + 1].inputs;
        if (isLast) y = out.subarray(first * outputs, (first + count) * outputs);
        applyLayer(one, x, stride, y, nextStride, count);
        if (!isLast) sines(y, nextStride, one.outputs, count);
        [x, y, stride] = [y, x, nextStride];
      }
    }
    return out;
  }

  /**
   * For each network, what writes the positions of points of a plane into rows of inputs.
   * @param {Run} run
   * @param {number} along
   * @param {number} coordinate
   * @param {Float64Array} rows
   * @param {Float64Array} columns
   */
  _positions(run, along, coordinate, rows, columns) {
    const [row, column] = [0, 1, 2].filter((axis) => axis !== along);
    return this.networks.map((network, at) => {
      const { centre, scale } = network;
      const isMet = at * this.perNetwork >= run.first && at * this.perNetwork < run.end;
      const ofRows = isMet ? rows.map((point) => Math.fround((point - centre[row]) * scale)) : rows;
      const ofColumns = isMet ? columns.map((point) => Math.fround((point - centre[column]) * scale)) : columns;
      const ofPlane = Math.fround((coordinate - centre[along]) * scale);
      const width = columns.length;
      /**
       * @param {Float64Array} x
       * @param {number} stride
       * @param {number} offset
       * @param {number} first
       * @param {number} count
       */
      return (x, stride, offset, first, count) => {
        for (let p = 0; p < count; p++) {
          const r = Math.floor((first + p) / width);
          const place = p * stride + offset;
          x[place + along] = ofPlane;
          x[place + row] = ofRows[r];
          x[place + column] = ofColumns[first + p - r * width];
        }
      };
    });
  }

  /**
   * Sums that end a run on a lattice, interpolated to the points of a plane: (rows, columns, outputs).
   * @param {number} number of the run
   * @param {number} along
   * @param {number} coordinate
   * @param {Float64Array} rows
   * @param {Float64Array} columns
   */
  _interpolated(number, along, coordinate, rows, columns) {
    const run = this.runs[number];
    const { outputs } = this.layers[run.end - 1];
    const [row, column] = [0, 1, 2].filter((axis) => axis !== along);
    /** @param {number} axis @param {ArrayLike<number>} points */
    const along_ = (axis, points) => stencil(points, this.box[axis], this.box[axis + 3], run.stride);
    const ofPlane = along_(along, [coordinate]);
    const ofRows = along_(row, rows);
    const ofColumns = along_(column, columns);
    const across = [ofRows.numbers[0], ofRows.numbers.length, ofColumns.numbers[0], ofColumns.numbers.length].join();
    const planes = [...ofPlane.points].map((point, at) => {
      const key = `${this.name} ${number} ${along} ${ofPlane.numbers[at]} ${across}`;
      const known = this.cache.get(key);
      if (known) return known;
      const plane = this._plane(number, along, point, ofRows.points, ofColumns.points);
      this.cache.put(key, plane, plane.byteLength);
      return plane;
    });
    const width = ofColumns.points.length * outputs;
    const mixed = new Float64Array(ofRows.points.length * width);
    mixRows(ofPlane, 0, (tap) => planes[tap], mixed);
    const line = new Float64Array(width);
    const out = new Float64Array(rows.length * columns.length * outputs);
    for (let r = 0; r < rows.length; r++) {
      mixRows(ofRows, r, (tap) => mixed.subarray(tap * width, (tap + 1) * width), line);
      for (let c = 0; c < columns.length; c++) {
        const at = (r * columns.length + c) * outputs;
        mixRows(
          ofColumns,
          c,
          (tap) => line.subarray(tap * outputs, (tap + 1) * outputs),
          out.subarray(at, at + outputs),
        );
      }
    }
    return out;
  }
}
