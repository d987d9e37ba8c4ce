/** Limits of what a reader accepts (format.md, *What a reader checks*): what is beyond is refused. */

import { checkRange } from "./errors.js";

export const MIN_FILE = 16; // Smaller files, in bytes, are refused: a prefix alone takes this many.
export const MAX_FILE = 2 ** 31; // Larger files, in bytes, are refused.
export const MAX_HEAD = 2 ** 20; // A longer HEAD, in bytes, is refused.
export const MAX_AXIS = 2 ** 24; // Longer axes are refused.
export const MAX_VOXELS = 2 ** 40; // Volumes of more voxels are refused.
export const MIN_SPACING = 1e-12; // Smaller voxels, in the unit of the file, are refused.
export const MAX_SPACING = 1e12; // Larger voxels, in the unit of the file, are refused.
export const MAX_UNIT = 32; // Longer names of a unit, in bytes, are refused.
export const MAX_UV = 2 ** 49 - 1; // No uv is larger.
export const MAX_CHUNKS = 2 ** 16; // Tables of more chunks are refused.
export const MAX_CHUNK_NODES = 2 ** 20; // Larger counts of nodes are refused.
export const MAX_META = 2 ** 16; // A longer META, in bytes, is refused.
export const MAX_PROVENANCE = 2 ** 20; // A longer PROVENANCE, in bytes, is not read: nothing needs it.
export const MAX_DETAILS = 2 ** 16; // A longer DETAILS, in bytes, is refused.
export const MAX_FILTER = 2 ** 12; // A longer filter, in bytes, is refused.
export const MAX_REGION = 2 ** 24; // Larger boxes of a region, in voxels, are refused.
export const MAX_LEADING = 3; // More axes before z, y, x are refused.
export const MAX_EDGE = 2 ** 16; // Larger cells of an overview are refused.
export const MAX_LAYERS = 8; // Networks of more sine layers are refused.
export const MAX_WIDTH = 256; // Wider networks are refused.
export const MAX_DEPTH = 12; // Deeper trees are refused.
export const MAX_TREE = 2 ** 16; // Trees of networks of more nodes are refused.
export const MAX_BLOCK_TREE = 2 ** 17; // Trees of blocks of more nodes are refused.
export const MAX_GROUPS = 256; // Trees of more groups of networks are refused.
export const SPARE_CHUNKS = 64; // A file of one tree may have this many chunks,
export const LEAST_CHUNK = 128; // and one more for this many bytes.
export const MAX_WEIGHTS = 2 ** 26; // Files of more weights are refused.
export const MAX_WEIGHTS_PER_BYTE = 64; // A file may declare this many weights for each of its bytes,
export const SPARE_WEIGHTS = 4096; // and this many more.
export const MAX_PIECES = 2 ** 18; // Files whose chunks times tensors are more are refused.
export const TABLE_ITEMS = 2 ** 22; // All tables of tensors may have this many items together,
export const TABLE_ITEMS_PER_BYTE = 64; // and this many more for each byte of the payloads.
export const MAX_WEIGHT = 2 ** 20; // Larger weights, gains and offsets are refused.
export const MAX_LARGEST = 2 ** 15 - 1; // Larger integers of a tensor are refused.
export const MAX_AT_ONCE = 2 ** 30; // More voxels are not decoded at once.
export const MAX_HIGH = 2 ** 36; // Residuals of larger integers are refused.
export const MAX_BOX_EDGE = 2 ** 12; // Residuals of longer boxes, in voxels, are refused.
export const MAX_BOX = 2 ** 22; // Residuals of larger boxes, in voxels, are refused.
export const MAX_BACKGROUND_BOX = 2 ** 23; // Larger boxes with a background, in voxels, are refused.

/**
 * @param {readonly number[]} shape
 * @param {number} most voxels
 */
export function checkBox(shape, most) {
  for (const n of shape) checkRange("axis of a box", n, 1, MAX_BOX_EDGE);
  checkRange("voxels of a box", shape[0] * shape[1] * shape[2], 1, most);
}
