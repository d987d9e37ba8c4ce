/** A file that was opened: what it says about its volumes, and their voxels. */

import { sampleCoarsely } from "./coarse.js";
import { forEach } from "./contents.js";
import { toNumbers, zeros } from "./dtypes.js";
import { TincError } from "./errors.js";
import { allLeavesOf, leavesOf } from "./leaves.js";
import { MAX_AT_ONCE } from "./limits.js";
import { voxelPoints } from "./network_box.js";
import { putRegion } from "./regions.js";
import { copyPart, sizeOf } from "./residual.js";

/** @typedef {import("./contents.js").BlockContents} BlockContents */
/** @typedef {import("./contents.js").TreeContents} TreeContents */
/** @typedef {import("./details.js").Details} Details */
/** @typedef {import("./dtypes.js").DtypeName} DtypeName */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./leaves.js").Leaf} Leaf */
/** @typedef {import("./metadata.js").Channels} Channels */
/** @typedef {import("./metadata.js").Meta} Meta */
/** @typedef {import("./octree.js").Box} Box */
/** @typedef {import("./sources.js").Source} Source */

export class TincFile {
  /**
   * @param {Source} source
   * @param {BlockContents | TreeContents} contents
   * @param {{meta: Meta, provenance: Record<string, unknown> | null, details: Details}} stated
   */
  constructor(source, contents, { meta, provenance, details }) {
    const { facts } = contents;
    this._contents = contents;
    /** Voxels along z, y, x. @type {Triple} */
    this.shape = facts.shape;
    /** Sizes of the axes before these. */
    this.leading = contents.leading;
    /** Letters of all axes. */
    this.axes = meta.axes;
    /** @type {DtypeName} */
    this.dtype = facts.dtype.name;
    this.lo = facts.lo;
    this.hi = facts.hi;
    this.spacing = facts.spacing;
    this.unit = facts.unit || null;
    this.origin = facts.origin;
    this.errorBound = facts.errorBound;
    this.kind = contents.kind;
    this.lossless = facts.errorBound === 0;
    this.labels = meta.isLabels;
    this.bool = meta.isBool;
    this.fill = meta.fill;
    this.channels = meta.channels;
    this.provenance = provenance;
    this.details = details;
    this.nbytes = source.size;
    this.volumes = contents.volumes;
    /** Voxels along a cell of the overviews, 0 for none. */
    this.overviewCell = contents.edge;
    /** How many voxels regions keep, and how well (0: bit for bit); null where there are none. */
    this.regions = contents.regionFacts;
  }

  /** Whether gains, offsets or a filter change values; of networks in blocks the first, and those decoded, are looked at. */
  get calibrated() {
    return this._contents.isCalibrated;
  }

  /**
   * Values of a box of voxels, in C order; f2 as Float32Array.
   * @param {number} volume
   * @param {Box} box
   * @param {{calibration?: boolean}} [options]
   * @returns {Promise<TypedArray>}
   */
  async decode(volume, box, { calibration = true } = {}) {
    this._checkBox(volume, box);
    const { facts, boxes } = this._contents;
    const size = sizeOf(box);
    const out = zeros(facts.dtype, size[0] * size[1] * size[2]);
    const met = boxes.flatMap((of, number) => {
      const both = /** @type {Box} */ (
        box.map((at, side) => (side < 3 ? Math.max(at, of[side]) : Math.min(at, of[side])))
      );
      return sizeOf(both).every((n) => n > 0) ? [{ number, of, both }] : [];
    });
    await forEach(met, async ({ number, of, both }) => {
      const part = await this._contents.part(volume, number);
      const local = /** @type {Box} */ (both.map((at, side) => at - of[side % 3]));
      const values = await part.values(voxelPoints(local), calibration);
      copyPart(out, size, values, /** @type {Box} */ (both.map((at, side) => at - box[side % 3])), true);
    });
    for (const region of await this._contents.regions(volume, box)) putRegion(region, out, box, facts.dtype);
    return toNumbers(facts.dtype, out);
  }

  /**
   * @param {number} volume
   * @param {Box} box
   * @param {number} [factor]  voxels along a cell of which one value is wanted
   */
  _checkBox(volume, box, factor = 1) {
    const size = sizeOf(box);
    const isInside = size.every((n, axis) => n > 0 && box[axis] >= 0 && box[axis + 3] <= this.shape[axis]);
    if (!(volume >= 0 && volume < this.volumes && isInside && box.every(Number.isInteger))) {
      throw new RangeError(`box ${box} of volume ${volume} is outside ${this.volumes} volumes of ${this.shape}`);
    }
    const count = size.reduce((product, n) => product * Math.ceil(n / factor), 1);
    if (count > MAX_AT_ONCE)
      throw new TincError(`${count} values are asked for at once, expected at most ${MAX_AT_ONCE}`);
  }

  /**
   * A coarse sampling: values in the middle of cells of `factor` voxels, of the overview where it is fine enough; of
   * blocks without networks those of voxels near by. Damage may not be noticed.
   * @param {number} volume
   * @param {number} factor
   * @param {Box} [box] in voxels; the cells that it meets are sampled
   * @returns {Promise<{shape: Triple, values: Float32Array}>}
   */
  async coarse(volume, factor, box = [0, 0, 0, ...this.shape]) {
    this._checkBox(volume, box, factor);
    return sampleCoarsely(this._contents, volume, factor, box);
  }

  /**
   * The leaves of a volume, as far as they are known without reading more: a block with networks that was not decoded is
   * one leaf.
   * @param {number} volume
   * @returns {Leaf[]}
   */
  leaves(volume) {
    return leavesOf(this._contents, volume);
  }

  /**
   * All leaves of a volume, for which blocks with networks are read.
   * @param {number} volume
   * @returns {Promise<Leaf[]>}
   */
  async allLeaves(volume) {
    return allLeavesOf(this._contents, volume);
  }

  /** Check all checksums, and decode everything. Throws TincError if anything is damaged. */
  async verify() {
    await this._contents.verify();
  }
}
