/** REGION payloads: voxels that a file keeps better than its blocks do. */

import { crc32, hex } from "./checksums.js";
import { Cursor } from "./cursor.js";
import { bytesOf, U1 } from "./dtypes.js";
import { require } from "./errors.js";
import { decodeResidual, sizeOf } from "./residual.js";

/** @typedef {import("./dtypes.js").Dtype} Dtype */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./octree.js").Box} Box */

/**
 * A region.
 * @typedef {object} Region
 * @property {Box} box
 * @property {TypedArray} mask 1 where its values hold, else 0
 * @property {TypedArray} values of the box
 */

/**
 * @param {Uint8Array} payload
 * @param {Box} box
 * @param {Dtype} dtype
 * @returns {Region}
 */
export function decodeRegion(payload, box, dtype) {
  const cursor = new Cursor(payload, "REGION chunk");
  const crc = cursor.u32("CRC-32 of the values");
  const maskBytes = cursor.take("mask", cursor.u32("length of the mask"));
  const mask = decodeResidual(maskBytes, sizeOf(box), U1);
  const values = decodeResidual(cursor.rest(), sizeOf(box), dtype);
  let inside = 0;
  for (const one of mask) {
    require(one < 2, `mask of a region has the value ${one}, expected 0 and 1`);
    inside += one;
  }
  require(inside, "mask of a region is 0 everywhere, expected a voxel that is 1");
  const bytes = bytesOf(values);
  const kept = new Uint8Array(inside * dtype.bytes);
  let at = 0;
  for (let voxel = 0; voxel < mask.length; voxel++) {
    if (!mask[voxel]) continue;
    for (let byte = 0; byte < dtype.bytes; byte++) kept[at++] = bytes[voxel * dtype.bytes + byte];
  }
  const computed = crc32(kept);
  require(computed === crc, `values of a region decode to the CRC-32 ${hex(computed)}, expected ${hex(crc)}`);
  return { box, mask, values };
}

/**
 * Put the values of a region over those of a box.
 * @param {Region} region
 * @param {TypedArray} out values of the box
 * @param {Box} box
 * @param {Dtype} dtype
 */
export function putRegion(region, out, box, dtype) {
  const [, ny, nx] = sizeOf(box);
  const [, ry, rx] = sizeOf(region.box);
  const words = dtype.bytes >= 4 ? dtype.bytes / 4 : 0;
  const [from, into] = words ? [region.values, out].map((one) => new Uint32Array(one.buffer)) : [region.values, out];
  const each = words || 1;
  const first = [0, 1, 2].map((axis) => Math.max(box[axis], region.box[axis]));
  const end = [3, 4, 5].map((axis) => Math.min(box[axis], region.box[axis]));
  for (let z = first[0]; z < end[0]; z++) {
    for (let y = first[1]; y < end[1]; y++) {
      for (let x = first[2]; x < end[2]; x++) {
        const place = ((z - region.box[0]) * ry + y - region.box[1]) * rx + x - region.box[2];
        if (!region.mask[place]) continue;
        const at = ((z - box[0]) * ny + y - box[1]) * nx + x - box[2];
        for (let word = 0; word < each; word++) into[at * each + word] = from[place * each + word];
      }
    }
  }
}
