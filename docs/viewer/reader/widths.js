/** Widths of the networks in a head, and what follows from them: who has a network, a head, how many weights. */

import { checkRange, TincError } from "./errors.js";
import { MAX_WIDTH } from "./limits.js";

/** @typedef {import("./cursor.js").Cursor} Cursor */
/** @typedef {import("./octree.js").Octree} Octree */

export const SCALAR = 0; // In place of a width: a leaf that is one value.
export const NONE = -1; // In place of a width: a node that uses the nearest network above.

/**
 * Read the width of every node, or SCALAR or NONE. There is one encoding of them; others are refused.
 * @param {Cursor} cursor
 * @param {Octree} tree
 */
export function readWidths(cursor, tree) {
  const isMixed = cursor.u8("form of the widths", 1) > 0;
  const classes = isMixed ? readClasses(cursor) : [];
  const bits = isMixed ? 32 - Math.clz32(classes.length - 1) : 0;
  const occurs = classes.map(() => false);
  const widths = new Int16Array(tree.split.length).fill(NONE);
  let someLevelMixes = false;
  for (let level = 0; level <= tree.depth; level++) {
    const stored = [];
    for (let node = tree.levelStart[level]; node < tree.levelStart[level + 1]; node++) {
      if (!level || widths[tree.parent[node]] > 0) stored.push(node);
    }
    if (!stored.length) break;
    if (!isMixed) {
      const width = cursor.uv("width", 0, MAX_WIDTH);
      for (const node of stored) widths[node] = width || NONE;
      continue;
    }
    const indices = cursor.bits("indices of widths", stored.length, bits);
    for (const [at, node] of stored.entries()) {
      checkRange("index of a width", indices[at], 0, classes.length - 1);
      widths[node] = classes[indices[at]] || NONE;
      occurs[indices[at]] = true;
      someLevelMixes ||= indices[at] !== indices[0];
    }
  }
  if (isMixed && !(someLevelMixes && occurs.every(Boolean))) {
    throw new TincError("widths are stored in form 1, expected widths that occur, and a level that mixes them");
  }
  const bare = tree.leaves.filter((leaf) => widths[leaf] === NONE);
  for (const [at, bit] of cursor.bits("scalar bits", bare.length).entries()) if (bit) widths[bare[at]] = SCALAR;
  return widths;
}

/**
 * The widths that occur, ascending.
 * @param {Cursor} cursor
 */
function readClasses(cursor) {
  const count = cursor.uv("number of widths", 2, MAX_WIDTH + 1);
  const classes = Array.from({ length: count }, () => cursor.uv("width", 0, MAX_WIDTH));
  if (classes.some((width, at) => at && width <= classes[at - 1])) {
    throw new TincError(`widths that occur are ${classes.join(" ")}, expected them ascending`);
  }
  return classes;
}

/**
 * The node whose network gives the values of each node: itself or the nearest above; -1 for a scalar.
 * @param {Octree} tree
 * @param {Int16Array} widths
 */
export function networkOfNode(tree, widths) {
  const giver = new Int32Array(widths.length);
  for (let node = 0; node < widths.length; node++) {
    if (widths[node] > 0) giver[node] = node;
    else giver[node] = widths[node] === SCALAR || !node ? -1 : giver[tree.parent[node]];
  }
  return giver;
}

/**
 * Whether each node has a head, since a leaf is given its values by it. Throws TincError unless each network has either
 * a head or networks below it.
 * @param {Octree} tree
 * @param {Int16Array} widths
 * @param {Int32Array} giver see networkOfNode
 */
export function findHeads(tree, widths, giver) {
  if (widths[0] <= 0) throw new TincError(`width of the root is 0, expected 1 to ${MAX_WIDTH}`);
  const hasHead = new Uint8Array(widths.length);
  const hasBelow = new Uint8Array(widths.length);
  for (const leaf of tree.leaves) if (giver[leaf] >= 0) hasHead[giver[leaf]] = 1;
  for (let node = 1; node < widths.length; node++) if (widths[node] > 0) hasBelow[tree.parent[node]] = 1;
  for (let node = 0; node < widths.length; node++) {
    if (widths[node] > 0 && hasHead[node] === hasBelow[node]) {
      throw new TincError(
        `network of node ${node} has ${hasHead[node] ? "both" : "no"} head and networks below, expected one`,
      );
    }
  }
  return hasHead;
}

/**
 * Numbers of weights and biases of every node.
 * @param {Octree} tree
 * @param {Int16Array} widths
 * @param {Uint8Array} hasHead
 * @param {number} layers
 */
export function countWeights(tree, widths, hasHead, layers) {
  const counts = new Uint32Array(widths.length);
  for (let node = 0; node < widths.length; node++) {
    const width = widths[node];
    if (width <= 0) continue;
    const inputs = node ? widths[tree.parent[node]] : 0;
    counts[node] = width * (4 + inputs + (layers - 1) * (width + 1)) + (hasHead[node] ? width + 1 : 0);
  }
  return counts;
}
