/** The head of a file of blocks, and its checks. */

import { BLOCK, endOf, OVERVIEW, REGION, readTable, VERIFY } from "./chunks.js";
import { Cursor } from "./cursor.js";
import { checkRange, TincError } from "./errors.js";
import { readFilter } from "./filter.js";
import { BACKGROUND, FILTER, LATTICE, LEADING, REGIONS, RESIDUAL, readOptional, readStart, SORTED } from "./head.js";
import * as limits from "./limits.js";
import { readTree } from "./octree.js";

/** @typedef {import("./chunks.js").Chunk} Chunk */
/** @typedef {import("./filter.js").Filter} Filter */
/** @typedef {import("./head.js").Facts} Facts */
/** @typedef {import("./octree.js").Box} Box */
/** @typedef {import("./octree.js").Octree} Octree */

/**
 * The box of a region, and its volume.
 * @typedef {object} RegionPlace
 * @property {number} volume
 * @property {Box} box
 */

/**
 * The head of a file of blocks.
 * @typedef {object} BlocksHead
 * @property {Facts} facts
 * @property {number[]} leading sizes of the axes before z, y, x
 * @property {number} volumes
 * @property {Octree} tree its leaves are the blocks
 * @property {number} edge voxels along a cell of the overviews, 0 for none
 * @property {Filter | null} filter
 * @property {{bound: number, voxels: number, places: RegionPlace[]}} regions
 * @property {number} ofNetworks features that networks of blocks may need
 * @property {Chunk[]} overviews one for each volume, or none
 * @property {Chunk[]} regional one for each region
 * @property {Chunk[]} blocks of each volume and leaf, leaves fastest
 * @property {Chunk[]} ancillary
 * @property {Chunk | null} verify
 * @property {Chunk[]} residuals of level 1, in the order of the checksums in VERIFY
 */

/** @type {Record<number, number>} */
const PLACE = { [OVERVIEW]: 0, [REGION]: 1, [BLOCK]: 2, [VERIFY]: 3 }; // Order of critical chunks.

/**
 * Read the head of a file of blocks (checks 3 to 8).
 * @param {number} features
 * @param {Uint8Array} head
 * @param {number} size bytes of the file
 * @returns {BlocksHead}
 */
export function readBlocksHead(features, head, size) {
  const cursor = new Cursor(head, "head");
  const facts = readStart(cursor, features);
  readOptional(cursor, facts);
  const axes = cursor.uv("leading axes", 0, limits.MAX_LEADING);
  const leading = Array.from({ length: axes }, () => cursor.uv("leading axis", 1, limits.MAX_VOXELS));
  let all = facts.shape[0] * facts.shape[1] * facts.shape[2];
  for (const n of leading) {
    // Factors of at most 2^40 each: a product that is rounded is far beyond the limit.
    all *= n;
    checkRange("number of voxels", all, 1, limits.MAX_VOXELS);
  }
  const volumes = leading.reduce((product, n) => product * n, 1);
  checkFeature(features, LEADING, axes > 0, "leading axes");
  const tree = readTree(cursor, facts.shape, limits.MAX_BLOCK_TREE);
  const edge = cursor.uv("edge of the overview", 0, limits.MAX_EDGE);
  const filter =
    features & FILTER
      ? readFilter(cursor.take("filter", cursor.uv("length of the filter", 1, limits.MAX_FILTER)))
      : null;
  const regions = features & REGIONS ? readRegions(cursor, facts.shape, volumes) : { bound: 0, voxels: 0, places: [] };
  const count = volumes * tree.leaves.length;
  checkRange("number of blocks", count, 1, limits.MAX_CHUNKS);
  const table = readTable(cursor, [OVERVIEW, REGION, BLOCK, VERIFY]);
  const end = endOf(table);
  checkRange("file size", size, end, end);
  const critical = table.filter((chunk) => chunk.kind < 8);
  checkCritical(critical, features);
  /** @param {number} kind @param {number} n @param {string} name */
  const ofKind = (kind, n, name) => {
    const found = critical.filter((chunk) => chunk.kind === kind);
    checkRange(`number of ${name} chunks`, found.length, n, n);
    return found;
  };
  const residuals = critical.filter((chunk) => chunk.level === 1);
  const overviews = ofKind(OVERVIEW, edge ? volumes : 0, "OVERVIEW");
  const regional = ofKind(REGION, regions.places.length, "REGION");
  const blocks = ofKind(BLOCK, count, "BLOCK");
  if (facts.errorBound !== null && blocks.some((chunk) => chunk.level !== 1))
    throw new TincError("file has an error bound and a BLOCK of networks, expected every BLOCK to be of level 1");
  const [verify = null] = ofKind(VERIFY, residuals.length ? 1 : 0, "VERIFY");
  checkFeature(features, RESIDUAL, residuals.length > 0, "residuals");
  if (filter && !residuals.length)
    throw new TincError("file has a filter and no block that it changes, expected residuals");
  if (verify) checkRange("length of VERIFY", verify.length, 4 * residuals.length, 4 * residuals.length);
  const ancillary = table.filter((chunk) => chunk.kind >= 8);
  const ofNetworks = features & (LATTICE | SORTED);
  return {
    ...{ facts, leading, volumes, tree, edge, filter, regions, ofNetworks },
    ...{ overviews, regional, blocks, ancillary, verify, residuals },
  };
}

/**
 * @param {number} features
 * @param {number} feature
 * @param {boolean} isThere
 * @param {string} name
 */
function checkFeature(features, feature, isThere, name) {
  if (isThere !== (features & feature) > 0) {
    throw new TincError(
      `file has ${isThere ? "" : "no "}${name}, and the features ${features}, expected these to say so`,
    );
  }
}

/**
 * Order, levels and nodes of critical chunks.
 * @param {Chunk[]} critical
 * @param {number} features
 */
function checkCritical(critical, features) {
  /** @type {Record<number, number>} */
  const highest = { [OVERVIEW]: 1, [REGION]: 0, [BLOCK]: features & BACKGROUND ? 2 : 1, [VERIFY]: 0 };
  let last = 0;
  for (const { kind, level, nodes } of critical) {
    if (PLACE[kind] < last) throw new TincError("chunks are out of order, expected OVERVIEW, REGION, BLOCK, VERIFY");
    last = PLACE[kind];
    checkRange("level of a critical chunk", level, 0, highest[kind]);
    checkRange("nodes of a critical chunk", nodes, 0, 0);
  }
}

/**
 * Volume and box of each region.
 * @param {Cursor} cursor
 * @param {readonly number[]} shape
 * @param {number} volumes
 */
function readRegions(cursor, shape, volumes) {
  const bound = cursor.f64("bound of the regions", 0);
  const voxels = cursor.uv("voxels of the regions", 1, limits.MAX_VOXELS);
  const count = cursor.uv("number of regions", 1, limits.MAX_CHUNKS);
  /** @type {RegionPlace[]} */
  const places = [];
  let total = 0;
  for (let at = 0; at < count; at++) {
    const volume = cursor.uv("volume of a region", 0, Math.min(volumes, limits.MAX_CHUNKS) - 1);
    const start = shape.map((n) => cursor.uv("first voxel of a region", 0, n - 1));
    const size = shape.map((n, axis) => cursor.uv("size of a region", 1, n - start[axis]));
    const inside = size[0] * size[1] * size[2]; // Rounded only far beyond the limit.
    checkRange("voxels in the box of a region", inside, 1, limits.MAX_REGION);
    const stop = start.map((first, axis) => first + size[axis]);
    places.push({ volume, box: [start[0], start[1], start[2], stop[0], stop[1], stop[2]] });
    total += inside;
  }
  checkRange("voxels in the boxes of regions", total, voxels, volumes * shape[0] * shape[1] * shape[2]);
  return { bound, voxels, places };
}
