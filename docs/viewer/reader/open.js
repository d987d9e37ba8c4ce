/** Opens a .tinc file: reads prefix, head and small chunks only; voxels are decoded when they are asked for. */

import { readBlocksHead } from "./blocks_file.js";
import { checked, DETAILS, META, PROVENANCE } from "./chunks.js";
import { BlockContents, TreeContents } from "./contents.js";
import { detailsOfHead, readDetails } from "./details.js";
import { TincError } from "./errors.js";
import { BLOCKS, checkHead, checkSize, PREFIX, readPrefix } from "./head.js";
import { MAX_PROVENANCE } from "./limits.js";
import { readJson, readMeta } from "./metadata.js";
import { readNetworksHead } from "./networks_file.js";
import { bytesSource } from "./sources.js";
import { TincFile } from "./tinc_file.js";

export { TincError } from "./errors.js";
export { TincFile } from "./tinc_file.js";

/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./sources.js").Source} Source */

/**
 * Open a file. Throws TincError for a file that is not as the format demands.
 * @param {Source} source
 * @returns {Promise<TincFile>}
 */
export async function open(source) {
  const { size } = source;
  checkSize(size);
  const prefix = readPrefix(await source.read(0, PREFIX), size);
  const head = await source.read(PREFIX, PREFIX + prefix.length);
  const features = checkHead(head, prefix);
  const contents =
    features & BLOCKS
      ? new BlockContents(source, readBlocksHead(features, head, size))
      : new TreeContents(source, readNetworksHead(features, head, size));
  const { facts, ancillary } = contents;
  /** @param {number} kind @param {string} name */
  const json = async (kind, name) => {
    const chunk = ancillary.find((one) => one.kind === kind);
    if (!chunk || chunk.length > MAX_PROVENANCE) return null;
    return readJson(checked(chunk, await source.read(chunk.start, chunk.start + chunk.length)), name);
  };
  const meta = readMeta((await json(META, "META")) ?? {}, contents.leading, facts.dtype);
  const provenance = await json(PROVENANCE, "PROVENANCE");
  const place = ancillary.find((chunk) => chunk.kind === DETAILS && chunk.level === 0);
  const details = place
    ? readDetails(checked(place, await source.read(place.start, place.start + place.length)), facts)
    : detailsOfHead(facts);
  await contents.prepare();
  return new TincFile(source, contents, { meta, provenance, details });
}

/**
 * All values of a file, leading axes included.
 * @param {Uint8Array} bytes
 * @returns {Promise<{shape: number[], dtype: string, values: TypedArray}>}
 */
export async function decodeAll(bytes) {
  const file = await open(bytesSource(bytes));
  if (file.volumes * file.shape[0] * file.shape[1] * file.shape[2] > 2 ** 30) {
    throw new TincError(`file has ${file.volumes} volumes of ${file.shape.join(" x ")} voxels, expected at most 2^30`);
  }
  const each = [];
  for (let volume = 0; volume < file.volumes; volume++) each.push(await file.decode(volume, [0, 0, 0, ...file.shape]));
  const shape = [...file.leading, ...file.shape];
  if (each.length === 1) return { shape, dtype: file.dtype, values: each[0] };
  const size = each[0].length;
  const values = /** @type {TypedArray} */ (new /** @type {any} */ (each[0].constructor)(size * each.length));
  for (const [at, one] of each.entries()) values.set(one, at * size);
  return { shape, dtype: file.dtype, values };
}
