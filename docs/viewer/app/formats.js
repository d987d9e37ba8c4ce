/** Opens a file of any kind that the page reads, and tells what the page has to know. Runs in a worker. */

import { open, TincError } from "../reader/open.js";
import { LEAF_COLUMNS, LEAF_KINDS } from "./leaves.js";
import { openNpy } from "./npy.js";
import { openTiff } from "./tiff.js";

/**
 * @typedef {import('./array-file.js').Source} Source
 * @typedef {import('./words.js').Meta} Meta
 * @typedef {Awaited<ReturnType<typeof open>>} TincFile
 * @typedef {TincFile | import('./array-file.js').ArrayFile} AnyFile
 */

/**
 * Voxels of a typical leaf that is decoded as a whole; 0 where single voxels can be.
 * @param {TincFile} file
 */
function wholeVoxels(file) {
  const leaves = file.leaves(0);
  const sizes = leaves.filter((leaf) => leaf.kind === "bounded" || leaf.kind === "lossless");
  const voxels = sizes.map(({ box }) => (box[3] - box[0]) * (box[4] - box[1]) * (box[5] - box[2]));
  return 2 * sizes.length < leaves.length ? 0 : Math.max(0, ...voxels.slice(0, 1000));
}

/**
 * Facts of a .tinc file as plain data.
 * @param {TincFile} file
 * @returns {Meta & { whole: number, networks: boolean }}
 */
function describeTinc(file) {
  const { shape, leading, axes, dtype, nbytes, volumes, lo, hi, spacing, unit, errorBound, kind, lossless } = file;
  const { labels, bool, fill, overviewCell, regions, channels, provenance, details } = file;
  const whole = wholeVoxels(file);
  const calibrated = file.calibrated || (kind === "blocks" && whole === 0); // Blocks of networks are not read yet.
  return {
    flavour: "tinc",
    shape,
    leading,
    axes,
    dtype,
    nbytes,
    volumes,
    lo,
    hi,
    spacing,
    unit,
    errorBound,
    kind,
    lossless,
    labels,
    bool,
    fill,
    calibrated,
    overviewCell,
    regions,
    channels,
    provenance,
    details,
    whole,
    networks: whole === 0,
  };
}

/** How files that people mistake for one of ours begin. @type {[string, string][]} */
const OTHERS = [
  ["\x1f\x8b", "a gzipped file"],
  ["PK", "a ZIP archive"],
  ["\x89PNG", "a PNG picture"],
  ["\xff\xd8", "a JPEG picture"],
  ["<", "a web page"],
  ["\x89HDF", "an HDF5 file"],
  ["\x5c\x01\0\0", "a NIfTI volume"],
];

/**
 * Open a file by its first bytes.
 * @param {Source[]} sources  one, or the slices of a TIFF stack
 * @returns {Promise<{ file: AnyFile, meta: Meta & { whole: number, networks: boolean } }>}
 */
export async function openAny(sources) {
  const [source] = sources;
  if (source.size < 16) throw new TincError(`the file has ${source.size} bytes; expected at least 16`);
  const head = await source.read(0, 8);
  const start = String.fromCharCode(...head);
  const tiff = /^(II[*+]\0|MM\0[*+])/.test(start);
  if (sources.length > 1 && !tiff)
    throw new TincError(
      "these files do not belong together; expected one, two .tinc files, one and its original, or TIFF slices",
    );
  if (tiff || start.startsWith("\x93NUMPY")) {
    const file = tiff ? await openTiff(sources) : await openNpy(source);
    return { file, meta: { ...file.describe(), whole: 0, networks: false } };
  }
  if (!start.startsWith("\x89TNC")) {
    const [, like] = OTHERS.find(([begin]) => start.startsWith(begin)) ?? ["", ""];
    throw new TincError(`it is no .tinc, .npy or TIFF file${like && `, but begins as ${like} does`}`);
  }
  const file = await open(source);
  return { file, meta: describeTinc(file) };
}

/**
 * Leaves of a volume as numbers.
 * @param {AnyFile} file
 * @param {number} volume
 * @param {boolean} all  also those inside of blocks that are not read yet
 */
export async function packLeaves(file, volume, all) {
  if (!("leaves" in file)) return new Float64Array(0);
  const leaves = all ? await file.allLeaves(volume) : file.leaves(volume);
  const packed = new Float64Array(leaves.length * LEAF_COLUMNS);
  leaves.forEach((leaf, i) => {
    const { box, level, kind, bytes, rmse, maxError } = leaf;
    packed.set(
      [...box, level, LEAF_KINDS.indexOf(kind), bytes ?? Number.NaN, rmse ?? Number.NaN, maxError ?? Number.NaN],
      i * LEAF_COLUMNS,
    );
  });
  return packed;
}
