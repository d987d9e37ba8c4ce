/** A box of voxels coded as a tree of networks: its values at any points. */

import { rint, toHalf, zeros } from "./dtypes.js";
import { makeNetwork, Path } from "./path.js";
import { hasGpu, outputsOf } from "./processors.js";

/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./networks_file.js").NetworksHead} NetworksHead */
/** @typedef {import("./octree.js").Box} Box */
/** @typedef {import("./path.js").Axes} Axes */
/** @typedef {import("./path.js").Network} Network */
/** @typedef {import("./path.js").PlaneCache} PlaneCache */
/** @typedef {import("./weights.js").Weights} Weights */

const PATCH = 128; // Grids are evaluated in patches of at most so many rows and columns, for the memory's sake;
const GPU_PATCH = 32; // those for a GPU in smaller ones,
const GPU_PATCHES = 16; // so many at a time.
const CLOSE = 1e-6; // A share of the range by which a GPU may be off.

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
  async values(axes, isCalibrated) {
    const { dtype, lo, hi } = this.head.facts;
    const { mean, std } = this.head;
    const out = zeros(dtype, axes[0].length * axes[1].length * axes[2].length);
    const isInteger = !dtype.isFloat;
    const isHalf = dtype.name === "f2";
    /** @param {number} at @param {number} y */
    const put = (at, y) => {
      const value = Math.min(Math.max(mean + std * Math.fround(y), lo), hi);
      out[at] = isInteger ? rint(value) : isHalf ? toHalf(value) : value;
    };
    const [edge, count] = hasGpu() ? [GPU_PATCH, GPU_PATCHES] : [PATCH, 1];
    for (const pieces of inGroups(this._pieces(axes, true, isCalibrated, edge, put), count)) {
      const outputs = await outputsOf(pieces);
      for (const [number, { patch, gain, offset }] of pieces.entries())
        eachPlace(axes, patch, (at, from) => put(at, gain * outputs[number][from] + offset));
    }
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
    /** @param {number} at @param {number} y */
    const put = (at, y) => {
      out[at] = Math.min(Math.max(mean + std * y, lo), hi);
    };
    for (const { path, axes: local, patch, gain, offset } of this._pieces(axes, false, isCalibrated, PATCH, put)) {
      const outputs = path.outputs(local);
      eachPlace(axes, patch, (at, from) => put(at, gain * outputs[from] + offset));
    }
    return out;
  }

  /**
   * The parts of a grid that each are of one network; scalars are put at once.
   * @param {Axes} axes
   * @param {boolean} onLattice
   * @param {boolean} isCalibrated
   * @param {number} edge no part has more points along an axis
   * @param {(at: number, y: number) => void} put takes the output of a point
   */
  *_pieces(axes, onLattice, isCalibrated, edge, put) {
    const { tree, giver, facts, std } = this.head;
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
      const scale = std * Math.abs(gain);
      const tolerance = scale ? (CLOSE * (facts.hi - facts.lo)) / scale : Number.POSITIVE_INFINITY;
      for (const patch of patches(met, edge)) {
        const local = /** @type {Axes} */ (axes.map((axis, at) => axis.subarray(...patch[at])));
        yield { path, axes: local, patch, gain, offset, tolerance };
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
 * @param {number} edge of a patch, at most
 */
function* patches(part, edge) {
  const [zs, ys, xs] = part.map(([first, end]) => {
    /** @type {[number, number][]} */
    const pieces = [];
    for (let at = first; at < end; at += edge) pieces.push([at, Math.min(at + edge, end)]);
    return pieces;
  });
  for (const z of zs) for (const y of ys) for (const x of xs) yield [z, y, x];
}

/**
 * Gather items, at most `count` at a time.
 * @template T
 * @param {Iterable<T>} items
 * @param {number} count
 */
function* inGroups(items, count) {
  /** @type {T[]} */
  let group = [];
  for (const item of items) {
    group.push(item);
    if (group.length < count) continue;
    yield group;
    group = [];
  }
  if (group.length) yield group;
}
