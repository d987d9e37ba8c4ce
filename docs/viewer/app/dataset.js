/** One open file as the page knows it: its facts, and what of it has been decoded. */

import { cellAt, cellsBetween, cutGrid, joinCells, sliceBox, valueIn } from "./geometry.js";
import { Preview } from "./preview.js";

/**
 * @typedef {import('./geometry.js').Box} Box
 * @typedef {import('./geometry.js').Grid} Grid
 * @typedef {import('./geometry.js').Plane} Plane
 * @typedef {import('./elements.js').Values} Values
 * @typedef {import('./cache.js').ByteCache<Values>} Cache
 * @typedef {import('./words.js').Meta & { whole: number, networks: boolean }} FileMeta
 * @typedef {import('./preview.js').Coarse} Coarse
 * @typedef {{ values: Values, box: Box, step: number }} Piece  a value every `step` voxels
 * @typedef {{ plane: Plane, slice: number, right: number, down: number, step: number }} Tile  part of a slice: its cell in
 *   the grid of that step
 */

const FIRST_EDGE = 16; // Cells along the longest axis of the first look at networks: it takes hundredths of a second.
const SECOND_EDGE = 32; // Cells along the longest axis of the look that follows; twice as many if no other follows.
export const KEPT_SHARE = 0.8; // Volumes, or slices, of a larger share of the cache would push each other out.
const TILE_EDGE = 64; // Voxels along a piece of a slice, about.
const SMALL_VOLUME = 2 ** 24; // Networks of a volume of at most so many voxels are decoded in small bricks.
const SMALL_BRICK = 2 ** 12;
const BRICK = 2 ** 15;
const ARRAY_BRICK = 2 ** 18; // Voxels of a brick of a file that is no .tinc.
const LARGEST_BRICK = 2 ** 21; // A block of more voxels comes in parts.
const LARGEST_OVERVIEW = 2 ** 21; // An overview of more cells is no quick look.
const RETRY_MS = 10_000; // What could not be read from a server is asked for again after so long.
const EAGER_BYTES = 250_000; // A larger file on a server is read only where it is on the screen.

export class Dataset {
  /**
   * @param {number} id
   * @param {string} name
   * @param {FileMeta} meta
   * @param {boolean} remote  whether a server has it
   * @param {Cache} cache
   */
  constructor(id, name, meta, remote, cache) {
    this.id = id;
    this.name = name;
    this.meta = meta;
    this.cache = cache;
    this.shape = meta.shape;
    this.eager = !remote || meta.nbytes <= EAGER_BYTES;
    this.voxels = meta.shape[0] * meta.shape[1] * meta.shape[2];
    const brick = brickVoxels(meta);
    this.grid = cutGrid(meta.shape, brick);
    const edge = Math.cbrt(brick);
    this.join = 2 ** Math.max(0, Math.round(Math.log2(TILE_EDGE / edge)));
    /** Grids of tiles, by their step. @type {Map<number, Grid>} */
    this.tiles = new Map();
    this.bytes = this.voxels * (meta.dtype === "f2" ? 4 : Number(meta.dtype.slice(1)));
    /** @type {Map<number, Coarse>} */
    this.coarse = new Map();
    /** The factor by which the coarse look at a volume was asked for. @type {Map<number, number>} */
    this.looks = new Map();
    /** @type {Map<number, Preview>} */
    this.previews = new Map();
    /** @type {Map<number, Float64Array>} */
    this.leaves = new Map();
    /** @type {Set<string>} */
    this.failed = new Set();
    /** @type {Map<string, number>} */
    this.whole = new Map();
    /** What could not be decoded of it, for good. */
    this.trouble = "";
    this.version = 0;
    this.hasBricks = false;
  }

  /** Whether a coarse look at the volume is quick. */
  get hasCoarse() {
    const { labels, overviewCell } = this.meta;
    if (!overviewCell) return this.eager && !labels;
    return this.shape.reduce((cells, n) => cells * Math.ceil(n / overviewCell), 1) <= LARGEST_OVERVIEW;
  }

  /** Whether all of the volume is decoded where there is nothing better to do. */
  get wantsAll() {
    return this.eager && (!this.meta.networks || this.voxels <= SMALL_VOLUME);
  }

  /** Voxels along a cell of the first look at a volume, and of the better one that follows. */
  get coarseFactors() {
    const { overviewCell, networks } = this.meta;
    if (!networks) return [overviewCell || this.factorOf(SECOND_EDGE)];
    return [this.factorOf(FIRST_EDGE), this.factorOf(this.wantsAll ? SECOND_EDGE : 2 * SECOND_EDGE)];
  }

  /**
   * Voxels along a cell, a power of two, of which there are about so many along the longest axis.
   * @param {number} edge
   */
  factorOf(edge) {
    return 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(...this.shape) / edge)));
  }

  /**
   * Whether a coarse look at a volume as good as this is there.
   * @param {number} volume
   * @param {number} factor
   */
  hasLook(volume, factor) {
    return (this.looks.get(volume) ?? Number.POSITIVE_INFINITY) <= factor;
  }

  /**
   * @param {number} volume
   * @param {boolean} calibrated
   */
  prefix(volume, calibrated) {
    return `${this.id}/${volume}${calibrated ? "" : "u"}/`;
  }

  /**
   * Box of a brick.
   * @param {number} z
   * @param {number} y
   * @param {number} x its cell
   * @returns {Box}
   */
  brickBox(z, y, x) {
    const [ez, ey, ex] = this.grid.edges;
    return [ez[z], ey[y], ex[x], ez[z + 1], ey[y + 1], ex[x + 1]];
  }

  /**
   * Voxels between values of tiles, where every so many are enough for the screen.
   * @param {number} step a power of two
   * @param {boolean} calibrated
   */
  levelFor(step, calibrated) {
    const { flavour, networks, labels } = this.meta;
    const saves = networks || this.bytes > KEPT_SHARE * this.cache.budget;
    return flavour === "tinc" && saves && calibrated && !labels ? step : 1;
  }

  /**
   * The grid of tiles of a step.
   * @param {number} step
   */
  tilesAt(step) {
    const grid = this.tiles.get(step) ?? joinCells(this.grid, this.join * step);
    this.tiles.set(step, grid);
    return grid;
  }

  /**
   * The tiles of a slice on the screen.
   * @param {import('./planner.js').Seen} seen
   * @param {boolean} calibrated
   * @returns {{ rights: number[], downs: number[], step: number, grid: Grid }}
   */
  tilesOn({ plane, rect, step }, calibrated) {
    const level = this.levelFor(step, calibrated);
    const grid = this.tilesAt(level);
    return {
      rights: cellsBetween(grid.edges[plane.right], rect.r0, rect.r1),
      downs: cellsBetween(grid.edges[plane.down], rect.d0, rect.d1),
      step: level,
      grid,
    };
  }

  /**
   * Box of a tile.
   * @param {Tile} tile
   * @returns {Box}
   */
  tileBox({ plane, slice, right, down, step }) {
    const { edges } = this.tilesAt(step);
    const [across, along] = [edges[plane.right], edges[plane.down]];
    return sliceBox(plane, slice, across[right], across[right + 1], along[down], along[down + 1]);
  }

  /**
   * Key of a tile.
   * @param {string} prefix
   * @param {Tile} tile
   */
  tileKey(prefix, { plane, slice, right, down, step }) {
    return `${prefix}${plane.name}${Math.floor(slice / step)}/${step}/${right},${down}`;
  }

  /**
   * Cells of the bricks behind a tile.
   * @param {Tile} tile
   */
  *bricksOf({ plane, slice, right, down, step }) {
    const join = this.join * step;
    const cell = [0, 0, 0];
    cell[plane.normal] = cellAt(this.grid.edges[plane.normal], slice);
    const [lastRight, lastDown] = [this.grid.counts[plane.right], this.grid.counts[plane.down]];
    for (let d = down * join; d < Math.min((down + 1) * join, lastDown); d++) {
      for (let r = right * join; r < Math.min((right + 1) * join, lastRight); r++) {
        cell[plane.right] = r;
        cell[plane.down] = d;
        yield cell;
      }
    }
  }

  /**
   * What is decoded of a tile: the tile, or bricks, some or all.
   * @param {string} prefix
   * @param {Tile} tile
   * @returns {{ pieces: Piece[], complete: boolean }}
   */
  piecesOf(prefix, tile) {
    const known = this.cache.get(this.tileKey(prefix, tile));
    if (known) return { pieces: [{ values: known, box: this.tileBox(tile), step: tile.step }], complete: true };
    /** @type {Piece[]} */
    const pieces = [];
    let complete = this.hasBricks;
    if (!complete) return { pieces, complete };
    for (const [z, y, x] of this.bricksOf(tile)) {
      const values = this.cache.get(`${prefix}${z},${y},${x}`);
      if (values) pieces.push({ values, box: this.brickBox(z, y, x), step: 1 });
      else complete = false;
    }
    return { pieces, complete };
  }

  /**
   * Whether a tile can be drawn whole.
   * @param {string} prefix
   * @param {Tile} tile
   */
  hasTile(prefix, tile) {
    if (this.cache.has(this.tileKey(prefix, tile))) return true;
    if (!this.hasBricks) return false;
    for (const [z, y, x] of this.bricksOf(tile)) {
      if (!this.cache.has(`${prefix}${z},${y},${x}`)) return false;
    }
    return true;
  }

  /**
   * The value of a voxel, if it is decoded; else null.
   * @param {string} prefix
   * @param {Plane} plane
   * @param {number[]} at
   */
  valueAt(prefix, plane, at) {
    const { edges } = this.tilesAt(1);
    const right = cellAt(edges[plane.right], at[plane.right]);
    const down = cellAt(edges[plane.down], at[plane.down]);
    const { pieces } = this.piecesOf(prefix, { plane, slice: at[plane.normal], right, down, step: 1 });
    const piece = pieces.find(({ box }) =>
      at.every((position, axis) => position >= box[axis] && position < box[axis + 3]),
    );
    return piece ? valueIn(piece.values, piece.box, at) : null;
  }

  /**
   * Whether all bricks of a volume were decoded, and none was forgotten since.
   * @param {number} volume
   * @param {boolean} calibrated
   */
  isWhole(volume, calibrated) {
    return this.whole.get(this.prefix(volume, calibrated)) === this.cache.forgotten;
  }

  /**
   * @param {number} volume
   * @param {boolean} calibrated
   */
  setWhole(volume, calibrated) {
    this.whole.set(this.prefix(volume, calibrated), this.cache.forgotten);
  }

  /**
   * Do not ask for what failed, or not for a while.
   * @param {string} key
   * @param {(() => void) | null} retry  is called when it may be asked for again; null for never
   */
  setFailed(key, retry) {
    this.failed.add(key);
    if (!retry) return;
    setTimeout(() => {
      this.failed.delete(key);
      retry();
    }, RETRY_MS);
  }

  /**
   * Keep the values of a tile of a slice.
   * @param {string} key
   * @param {Values} values
   */
  keepTile(key, values) {
    this.cache.set(key, values);
    this.version += 1;
  }

  /**
   * Keep the values of a brick, and some of them for the projection.
   * @param {string} prefix
   * @param {number} volume
   * @param {Box} box
   * @param {string} key
   * @param {Values} values
   */
  keepBrick(prefix, volume, box, key, values) {
    this.cache.set(key, values);
    this.hasBricks = true;
    this.version += 1;
    if (prefix === this.prefix(volume, true)) this.previewOf(volume).sample(box, values);
  }

  /**
   * Keep a coarse look at a volume.
   * @param {number} volume
   * @param {number} factor that was asked for
   * @param {{ shape: number[], values: Float32Array }} result
   */
  keepCoarse(volume, factor, { shape, values }) {
    const factors = shape.map((n, axis) =>
      Math.ceil(this.shape[axis] / factor) === n ? factor : this.shape[axis] / n,
    );
    const coarse = { shape, values, factors };
    this.coarse.set(volume, coarse);
    this.looks.set(volume, factor);
    this.previewOf(volume).fill(coarse, !this.meta.labels);
    this.version += 1;
  }

  /**
   * The volume that the projection draws.
   * @param {number} volume
   */
  previewOf(volume) {
    const preview = this.previews.get(volume) ?? new Preview(this.shape);
    this.previews.set(volume, preview);
    return preview;
  }
}

/**
 * Throw if a file does not fit beside the first.
 * @param {Dataset} first
 * @param {Dataset} other
 */
export function checkBeside(first, other) {
  const text = (/** @type {Dataset} */ { meta }) => [...meta.leading, ...meta.shape].join(" × ");
  if (text(first) === text(other)) return;
  if (other.meta.volumes !== first.meta.volumes || String(first.shape) !== String(other.shape))
    throw new Error(`it has ${text(other)} voxels; expected ${text(first)}, as ${first.name} has`);
}

/**
 * Voxels of a brick: what is decoded at once anyway, or what takes some hundredths of a second.
 * @param {FileMeta} meta
 */
function brickVoxels({ flavour, whole, shape }) {
  if (flavour !== "tinc") return ARRAY_BRICK;
  if (whole) return Math.min(whole, LARGEST_BRICK);
  return shape[0] * shape[1] * shape[2] <= SMALL_VOLUME ? SMALL_BRICK : BRICK;
}
