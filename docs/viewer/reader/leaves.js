/** The leaves of a volume: their boxes, how they are coded, and the errors that the file states. */

import { forEach } from "./contents.js";

/** @typedef {import("./contents.js").BlockContents} BlockContents */
/** @typedef {import("./contents.js").TreeContents} TreeContents */
/** @typedef {import("./networks_file.js").NetworksHead} NetworksHead */
/** @typedef {import("./octree.js").Box} Box */

const MOST_LEAVES = 2 ** 18; // Beyond so many leaves of blocks with networks, such a block is one leaf.

/**
 * A leaf.
 * @typedef {object} Leaf
 * @property {Box} box
 * @property {number} level of the tree, or of the tree of blocks and that of the block together
 * @property {"network" | "scalar" | "lossless" | "bounded" | "constant"} kind
 * @property {number | null} bytes of the file that it takes; null where it shares them with others
 * @property {number | null} rmse as measured when the file was written, null where it does not say
 * @property {number | null} maxError likewise
 */

/**
 * Leaves of one tree of networks.
 * @param {NetworksHead} head
 * @param {[number, number][] | null} errors of each head, and of all scalars
 * @param {readonly number[]} corner of the box of the tree
 * @param {number} above level of the box
 * @returns {Leaf[]}
 */
function leavesOfTree(head, errors, corner, above) {
  const { tree, giver, hasHead } = head;
  const place = new Map();
  for (const [node, has] of hasHead.entries()) if (has) place.set(node, place.size);
  return [...tree.leaves].map((leaf) => {
    const box = /** @type {Box} */ (tree.box(leaf).map((at, side) => at + corner[side % 3]));
    const [rmse, maxError] = errors?.[place.get(giver[leaf]) ?? place.size] ?? [null, null];
    const kind = giver[leaf] < 0 ? "scalar" : "network";
    return { box, level: above + tree.level[leaf], kind, bytes: null, rmse, maxError };
  });
}

/**
 * The at most six boxes around a part of a box.
 * @param {Box} part counted from the corner of the box
 * @param {Box} box
 */
function boxesAround(part, box) {
  /** @type {Box[]} */
  const found = [];
  const rest = [...box];
  for (const axis of [0, 1, 2]) {
    const [first, end] = [box[axis] + part[axis], box[axis] + part[axis + 3]];
    for (const [low, high] of [
      [rest[axis], first],
      [end, rest[axis + 3]],
    ]) {
      if (low >= high) continue;
      const piece = /** @type {Box} */ ([...rest]);
      [piece[axis], piece[axis + 3]] = [low, high];
      found.push(piece);
    }
    [rest[axis], rest[axis + 3]] = [first, end];
  }
  return found;
}

/**
 * What is known without reading more.
 * @param {BlockContents | TreeContents} contents
 * @param {number} volume
 * @param {number} [most]  leaves of blocks with networks
 * @returns {Leaf[]}
 */
export function leavesOf(contents, volume, most = MOST_LEAVES) {
  if (contents.kind === "networks") return leavesOfTree(contents.head, contents.errors, [0, 0, 0], 0);
  const { tree } = contents.head;
  let inside = 0;
  return contents.boxes.flatMap((box, number) => {
    const chunk = contents.chunk(volume, number);
    const level = tree.level[tree.leaves[number]];
    const part = contents.atHand(volume, number);
    if (part?.networks && inside < most) {
      inside += part.networks.boxes.length;
      const corner = [0, 1, 2].map((axis) => box[axis] + (part.core?.[axis] ?? 0));
      const around = part.core ? boxesAround(part.core, box) : [];
      /** @type {Leaf[]} What a background alone stands for. */
      const leaves = around.map((one) => {
        return { box: one, level, kind: "constant", bytes: null, rmse: null, maxError: null };
      });
      return [...leavesOfTree(part.networks.head, part.errors, corner, level), ...leaves];
    }
    const [rmse, maxError] = contents.errors.get(chunk) ?? [null, null];
    const coded = part?.isConstant ? "constant" : contents.isLossless ? "lossless" : "bounded";
    /** @type {Leaf} */
    const leaf = { box, level, kind: chunk.level === 1 ? coded : "network", bytes: chunk.length, rmse, maxError };
    return [leaf];
  });
}

/**
 * All leaves; blocks with networks are read.
 * @param {BlockContents | TreeContents} contents
 * @param {number} volume
 * @param {number} [most]  leaves of blocks with networks
 * @returns {Promise<Leaf[]>}
 */
export async function allLeavesOf(contents, volume, most = MOST_LEAVES) {
  if (contents.kind === "blocks") {
    const withNetworks = [...contents.boxes.keys()].filter((number) => contents.chunk(volume, number).level !== 1);
    let inside = 0;
    await forEach(withNetworks, async (number) => {
      if (inside < most) inside += (await contents.part(volume, number)).networks?.boxes.length ?? 0;
    });
  }
  return leavesOf(contents, volume, most);
}
