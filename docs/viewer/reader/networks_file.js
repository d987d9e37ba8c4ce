/** The head of a file of one tree of networks, and its checks. */

import { endOf, MODEL, readTable, WEIGHTS } from "./chunks.js";
import { Cursor } from "./cursor.js";
import { checkRange, TincError } from "./errors.js";
import { LATTICE, readOptional, readStart, SORTED } from "./head.js";
import * as limits from "./limits.js";
import { readTree } from "./octree.js";
import { countWeights, findHeads, networkOfNode, readWidths } from "./widths.js";

/** @typedef {import("./chunks.js").Chunk} Chunk */
/** @typedef {import("./head.js").Facts} Facts */
/** @typedef {import("./octree.js").Octree} Octree */

export const FLOAT16 = 0; // Weights are half floats.
export const INT8 = 1; // Weights are bytes times a step.
export const ENTROPY = 2; // Weights are entropy-coded integers times a step.
export const SORTED_ENTROPY = 3; // The same of sorted columns, with laws of fewer bytes.
export const GLOBAL = 1; // All heads have one gain and one offset.
export const PER_HEAD = 2; // Each head has a gain and an offset.

/**
 * Networks of one level that share their width and their parents' group.
 * @typedef {object} Group
 * @property {number} level
 * @property {number[]} nodes ascending
 * @property {number[]} heads those of the nodes that have a head
 * @property {number} width
 * @property {number} inputs width of the parents, 0 for the root
 */

/**
 * The head of a file of one tree.
 * @typedef {object} NetworksHead
 * @property {Facts} facts
 * @property {number} mean value of an output 0
 * @property {number} std difference of values for a difference 1 of outputs
 * @property {Octree} tree
 * @property {Int16Array} widths
 * @property {Int32Array} giver the node whose network gives each node its values, -1 for a scalar
 * @property {Uint8Array} hasHead
 * @property {number} layers
 * @property {number} format FLOAT16, INT8, ENTROPY or SORTED_ENTROPY
 * @property {number} calibration 0, GLOBAL or PER_HEAD
 * @property {number[]} lattice last layers on lattices of strides 2, 4, 8; empty without lattice
 * @property {Group[]} groups
 * @property {Chunk[]} table
 */

/**
 * Read the head of a file of one tree of networks (checks 3 to 8).
 * @param {number} features
 * @param {Uint8Array} head
 * @param {number} size bytes of the file
 * @returns {NetworksHead}
 */
export function readNetworksHead(features, head, size) {
  if (features & ~(LATTICE | SORTED))
    throw new TincError(`features are ${features}, expected at most ${LATTICE | SORTED} of a single tree`);
  const cursor = new Cursor(head, "head");
  const facts = readStart(cursor, features);
  const { lo, hi } = facts;
  if (!Number.isFinite(hi - lo)) throw new TincError(`value range is ${lo} to ${hi}, expected it of a finite width`);
  const mean = lo + (hi - lo) * (cursor.u16("mean") / 65535);
  const std = (hi - lo) * (cursor.u16("std") / 65535);
  readOptional(cursor, facts);
  const layers = cursor.u8("layers", limits.MAX_LAYERS, 1);
  cursor.f32("omega0");
  const format = cursor.u8("weights format", SORTED_ENTROPY);
  if ((format === SORTED_ENTROPY) !== (features & SORTED) > 0)
    throw new TincError(`weights format is ${format}, and features are ${features}, expected these to say so`);
  const calibration = cursor.u8("calibration", PER_HEAD);
  const tree = readTree(cursor, facts.shape, limits.MAX_TREE);
  const widths = readWidths(cursor, tree);
  const giver = networkOfNode(tree, widths);
  const hasHead = findHeads(tree, widths, giver);
  const counts = countWeights(tree, widths, hasHead, layers);
  const total = counts.reduce((sum, count) => sum + count, 0);
  checkRange("number of weights", total, 1, limits.MAX_WEIGHTS);
  const deepest = tree.level[widths.findLastIndex((width) => width > 0)];
  const lattice = features & LATTICE ? readLattice(cursor, layers * (1 + deepest)) : [];
  const groups = findGroups(tree, widths, hasHead);
  const table = readTable(cursor, [MODEL, WEIGHTS]);
  const end = endOf(table);
  checkRange("number of chunks", table.length, 1, limits.SPARE_CHUNKS + Math.floor(end / limits.LEAST_CHUNK));
  checkOrder(table, tree, widths);
  checkRange("file size", size, end, end);
  checkRange("number of weights", total, 0, limits.MAX_WEIGHTS_PER_BYTE * size + limits.SPARE_WEIGHTS);
  return { facts, mean, std, tree, widths, giver, hasHead, layers, format, calibration, lattice, groups, table };
}

/**
 * The last layer on a lattice of each stride: none is above the one before.
 * @param {Cursor} cursor
 * @param {number} most number of the deepest head
 */
function readLattice(cursor, most) {
  const first = cursor.uv("last layer on a lattice of stride 2", 1, most);
  const second = cursor.uv("last layer on a lattice of stride 4", 0, first);
  return [first, second, cursor.uv("last layer on a lattice of stride 8", 0, second)];
}

/**
 * Groups in their order: by level, then parents' group, then width.
 * @param {Octree} tree
 * @param {Int16Array} widths
 * @param {Uint8Array} hasHead
 */
function findGroups(tree, widths, hasHead) {
  /** @type {Group[]} */
  const groups = [];
  const groupOf = new Int32Array(widths.length);
  for (let level = 0; level <= tree.depth; level++) {
    /** @type {Map<number, Group>} By parents' group and width; both are small. */
    const found = new Map();
    for (let node = tree.levelStart[level]; node < tree.levelStart[level + 1]; node++) {
      const width = widths[node];
      if (width <= 0) continue;
      const key = (node ? groupOf[tree.parent[node]] : 0) * 1024 + width;
      const group = found.get(key) ?? {
        level,
        nodes: [],
        heads: [],
        width,
        inputs: node ? widths[tree.parent[node]] : 0,
      };
      group.nodes.push(node);
      if (hasHead[node]) group.heads.push(node);
      found.set(key, group);
    }
    for (const [, group] of [...found].sort((one, other) => one[0] - other[0])) {
      for (const node of group.nodes) groupOf[node] = groups.length;
      groups.push(group);
    }
    checkRange("number of groups", groups.length, 1, limits.MAX_GROUPS);
  }
  return groups;
}

/**
 * Check that MODEL comes first, and that WEIGHTS hold all networks in order.
 * @param {Chunk[]} table
 * @param {Octree} tree
 * @param {Int16Array} widths
 */
function checkOrder(table, tree, widths) {
  const left = tree.levelStart
    .slice(1)
    .map((end, level) => widths.subarray(tree.levelStart[level], end).reduce((n, width) => n + +(width > 0), 0));
  let level = 0;
  for (const [at, chunk] of table.entries()) {
    if ((at === 0) !== (chunk.kind === MODEL)) {
      throw new TincError(`chunk ${at} is of kind ${chunk.kind}, expected one MODEL chunk, the first`);
    }
    if (chunk.kind === MODEL) {
      checkRange("level of the MODEL chunk", chunk.level, 0, 0);
      checkRange("nodes of the MODEL chunk", chunk.nodes, 0, 0);
    } else if (chunk.kind === WEIGHTS) {
      if (!left[level]) throw new TincError(`WEIGHTS chunk ${at} follows the last network, expected none`);
      checkRange(`level of WEIGHTS chunk ${at}`, chunk.level, level, level);
      checkRange(`nodes of WEIGHTS chunk ${at}`, chunk.nodes, 1, left[level]);
      left[level] -= chunk.nodes;
      if (!left[level]) level++;
    }
  }
  const missing = left.reduce((sum, n) => sum + n, 0);
  checkRange("networks without weights", missing, 0, 0);
}
