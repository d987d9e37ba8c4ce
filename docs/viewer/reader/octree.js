/** The octree over a volume (format.md, *Tree*; check 6). */

import { TincError } from "./errors.js";
import { MAX_DEPTH } from "./limits.js";

/** @typedef {import("./cursor.js").Cursor} Cursor */
/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {[number, number, number, number, number, number]} Box z0, y0, x0, z1, y1, x1; without the ends */

/**
 * How often each axis was cut above levels 0 to MAX_DEPTH. Past the finest possible level nothing is cut any more.
 * @param {Triple} shape
 * @returns {Triple[]}
 */
function cutCounts(shape) {
  /** @type {Triple} Halving is exact. */
  let sizes = [...shape];
  /** @type {Triple[]} */
  const counts = [[0, 0, 0]];
  for (let level = 0; level < MAX_DEPTH; level++) {
    const longest = Math.max(...sizes);
    const isCut = sizes.map((size) => size >= 2 && 2 * size > longest);
    const above = counts[level];
    counts.push([above[0] + +isCut[0], above[1] + +isCut[1], above[2] + +isCut[2]]);
    sizes = [sizes[0] / (1 + +isCut[0]), sizes[1] / (1 + +isCut[1]), sizes[2] / (1 + +isCut[2])];
  }
  return counts;
}

export class Octree {
  /**
   * @param {Triple} shape voxels along z, y, x
   * @param {Uint16Array} split whether each node has children, breadth-first
   */
  constructor(shape, split) {
    const size = split.length;
    const counts = cutCounts(shape);
    this.shape = shape;
    this.split = split;
    /** How often each axis was cut above a level. */
    this.cuts = counts;
    this.level = new Uint8Array(size);
    /** -1 for the root. */
    this.parent = new Int32Array(size).fill(-1);
    /** z, y, x of each node in the lattice of its level. */
    this.cell = new Int32Array(3 * size);
    /** First node of each level, and one past the last node. */
    this.levelStart = [0, 1];
    for (let level = 0; ; level++) {
      const first = this.levelStart[level];
      let at = this.levelStart[level + 1];
      const end = at;
      const halved =
        level < MAX_DEPTH ? [0, 1, 2].map((axis) => counts[level + 1][axis] - counts[level][axis]) : [0, 0, 0];
      for (let node = first; node < end; node++) {
        if (!split[node]) continue;
        if (level === MAX_DEPTH) throw new TincError(`tree is deeper than ${MAX_DEPTH} levels, expected at most these`);
        if (!(halved[0] || halved[1] || halved[2])) {
          throw new TincError(`a node of level ${level} is split, expected none where no axis is left to cut`);
        }
        at = this._addChildren(node, halved, at);
      }
      if (at === end) break;
      this.levelStart.push(at);
    }
    const nodes = this.levelStart[this.levelStart.length - 1];
    if (nodes !== size) throw new TincError(`tree closes with ${nodes} nodes, expected the ${size} that are stored`);
    this.depth = this.levelStart.length - 2;
    /** Nodes without children, ascending. */
    this.leaves = Int32Array.from(split.keys()).filter((node) => !split[node]);
  }

  /**
   * @param {number} node
   * @param {number[]} halved 1 for each axis that is cut
   * @param {number} first number of the first child
   */
  _addChildren(node, halved, first) {
    const count = 2 ** (halved[0] + halved[1] + halved[2]);
    if (first + count > this.split.length) {
      throw new TincError(`tree has ${this.split.length} nodes, expected at least ${first + count} to close it`);
    }
    let child = first;
    for (let z = 0; z <= halved[0]; z++) {
      for (let y = 0; y <= halved[1]; y++) {
        for (let x = 0; x <= halved[2]; x++) {
          this.parent[child] = node;
          this.level[child] = this.level[node] + 1;
          this.cell[3 * child] = this.cell[3 * node] * (1 + halved[0]) + z;
          this.cell[3 * child + 1] = this.cell[3 * node + 1] * (1 + halved[1]) + y;
          this.cell[3 * child + 2] = this.cell[3 * node + 2] * (1 + halved[2]) + x;
          child++;
        }
      }
    }
    return child;
  }

  /**
   * The voxels that a node covers.
   * @param {number} node
   * @returns {Box}
   */
  box(node) {
    const ends = [0, 1].flatMap((end) =>
      this.shape.map((n, axis) => {
        const cell = this.cell[3 * node + axis] + end;
        return Math.floor((cell * n) / 2 ** this.cuts[this.level[node]][axis]);
      }),
    );
    return /** @type {Box} */ (ends);
  }

  /**
   * Edges of the cells of a level, in voxels and not rounded.
   * @param {number} level
   */
  extent(level) {
    return this.shape.map((n, axis) => n / 2 ** this.cuts[level][axis]);
  }
}

/**
 * Read an octree.
 * @param {Cursor} cursor
 * @param {Triple} shape
 * @param {number} most nodes that it may have
 */
export function readTree(cursor, shape, most) {
  return new Octree(shape, cursor.bits("split bits", cursor.uv("number of nodes", 1, most)));
}
