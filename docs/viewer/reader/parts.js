/** The boxes of which a volume consists: their payloads, read and checked when they are first needed. */

import { bytesOfBackground, partLeft, readBackground } from "./background.js";
import { LeastRecentlyUsed } from "./cache.js";
import { crc32, hex } from "./checksums.js";
import { checked, QUALITY } from "./chunks.js";
import { bytesOf, zeros } from "./dtypes.js";
import { checkRange, require, TincError } from "./errors.js";
import { applyFilter } from "./filter.js";
import { headOf } from "./head.js";
import { NetworkBox } from "./network_box.js";
import { readNetworksHead } from "./networks_file.js";
import { copyPart, decodeResidual, isRounded, merged, putShown, sizeOf } from "./residual.js";
import { readWeights } from "./weights.js";

/** @typedef {import("./dtypes.js").Dtype} Dtype */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./filter.js").Filter} Filter */
/** @typedef {import("./head.js").Facts} Facts */
/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./networks_file.js").NetworksHead} NetworksHead */
/** @typedef {import("./octree.js").Box} Box */
/** @typedef {import("./path.js").Axes} Axes */

const PLANE_BYTES = 2 ** 26; // Planes of lattices are kept for the next slices, up to so many bytes.
const WEIGHT_BYTES = 16; // Of a weight as it is read, and of its copies that networks are evaluated with.
const NODE_BYTES = 300; // Of a node without its weights: places in arrays, and objects.

/** @type {LeastRecentlyUsed<Float64Array>} */
export const PLANES = new LeastRecentlyUsed(PLANE_BYTES);
let names = 0;

/**
 * The networks of a file of one tree.
 * @param {Uint8Array} bytes of the whole file
 */
export function readNetworkBox(bytes) {
  const { features, head } = headOf(bytes);
  const parsed = readNetworksHead(features, head, bytes.length);
  const payloads = parsed.table.map((chunk) => checked(chunk, bytes.subarray(chunk.start, chunk.start + chunk.length)));
  const weights = readWeights(parsed, payloads);
  const at = parsed.table.findIndex((chunk) => chunk.kind === QUALITY);
  const errors = at < 0 ? null : networkErrors(parsed, payloads[at]);
  return { box: new NetworkBox(parsed, weights, `box ${names++}`, PLANES), errors, features };
}

/**
 * Whether the networks of a block have gains and offsets. Damage is no matter here: it is reported when it is decoded.
 * @param {Uint8Array} payload
 * @param {number} level
 */
export function hasCalibration(payload, level) {
  try {
    const bytes = level ? payload.subarray(bytesOfBackground(payload)) : payload;
    const { features, head } = headOf(bytes);
    return readNetworksHead(features, head, bytes.length).calibration > 0;
  } catch (error) {
    if (error instanceof TincError) return false;
    throw error;
  }
}

/**
 * RMSE and largest error of the parts of a tree: each head, and all scalars.
 * @param {NetworksHead} head
 * @param {Uint8Array} payload
 */
export function networkErrors(head, payload) {
  const heads = head.hasHead.reduce((sum, one) => sum + one, 0);
  const hasScalars = head.tree.leaves.some((leaf) => head.giver[leaf] < 0);
  return readErrors(payload, heads + +hasScalars, head.facts);
}

/**
 * RMSE and largest error of parts.
 * @param {Uint8Array} payload
 * @param {number} parts
 * @param {Facts} facts
 * @returns {[number, number][]}
 */
export function readErrors(payload, parts, { lo, hi }) {
  checkRange("length of QUALITY", payload.length, 2 * parts, 2 * parts);
  const range = Math.min(hi - lo, Number.MAX_VALUE);
  /** @param {number} code */
  const error = (code) => (code ? range * 2 ** ((code - 255) / 12) : 0);
  return Array.from({ length: parts }, (_, at) => [error(payload[2 * at]), error(payload[2 * at + 1])]);
}

/**
 * A box of voxels, decoded from its payload.
 * @typedef {object} Part
 * @property {(axes: Axes, isCalibrated: boolean) => Promise<TypedArray>} values at a grid of points counted from its corner
 * @property {(axes: Axes, isCalibrated: boolean) => Float32Array | null} floats at a grid of points; null where values say all
 * @property {number} bytes that it takes in memory
 * @property {boolean} isCalibrated whether gains, offsets or a filter change its values
 * @property {NetworkBox | null} networks
 * @property {[number, number][] | null} errors of its parts, if it has networks
 * @property {Box | null} core the part of the box that its networks are of
 * @property {boolean} isConstant whether all voxels are one value
 */

/**
 * A box of networks, maybe behind a background (level 0 and 2).
 * @param {Uint8Array} payload
 * @param {number} level
 * @param {Triple} shape
 * @param {Dtype} dtype
 * @param {number} allowed features that it may need
 * @returns {Part}
 */
export function networkPart(payload, level, shape, dtype, allowed) {
  const background = level ? readBackground(payload, shape, dtype) : null;
  /** @type {Box} */
  const core = background ? partLeft(background, shape, false) : [0, 0, 0, ...shape];
  const { box, errors, features } = readNetworkBox(background ? background.rest : payload);
  const { facts, calibration } = box.head;
  const size = sizeOf(core);
  const isSame = facts.dtype === dtype && size.every((n, axis) => n === facts.shape[axis]);
  const found = `${facts.shape.join(" x ")} of ${facts.dtype.name}`;
  require(isSame, `a block is ${found}, expected ${size.join(" x ")} of ${dtype.name}`);
  require(!(features & ~allowed), `a block needs the features ${features}, expected the file to say so`);
  let weights = 0;
  for (const node of box.weights.nodes) for (const one of Object.values(node)) weights += one.length;
  const bytes =
    payload.length +
    WEIGHT_BYTES * weights +
    NODE_BYTES * box.weights.nodes.length +
    (background ? background.values.byteLength + background.hidden.length : 0);
  const isCalibrated = calibration > 0;
  if (!background) {
    return {
      values: (axes, calibrated) => box.values(axes, calibrated),
      floats: (axes, calibrated) => box.floats(axes, calibrated),
      ...{ bytes, isCalibrated, networks: box, errors, core: null, isConstant: false },
    };
  }
  const { values, hidden } = background;
  return {
    values: async (axes, calibrated) => {
      const out = picked(values, shape, dtype, axes);
      const mask = picked(hidden, shape, null, axes);
      const inside = axes.map((axis, at) =>
        axis.filter((p) => p >= core[at] && p < core[at + 3]).map((p) => p - core[at]),
      );
      if (inside.some((axis) => !axis.length)) return out;
      const grid = /** @type {Triple} */ (axes.map((axis) => axis.length));
      const first = axes.map((axis, at) => axis.findIndex((p) => p >= core[at]));
      const part = /** @type {Box} */ ([...first, ...first.map((at, axis) => at + inside[axis].length)]);
      const n = inside.reduce((product, axis) => product * axis.length, 1);
      const ownMask = new Uint8Array(n);
      copyPart(mask, grid, ownMask, part, false);
      const networks = await box.values(/** @type {Axes} */ (inside), calibrated);
      putShown(out, grid, networks, part, dtype, ownMask);
      return out;
    },
    floats: () => null,
    ...{ bytes, isCalibrated, networks: box, errors, core, isConstant: false },
  };
}

/**
 * A box without networks (level 1).
 * @param {Uint8Array} payload
 * @param {Triple} shape
 * @param {number} crc CRC-32 of its values
 * @param {Filter | null} filter null for overviews, too
 * @param {Facts} facts of the file
 * @returns {Part}
 */
export function residualPart(payload, shape, crc, filter, facts) {
  const { dtype } = facts;
  const values = decodeResidual(payload, shape, dtype);
  const computed = crc32(bytesOf(values));
  require(computed === crc, `values decode to the CRC-32 ${hex(computed)}, expected ${hex(crc)}`);
  const isCalibrated = filter !== null && isRounded(payload);
  const filtered = filter && isCalibrated ? filteredValues(payload, values, shape, filter, facts) : values;
  return {
    values: async (axes, calibrated) => picked(calibrated ? filtered : values, shape, dtype, axes),
    floats: () => null,
    bytes: values.byteLength * (isCalibrated ? 2 : 1),
    ...{ isCalibrated, networks: null, errors: null, core: null, isConstant: payload[0] === 0 },
  };
}

/**
 * @param {Uint8Array} payload
 * @param {TypedArray} values
 * @param {Triple} shape
 * @param {Filter} filter
 * @param {Facts} facts
 */
function filteredValues(payload, values, shape, filter, facts) {
  const filtered = applyFilter(filter, values, shape, facts);
  if (payload[0] !== 6 || filtered === values) return filtered;
  const { hidden } = readBackground(payload, shape, facts.dtype);
  return merged(filtered, values, facts.dtype, (voxel) => !hidden[voxel]);
}

/**
 * Values at the voxels that points lie in.
 * @param {TypedArray} values
 * @param {Triple} shape
 * @param {Dtype | null} dtype null for a mask
 * @param {Axes} axes
 * @returns {TypedArray}
 */
export function picked(values, shape, dtype, axes) {
  const [zs, ys, xs] = axes.map((axis) => Int32Array.from(axis, Math.floor));
  const [ny, nx] = [ys.length, xs.length];
  const size = zs.length * ny * nx;
  const out = dtype ? zeros(dtype, size) : new Uint8Array(size);
  const isRun = xs[nx - 1] - xs[0] === nx - 1;
  // Numbers of f4 and f8 would lose the bits of a NaN, so single ones are copied as words.
  const words = dtype && dtype.bytes >= 4 ? dtype.bytes / 4 : 0;
  const [from, into] = words
    ? [new Uint32Array(values.buffer, values.byteOffset, values.length * words), new Uint32Array(out.buffer)]
    : [values, out];
  const each = words || 1;
  let at = 0;
  for (const z of zs) {
    for (const y of ys) {
      const row = (z * shape[1] + y) * shape[2];
      if (isRun) out.set(values.subarray(row + xs[0], row + xs[0] + nx), at);
      else {
        for (let x = 0; x < nx; x++) {
          for (let word = 0; word < each; word++) into[(at + x) * each + word] = from[(row + xs[x]) * each + word];
        }
      }
      at += nx;
    }
  }
  return out;
}
