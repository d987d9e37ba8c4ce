/** What a file holds, for both kinds of files: boxes of voxels of each volume. */

import { LeastRecentlyUsed } from "./cache.js";
import { BLOCK, checked, QUALITY } from "./chunks.js";
import { TincError } from "./errors.js";
import { hasCalibration, networkErrors, networkPart, readErrors, readNetworkBox, residualPart } from "./parts.js";
import { decodeRegion } from "./regions.js";
import { sketchResidual } from "./sketch.js";

/** @typedef {import("./blocks_file.js").BlocksHead} BlocksHead */
/** @typedef {import("./chunks.js").Chunk} Chunk */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./head.js").Facts} Facts */
/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./networks_file.js").NetworksHead} NetworksHead */
/** @typedef {import("./octree.js").Box} Box */
/** @typedef {import("./parts.js").Part} Part */
/** @typedef {import("./regions.js").Region} Region */
/** @typedef {import("./sources.js").Source} Source */

const CACHE_BYTES = 2 ** 27; // Decoded boxes are kept up to so many bytes.
const MOST_PEEKED = 2 ** 17; // A larger first block, in bytes, is not read just to see whether it has gains.

/**
 * Read the payload of a chunk, and compare its CRC-32.
 * @param {Source} source
 * @param {Chunk} chunk
 */
async function readPayload(source, chunk) {
  return checked(chunk, await source.read(chunk.start, chunk.start + chunk.length));
}

const AT_ONCE = 8; // So many blocks are read at a time: a server is asked for all of them, and few fill the memory.

/**
 * Do some work for each of some items, a few at a time.
 * @template T
 * @param {T[]} items
 * @param {(item: T) => Promise<void>} work
 */
export async function forEach(items, work) {
  for (let at = 0; at < items.length; at += AT_ONCE) await Promise.all(items.slice(at, at + AT_ONCE).map(work));
}

/** A file of one tree of networks: one box. */
export class TreeContents {
  /** @type {"networks"} */
  kind = "networks";

  /**
   * @param {Source} source
   * @param {NetworksHead} head
   */
  constructor(source, head) {
    this.source = source;
    this.head = head;
    this.facts = head.facts;
    /** @type {number[]} */
    this.leading = [];
    this.volumes = 1;
    this.edge = 0;
    this.ancillary = head.table.filter((chunk) => chunk.kind >= 8);
    /** @type {Box[]} */
    this.boxes = [[0, 0, 0, ...head.facts.shape]];
    this.isCalibrated = head.calibration > 0;
    this.isLossless = false;
    /** @type {[number, number][] | null} RMSE and largest error of each head, and of all scalars */
    this.errors = null;
    /** @type {Promise<Part> | null} */
    this._part = null;
    /** @type {{bound: number, voxels: number} | null} */
    this.regionFacts = null;
  }

  /** @returns {Part | null} */
  atHand() {
    return null;
  }

  /** Read what is known of errors. */
  async prepare() {
    const chunk = this.ancillary.find((one) => one.kind === QUALITY);
    if (chunk) this.errors = networkErrors(this.head, await readPayload(this.source, chunk));
  }

  /** @returns {Promise<Part>} */
  part() {
    if (!this._part) {
      this._part = this._read();
      this._part.catch(() => {
        this._part = null; // so that it is read again: a server may have failed
      });
    }
    return this._part;
  }

  /** @returns {Promise<Part>} */
  async _read() {
    const { box, errors } = readNetworkBox(await this.source.read(0, this.source.size));
    return {
      values: (axes, calibrated) => box.values(axes, calibrated),
      floats: (axes, calibrated) => box.floats(axes, calibrated),
      ...{ bytes: 0, isCalibrated: this.isCalibrated, networks: box, errors, core: null, isConstant: false },
    };
  }

  /** @returns {Promise<Part | null>} */
  async overview() {
    return null;
  }

  /** @returns {Promise<Region[]>} */
  async regions() {
    return [];
  }

  /** @returns {Promise<null>} */
  async sketch() {
    return null;
  }

  /** Check all CRCs, and decode all weights. */
  async verify() {
    await this.part();
  }
}

/** A file of blocks. */
export class BlockContents {
  /** @type {"blocks"} */
  kind = "blocks";

  /**
   * @param {Source} source
   * @param {BlocksHead} head
   */
  constructor(source, head) {
    this.source = source;
    this.head = head;
    this.facts = head.facts;
    this.leading = head.leading;
    this.volumes = head.volumes;
    this.edge = head.edge;
    this.ancillary = head.ancillary;
    this.boxes = [...head.tree.leaves].map((leaf) => head.tree.box(leaf));
    this.isLossless = head.facts.errorBound === 0;
    /** Whether a filter, or gains and offsets of the first block or one that was decoded, change values. */
    this.isCalibrated = head.filter !== null;
    /** @type {Map<Chunk, number>} CRC-32 of the values of each residual */
    this._checksums = new Map();
    /** @type {Map<Chunk, [number, number]>} RMSE and largest error of each block of level 1 */
    this.errors = new Map();
    /** @type {LeastRecentlyUsed<{promise: Promise<Part>, part: Part | null}>} */
    this._parts = new LeastRecentlyUsed(CACHE_BYTES);
    /** @type {LeastRecentlyUsed<TypedArray>} */
    this._sketches = new LeastRecentlyUsed(CACHE_BYTES / 4);
    const { bound, voxels, places } = head.regions;
    /** @type {{bound: number, voxels: number} | null} */
    this.regionFacts = places.length ? { bound, voxels } : null;
    /** @type {LeastRecentlyUsed<Promise<Region>>} */
    this._regions = new LeastRecentlyUsed(CACHE_BYTES / 2);
  }

  /** Read checksums of values and errors; and whether a block has gains and offsets. */
  async prepare() {
    await Promise.all([this._readChecksums(), this._readErrors(), this._peek()]);
  }

  async _readChecksums() {
    const { verify, residuals } = this.head;
    if (!verify) return;
    const payload = await readPayload(this.source, verify);
    const checksums = new Uint32Array(payload.slice().buffer);
    for (const [at, chunk] of residuals.entries()) this._checksums.set(chunk, checksums[at]);
  }

  async _readErrors() {
    const quality = this.ancillary.find((chunk) => chunk.kind === QUALITY);
    if (!quality) return;
    const rounded = this.head.blocks.filter((chunk) => chunk.level === 1);
    const errors = readErrors(await readPayload(this.source, quality), rounded.length, this.facts);
    for (const [at, chunk] of rounded.entries()) this.errors.set(chunk, errors[at]);
  }

  async _peek() {
    const first = this.head.blocks.find((chunk) => chunk.level !== 1);
    if (!first || first.length > MOST_PEEKED) return;
    const payload = await this.source.read(first.start, first.start + first.length);
    this.isCalibrated ||= hasCalibration(payload, first.level);
  }

  /**
   * The chunk of a block.
   * @param {number} volume
   * @param {number} box number of its box
   */
  chunk(volume, box) {
    return this.head.blocks[volume * this.boxes.length + box];
  }

  /**
   * @param {number} volume
   * @param {number} box
   * @returns {Promise<Part>}
   */
  part(volume, box) {
    const [z0, y0, x0, z1, y1, x1] = this.boxes[box];
    return this._cached(this.chunk(volume, box), [z1 - z0, y1 - y0, x1 - x0]);
  }

  /**
   * @param {number} volume
   * @returns {Promise<Part | null>}
   */
  async overview(volume) {
    return this.edge ? this._cached(this.head.overviews[volume], this.overviewShape()) : null;
  }

  /** @returns {Triple} */
  overviewShape() {
    const [z, y, x] = this.facts.shape.map((n) => Math.ceil(n / this.edge));
    return [z, y, x];
  }

  /**
   * @param {Chunk} chunk
   * @param {Triple} shape
   */
  _cached(chunk, shape) {
    const key = String(chunk.start);
    const known = this._parts.get(key);
    if (known) return known.promise;
    /** @type {{promise: Promise<Part>, part: Part | null}} */
    const item = { promise: this._read(chunk, shape), part: null };
    // What it takes is known once it is read; until then it counts as its voxels.
    this._parts.put(key, item, shape[0] * shape[1] * shape[2] * this.facts.dtype.bytes);
    item.promise.then(
      (part) => {
        item.part = part;
        this.isCalibrated ||= part.isCalibrated;
        this._parts.put(key, item, part.bytes);
      },
      () => this._parts.drop(key), // so that it is read again: a server may have failed
    );
    return item.promise;
  }

  /**
   * A block that has been decoded, if it is kept.
   * @param {number} volume
   * @param {number} box
   */
  atHand(volume, box) {
    return this._parts.get(String(this.chunk(volume, box).start))?.part ?? null;
  }

  /**
   * @param {Chunk} chunk
   * @param {Triple} shape
   * @returns {Promise<Part>}
   */
  async _read(chunk, shape) {
    const payload = await readPayload(this.source, chunk);
    if (chunk.level !== 1) return networkPart(payload, chunk.level, shape, this.facts.dtype, this.head.ofNetworks);
    const filter = chunk.kind === BLOCK ? this.head.filter : null;
    return residualPart(payload, shape, this._checksums.get(chunk) ?? 0, filter, this.facts);
  }

  /**
   * About every 2^level-th voxel of a block without networks; null for one with networks, or that is decoded whole.
   * @param {number} volume
   * @param {number} box
   * @param {number} level
   * @returns {Promise<TypedArray | null>}
   */
  async sketch(volume, box, level) {
    const chunk = this.chunk(volume, box);
    if (chunk.level !== 1) return null;
    const key = `${chunk.start} ${level}`;
    const known = this._sketches.get(key);
    if (known) return known;
    const [z0, y0, x0, z1, y1, x1] = this.boxes[box];
    const payload = await readPayload(this.source, chunk);
    const values = sketchResidual(payload, [z1 - z0, y1 - y0, x1 - x0], this.facts.dtype, level);
    if (values) this._sketches.put(key, values, values.byteLength);
    return values;
  }

  /**
   * The regions of a volume that meet a box, in their order.
   * @param {number} volume
   * @param {Box} box
   * @returns {Promise<Region[]>}
   */
  regions(volume, box) {
    /** @type {Promise<Region>[]} */
    const met = [];
    for (const [at, place] of this.head.regions.places.entries()) {
      const isMet = [0, 1, 2].every((axis) => place.box[axis] < box[axis + 3] && place.box[axis + 3] > box[axis]);
      if (place.volume === volume && isMet) met.push(this._region(at));
    }
    return Promise.all(met);
  }

  /** @param {number} number */
  _region(number) {
    const known = this._regions.get(String(number));
    if (known) return known;
    const { box } = this.head.regions.places[number];
    const region = readPayload(this.source, this.head.regional[number]).then((payload) =>
      decodeRegion(payload, box, this.facts.dtype),
    );
    const voxels = (box[3] - box[0]) * (box[4] - box[1]) * (box[5] - box[2]);
    this._regions.put(String(number), region, voxels * (1 + this.facts.dtype.bytes));
    region.catch(() => this._regions.drop(String(number))); // so that it is read again: a server may have failed
    return region;
  }

  /** Check all CRCs, and decode everything. */
  async verify() {
    for (const chunk of this.head.ancillary) await readPayload(this.source, chunk);
    for (let volume = 0; volume < this.volumes; volume++) {
      for (let box = 0; box < this.boxes.length; box++) await this.part(volume, box);
      await this.overview(volume);
    }
    let voxels = 0;
    for (const number of this.head.regional.keys()) {
      const { mask } = await this._region(number);
      for (const one of mask) voxels += one;
    }
    const stated = this.head.regions.voxels;
    if (voxels !== stated) throw new TincError(`regions have ${voxels} voxels, expected ${stated}`);
  }
}
