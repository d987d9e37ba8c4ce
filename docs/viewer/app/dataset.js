/** One open file as the page knows it: its facts, and what of it has been decoded. */

import { cellAt, cutGrid, joinCells, sliceBox } from "./geometry.js";

/**
 * @typedef {import('./geometry.js').Box} Box
 * @typedef {import('./geometry.js').Grid} Grid
 * @typedef {import('./geometry.js').Plane} Plane
 * @typedef {import('./elements.js').Values} Values
 * @typedef {import('./cache.js').ByteCache<Values>} Cache
 * @typedef {import('./words.js').Meta & { whole: number, networks: boolean }} FileMeta
 * @typedef {{ shape: number[], values: Float32Array | Float64Array, factors: number[] }} Coarse
 * @typedef {{ values: Values, box: Box }} Piece
 */

const PREVIEW_EDGE = 64; // Cells along the longest axis of the volume that the projection draws.
const FIRST_EDGE = 32; // Cells along the longest axis of what is asked of networks first.
const TILE_EDGE = 64; // Voxels along a piece of a slice, about.
const SMALL_VOLUME = 2 ** 24; // Networks of a volume of at most so many voxels are decoded in small bricks.
const SMALL_BRICK = 2 ** 12;
const BRICK = 2 ** 15;
const ARRAY_BRICK = 2 ** 18; // Voxels of a brick of a file that is no .tinc.
const LARGEST_BRICK = 2 ** 21; // A block of more voxels comes in parts.
const LARGEST_OVERVIEW = 2 ** 21; // An overview of more cells is no quick look.
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
    this.tiles = joinCells(this.grid, this.join);
    this.bytes = this.voxels * (meta.dtype === "f2" ? 4 : Number(meta.dtype.slice(1)));
    /** @type {Map<number, Coarse>} */
    this.coarse = new Map();
    /** @type {Map<number, Coarse & { filled: number }>} */
    this.previews = new Map();
    /** @type {Map<number, Float64Array>} */
    this.leaves = new Map();
    /** @type {Set<string>} */
    this.failed = new Set();
    /** @type {Map<string, number>} */
    this.whole = new Map();
    this.version = 0;
  }

  /** Whether means over cells can be had without decoding everything. */
  get hasCoarse() {
    const { flavour, overviewCell, networks } = this.meta;
    if (flavour !== "tinc" || !overviewCell) return this.eager && (flavour !== "tinc" || networks);
    return this.shape.reduce((cells, n) => cells * Math.ceil(n / overviewCell), 1) <= LARGEST_OVERVIEW;
  }

  /** Voxels along a cell of the first, coarse look. */
  get coarseFactor() {
    return this.meta.overviewCell || 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(...this.shape) / FIRST_EDGE)));
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
   * Box of a tile of a slice.
   * @param {Plane} plane
   * @param {number} slice
   * @param {number} right
   * @param {number} down its cell
   * @returns {Box}
   */
  tileBox(plane, slice, right, down) {
    const [across, along] = [this.tiles.edges[plane.right], this.tiles.edges[plane.down]];
    return sliceBox(plane, slice, across[right], across[right + 1], along[down], along[down + 1]);
  }

  /**
   * Key of a tile of a slice.
   * @param {string} prefix
   * @param {Plane} plane
   * @param {number} slice
   * @param {number} right
   * @param {number} down
   */
  tileKey(prefix, plane, slice, right, down) {
    return `${prefix}${plane.name}${slice}/${right},${down}`;
  }

  /**
   * Cells of the bricks behind a tile of a slice.
   * @param {Plane} plane
   * @param {number} slice
   * @param {number} right
   * @param {number} down
   */
  *bricksOf(plane, slice, right, down) {
    const cell = [0, 0, 0];
    cell[plane.normal] = cellAt(this.grid.edges[plane.normal], slice);
    const [lastRight, lastDown] = [this.grid.counts[plane.right], this.grid.counts[plane.down]];
    for (let d = down * this.join; d < Math.min((down + 1) * this.join, lastDown); d++) {
      for (let r = right * this.join; r < Math.min((right + 1) * this.join, lastRight); r++) {
        cell[plane.right] = r;
        cell[plane.down] = d;
        yield cell;
      }
    }
  }

  /**
   * What is decoded of a tile of a slice: the tile, or bricks, some or all.
   * @param {string} prefix
   * @param {Plane} plane
   * @param {number} slice
   * @param {number} right
   * @param {number} down
   * @returns {{ pieces: Piece[], complete: boolean }}
   */
  piecesOf(prefix, plane, slice, right, down) {
    const tile = this.cache.get(this.tileKey(prefix, plane, slice, right, down));
    if (tile) return { pieces: [{ values: tile, box: this.tileBox(plane, slice, right, down) }], complete: true };
    const pieces = [];
    let complete = true;
    for (const [z, y, x] of this.bricksOf(plane, slice, right, down)) {
      const values = this.cache.get(`${prefix}${z},${y},${x}`);
      if (values) pieces.push({ values, box: this.brickBox(z, y, x) });
      else complete = false;
    }
    return { pieces, complete };
  }

  /**
   * Whether a tile of a slice can be drawn whole.
   * @param {string} prefix
   * @param {Plane} plane
   * @param {number} slice
   * @param {number} right
   * @param {number} down
   */
  hasTile(prefix, plane, slice, right, down) {
    if (this.cache.has(this.tileKey(prefix, plane, slice, right, down))) return true;
    for (const [z, y, x] of this.bricksOf(plane, slice, right, down)) {
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
    const right = cellAt(this.tiles.edges[plane.right], at[plane.right]);
    const down = cellAt(this.tiles.edges[plane.down], at[plane.down]);
    const { pieces } = this.piecesOf(prefix, plane, at[plane.normal], right, down);
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
    this.version += 1;
    if (prefix === this.prefix(volume, true)) this.samplePreview(volume, box, values);
  }

  /**
   * Keep a coarse look at a volume.
   * @param {number} volume
   * @param {{ shape: number[], values: Float32Array }} result
   */
  keepCoarse(volume, { shape, values }) {
    const factor = this.coarseFactor;
    const factors = shape.map((n, axis) =>
      Math.ceil(this.shape[axis] / factor) === n ? factor : this.shape[axis] / n,
    );
    this.coarse.set(volume, { shape, values, factors });
    const preview = this.previewOf(volume);
    const [, height, width] = preview.shape;
    for (let i = 0; i < preview.values.length; i++) {
      const cell = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
      const at = cell.map((c, axis) =>
        Math.min(shape[axis] - 1, Math.floor(((c + 0.5) * preview.factors[axis]) / factors[axis])),
      );
      if (Number.isNaN(preview.values[i])) preview.values[i] = values[(at[0] * shape[1] + at[1]) * shape[2] + at[2]];
    }
    preview.filled = preview.values.length;
    this.version += 1;
  }

  /**
   * The volume that the projection draws, NaN where nothing is decoded.
   * @param {number} volume
   */
  previewOf(volume) {
    const known = this.previews.get(volume);
    if (known) return known;
    const factor = Math.max(1, Math.max(...this.shape) / PREVIEW_EDGE);
    const shape = this.shape.map((n) => Math.max(1, Math.round(n / factor)));
    const factors = shape.map((n, axis) => this.shape[axis] / n);
    const preview = {
      shape,
      factors,
      values: new Float64Array(shape[0] * shape[1] * shape[2]).fill(Number.NaN),
      filled: 0,
    };
    this.previews.set(volume, preview);
    return preview;
  }

  /**
   * Take the voxels in the middle of the projection's cells from a brick.
   * @param {number} volume
   * @param {Box} box
   * @param {Values} values
   */
  samplePreview(volume, box, values) {
    const preview = this.previewOf(volume);
    const places = preview.shape.map((n, axis) => {
      const found = [];
      const factor = preview.factors[axis];
      for (let cell = Math.max(0, Math.floor(box[axis] / factor) - 1); cell < n; cell++) {
        const voxel = Math.floor((cell + 0.5) * factor);
        if (voxel >= box[axis + 3]) break;
        if (voxel >= box[axis]) found.push([cell, voxel]);
      }
      return found;
    });
    for (const [z, vz] of places[0]) {
      for (const [y, vy] of places[1]) {
        for (const [x, vx] of places[2]) {
          const at = (z * preview.shape[1] + y) * preview.shape[2] + x;
          if (Number.isNaN(preview.values[at])) preview.filled += 1;
          preview.values[at] = valueIn(values, box, [vz, vy, vx]);
        }
      }
    }
  }
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

/**
 * Value of a voxel in the values of a box.
 * @param {Values} values
 * @param {Box} box
 * @param {number[]} at
 */
export function valueIn(values, box, [z, y, x]) {
  return values[((z - box[0]) * (box[4] - box[1]) + y - box[1]) * (box[5] - box[2]) + x - box[2]];
}
