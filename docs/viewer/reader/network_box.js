/** A box of voxels coded as a tree of networks: its values at any points. */

import { rint, toHalf, zeros } from "./dtypes.js";
import { makeNetwork, Path } from "./path.js";

/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./networks_file.js").NetworksHead} NetworksHead */
/** @typedef {import("./octree.js").Box} Box */
/** @typedef {import("./path.js").Axes} Axes */
/** @typedef {import("./path.js").Network} Network */
/** @typedef {import("./path.js").PlaneCache} PlaneCache */
/** @typedef {import("./weights.js").Weights} Weights */

const PATCH = 128; // Grids are evaluated in patches of at most so many rows and columns, for the memory's sake.

/** The points of the voxels of a box. @param {Box} box @returns {Axes} */
export function voxelPoints(box) {
  /** @param {number} axis */
  const along = (axis) => Float64Array.from({ length: box[axis + 3] - box[axis] }, (_, at) => box[axis] + at + 0.5);
  return [along(0), along(1), along(2)];
}

export class NetworkBox {
  /**
   * @param {NetworksHead} head
   * @param {Weights} weights
   * @param {string} name of the box in the cache of planes
   * @param {PlaneCache} cache
   */
  constructor(head, weights, name, cache) {
    this.head = head;
    this.weights = weights;
    this.name = name;
    this.cache = cache;
    this.boxes = [...head.tree.leaves].map((leaf) => head.tree.box(leaf));
    /** @type {Map<number, Network>} */
    this._networks = new Map();
    /** @type {Map<string, Path>} */
    this._paths = new Map();
  }

  /**
   * Values at a grid of points, of the dtype of the file, in C order.
   * @param {Axes} axes ascending coordinates
   * @param {boolean} isCalibrated
   */
  values(axes, isCalibrated) {
    const { dtype, lo, hi } = this.head.facts;
    const { mean, std } = this.head;
    const out = zeros(dtype, axes[0].length * axes[1].length * axes[2].length);
    const isInteger = !dtype.isFloat;
    const isHalf = dtype.name === "f2";
    this._evaluate(axes, true, isCalibrated, (at, y) => {
      const value = Math.min(Math.max(mean + std * Math.fround(y), lo), hi);
      out[at] = isInteger ? rint(value) : isHalf ? toHalf(value) : value;
    });
    return out;
  }

  /**
   * Values at a grid of points as numbers that are not rounded to the dtype, without lattices.
   * @param {Axes} axes
   * @param {boolean} isCalibrated
   */
  floats(axes, isCalibrated) {
    const { lo, hi } = this.head.facts;
    const { mean, std } = this.head;
    const out = new Float32Array(axes[0].length * axes[1].length * axes[2].length);
    this._evaluate(axes, false, isCalibrated, (at, y) => {
      out[at] = Math.min(Math.max(mean + std * y, lo), hi);
    });
    return out;
  }

  /**
   * Call `put` with the output of each point of a grid.
   * @param {Axes} axes
   * @param {boolean} onLattice
   * @param {boolean} isCalibrated
   * @param {(at: number, y: number) => void} put
   */
  _evaluate(axes, onLattice, isCalibrated, put) {
    const { tree, giver } = this.head;
    for (const [number, box] of this.boxes.entries()) {
      const leaf = tree.leaves[number];
      /** @type {[number, number][]} */
      const met = axes.map((axis, at) => [placeIn(axis, box[at]), placeIn(axis, box[at + 3])]);
      if (met.some(([first, end]) => first >= end)) continue;
      const node = giver[leaf];
      if (node < 0) {
        const scalar = Math.fround(this.weights.scalar[leaf]);
        eachPlace(axes, met, (at) => put(at, scalar));
        continue;
      }
      const gain = isCalibrated ? this.weights.gain[node] : 1;
      const offset = isCalibrated ? this.weights.offset[node] : 0;
      const path = this._path(node, onLattice);
      for (const patch of patches(met)) {
        const local = /** @type {Axes} */ (axes.map((axis, at) => axis.subarray(...patch[at])));
        const outputs = path.outputs(local);
        eachPlace(axes, patch, (at, from) => put(at, gain * outputs[from] + offset));
      }
    }
  }

  /**
   * @param {number} node with a head
   * @param {boolean} onLattice
   */
  _path(node, onLattice) {
    const key = `${node} ${onLattice}`;
    const known = this._paths.get(key);
    if (known) return known;
    const networks = [];
    for (let at = node; at >= 0; at = this.head.tree.parent[at]) {
      const network = this._networks.get(at) ?? makeNetwork(this.head, this.weights, at);
      this._networks.set(at, network);
      networks.unshift(network);
    }
    const lattice = onLattice ? this.head.lattice : [];
    const path = new Path(networks, lattice, this.head.tree.box(node), `${this.name} ${node}`, this.cache);
    this._paths.set(key, path);
    return path;
  }
}

/**
 * How many of ascending coordinates are below a voxel's first coordinate.
 * @param {Float64Array} axis
 * @param {number} voxel
 */
export function placeIn(axis, voxel) {
  let low = 0;
  for (let high = axis.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (axis[middle] < voxel) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Call `visit` for each point of a part of a grid: with its place in the grid, and in the part.
 * @param {Axes} axes
 * @param {[number, number][]} part
 * @param {(at: number, from: number) => void} visit
 */
function eachPlace(axes, part, visit) {
  const [ny, nx] = [axes[1].length, axes[2].length];
  let from = 0;
  for (let z = part[0][0]; z < part[0][1]; z++) {
    for (let y = part[1][0]; y < part[1][1]; y++) {
      const row = (z * ny + y) * nx;
      for (let x = part[2][0]; x < part[2][1]; x++) visit(row + x, from++);
    }
  }
}

/**
 * Cut a part of a grid into patches.
 * @param {[number, number][]} part
 */
function* patches(part) {
  const [zs, ys, xs] = part.map(([first, end]) => {
    /** @type {[number, number][]} */
    const pieces = [];
    for (let at = first; at < end; at += PATCH) pieces.push([at, Math.min(at + PATCH, end)]);
    return pieces;
  });
  for (const z of zs) for (const y of ys) for (const x of xs) yield [z, y, x];
}
