/** The layers from the root of a tree to a head, evaluated at grids of points. */

import { mixRows, runsOf, stencil } from "./lattice.js";
import { applyLayer, makeLayer, sines } from "./layers.js";
import { SIMD, TILE as SIMD_TILE } from "./simd.js";

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
 * Writes positions z, y, x of some points of a grid into rows of inputs.
 * @callback WritePositions
 * @param {Float64Array | Float32Array} x
 * @param {number} stride
 * @param {number} offset of the positions in a row
 * @param {number} first point
 * @param {number} count of points
 */

/**
 * Sums of the last of some layers, for some points.
 * @param {Layer[]} layers
 * @param {Float64Array | null} below sums of the layer before the first, (points, width); null for none
 * @param {number} width of these
 * @param {number} first point
 * @param {number} count of points, at most a tile
 * @param {WritePositions[]} positions
 * @param {Float64Array} out takes the sums, (points, outputs)
 */
function evaluate(layers, below, width, first, count, positions, out) {
  /** @type {Float64Array[]} */
  let [x, y] = BUFFERS;
  let stride = layers[0].inputs;
  if (below) {
    for (let p = 0; p < count; p++) {
      for (let i = 0; i < width; i++) x[p * stride + i] = below[(first + p) * width + i];
    }
    sines(x, stride, width, count);
  }
  for (const [at, layer] of layers.entries()) {
    if (layer.hasPosition) positions[at](x, stride, layer.inputs - 3, first, count);
    const isLast = at === layers.length - 1;
    const next = isLast ? layer.outputs : layers[at + 1].inputs;
    if (isLast) y = out.subarray(first * next, (first + count) * next);
    applyLayer(layer, x, stride, y, next, count);
    if (!isLast) sines(y, next, layer.outputs, count);
    [x, y, stride] = [y, x, next];
  }
}

/** The two other axes. @param {number} axis */
const others = (axis) => [0, 1, 2].filter((one) => one !== axis);

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

/**
 * Ascending whole numbers as a text that no others have: its ends where there are no gaps.
 * @param {Int32Array} numbers
 */
function textOfNumbers(numbers) {
  const [first, last] = [numbers[0], numbers[numbers.length - 1]];
  return last - first === numbers.length - 1 ? `${first}-${last}` : numbers.join();
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
    this.layersOfRuns = this.runs.map((run) => this.layers.slice(run.first, run.end));
  }

  /**
   * Outputs of the head at a grid, before gain and offset, in C order.
   * @param {Axes} axes
   */
  outputs(axes) {
    const sizes = axes.map((axis) => axis.length);
    const last = this.runs.length - 1;
    if (!last) return this._sums(0, 0, axes);
    const along = sizes.indexOf(Math.min(...sizes)); // The axis along which planes are evaluated.
    const [row, column] = others(along);
    const steps = [sizes[1] * sizes[2], sizes[2], 1];
    const out = new Float64Array(sizes[0] * sizes[1] * sizes[2]);
    for (let p = 0; p < sizes[along]; p++) {
      const plane = this._sums(last, along, [axes[along].subarray(p, p + 1), axes[row], axes[column]]);
      for (let r = 0; r < sizes[row]; r++) {
        const at = p * steps[along] + r * steps[row];
        for (let c = 0; c < sizes[column]; c++) out[at + c * steps[column]] = plane[r * sizes[column] + c];
      }
    }
    return out;
  }

  /**
   * Sums that end a run, at a grid: (planes, rows, columns, outputs).
   * @param {number} number of the run
   * @param {number} along axis across which planes lie
   * @param {Axes} grid coordinates of planes, rows and columns; one plane where the run is not the first
   * @returns {Float64Array}
   */
  _sums(number, along, grid) {
    const run = this.runs[number];
    const below = number ? this._interpolated(number - 1, along, grid) : null;
    if (below && run.first === run.end) return below;
    const { outputs } = this.layers[run.end - 1];
    const size = grid[0].length * grid[1].length * grid[2].length;
    const out = new Float64Array(size * outputs);
    const width = below ? this.layers[run.first - 1].outputs : 0;
    const positions = this._positions(run, along, grid);
    const layers = this.layersOfRuns[number];
    SIMD?.use(layers);
    const tile = SIMD ? SIMD_TILE : TILE;
    for (let first = 0; first < size; first += tile) {
      const count = Math.min(tile, size - first);
      if (SIMD) {
        SIMD.evaluate(
          below,
          width,
          first,
          count,
          (at, x, stride, offset) => positions[at](x, stride, offset, first, count),
          out,
        );
      } else evaluate(layers, below, width, first, count, positions, out);
    }
    return out;
  }

  /**
   * For each layer of a run that takes positions, what writes those of points of a grid into rows of inputs.
   * @param {Run} run
   * @param {number} along
   * @param {Axes} grid
   */
  _positions(run, along, grid) {
    const [row, column] = others(along);
    /** @type {WritePositions[]} */
    const found = [];
    for (let layer = run.first; layer < run.end; layer++) {
      if (!this.layers[layer].hasPosition) continue;
      const { centre, scale } = this.networks[layer / this.perNetwork];
      const [planes, rows, columns] = [along, row, column].map((axis, at) =>
        grid[at].map((point) => Math.fround((point - centre[axis]) * scale)),
      );
      found[layer - run.first] = (x, stride, offset, first, count) => {
        let c = first % columns.length;
        let r = Math.floor(first / columns.length) % rows.length;
        let p = Math.floor(first / (columns.length * rows.length));
        for (let place = offset, end = offset + count * stride; place < end; place += stride) {
          x[place + along] = planes[p];
          x[place + row] = rows[r];
          x[place + column] = columns[c];
          if (++c < columns.length) continue;
          c = 0;
          if (++r < rows.length) continue;
          r = 0;
          p++;
        }
      };
    }
    return found;
  }

  /**
   * Sums that end a run on a lattice, interpolated to the points of a plane: (rows, columns, outputs).
   * @param {number} number of the run
   * @param {number} along
   * @param {Axes} grid
   */
  _interpolated(number, along, [plane, rows, columns]) {
    const run = this.runs[number];
    const { outputs } = this.layers[run.end - 1];
    const [row, column] = others(along);
    /** @param {number} axis @param {ArrayLike<number>} points */
    const stencilAlong = (axis, points) => stencil(points, this.box[axis], this.box[axis + 3], run.stride);
    const ofPlane = stencilAlong(along, plane);
    const ofRows = stencilAlong(row, rows);
    const ofColumns = stencilAlong(column, columns);
    const across = [ofRows.numbers, ofColumns.numbers].map(textOfNumbers).join("/");
    const planes = [...ofPlane.points].map((point, at) => {
      const key = `${this.name} ${number} ${along} ${ofPlane.numbers[at]} ${across}`;
      const known = this.cache.get(key);
      if (known) return known;
      const sums = this._sums(number, along, [Float64Array.of(point), ofRows.points, ofColumns.points]);
      this.cache.put(key, sums, sums.byteLength);
      return sums;
    });
    const width = ofColumns.points.length * outputs;
    const mixed = new Float64Array(ofRows.points.length * width);
    mixRows(
      ofPlane,
      (tap) => planes[tap],
      () => 0,
      mixed.length,
      mixed,
      0,
    );
    const lines = new Float64Array(rows.length * width);
    mixRows(
      ofRows,
      () => mixed,
      (tap) => tap * width,
      width,
      lines,
      0,
    );
    const out = new Float64Array(rows.length * columns.length * outputs);
    for (let r = 0; r < rows.length; r++) {
      const place = r * width;
      mixRows(
        ofColumns,
        () => lines,
        (tap) => place + tap * outputs,
        outputs,
        out,
        r * columns.length * outputs,
      );
    }
    return out;
  }
}
