/** Who evaluates networks: a GPU if the browser has one that computes the same as the processor, else the processor. */

import { Gpu, GpuError, isFit, MOST_PRODUCTS, productsOf } from "./gpu.js";

/** @typedef {import("./gpu.js").Piece & { tolerance: number }} Piece  outputs may be off by so much */

const LEAST_POINTS = 2 ** 12; // Fewer points, of a piece, are no work for a GPU.
const SURELY_CHECKED = 64; // So many pieces that a GPU does first are compared with the processor's, at their corners;
const CHECKED = 32; // later one of so many.

/** The GPU of this thread. Its arithmetic is checked again and again; it is given up for good once that is wrong. */
const found = {
  choice: "off",
  opening: /** @type {Promise<void> | null} */ (null),
  gpu: /** @type {Gpu | null} */ (null),
  pieces: 0,
  trouble: "",
};

/**
 * Say which GPU may be used. It is looked for when networks are first evaluated; until it is there, the processor does all.
 * @param {string} choice "off" for none, "any" for any and for all pieces, also for one that a program imitates
 */
export function allowGpu(choice) {
  Object.assign(found, { choice, opening: null, gpu: null });
}

/** Look for a GPU. @returns {Promise<void>} */
export async function findGpu() {
  try {
    found.gpu = found.choice === "off" ? null : await Gpu.open(found.choice === "any");
  } catch (error) {
    giveUp(error);
  }
}

/** @param {unknown} error */
function giveUp(error) {
  found.gpu = null;
  found.trouble = error instanceof Error ? error.message : String(error);
}

/** Whether there is a GPU, how many pieces it did, and why it was given up. */
export const gpuFacts = () => ({ inUse: found.gpu !== null, pieces: found.pieces, trouble: found.trouble });

/** Whether pieces should be small, and several at a time. */
export const hasGpu = () => found.gpu !== null;

/**
 * Outputs of heads at grids of points, before gain and offset.
 * @param {Piece[]} pieces
 * @returns {Promise<ArrayLike<number>[]>}
 */
export async function outputsOf(pieces) {
  /** @type {Map<Piece, Float32Array>} */
  const known = new Map();
  found.opening ??= findGpu();
  const { gpu } = found;
  const fit = gpu ? pieces.filter((piece) => isLarge(piece) && isFit(piece)) : [];
  if (gpu && fit.length) {
    try {
      for (const some of inParts(fit)) {
        for (const [at, outputs] of (await gpu.outputs(some)).entries()) {
          found.pieces++;
          if (found.pieces <= SURELY_CHECKED || found.pieces % CHECKED === 0) check(some[at], outputs);
          known.set(some[at], outputs);
        }
      }
    } catch (error) {
      if (!(error instanceof GpuError)) throw error;
      giveUp(error);
      known.clear();
    }
  }
  return pieces.map((piece) => known.get(piece) ?? piece.path.outputs(piece.axes));
}

/**
 * Pieces in parts that a GPU does at once.
 * @param {Piece[]} pieces
 */
function* inParts(pieces) {
  /** @type {Piece[]} */
  let part = [];
  let products = 0;
  for (const piece of pieces) {
    products += productsOf(piece);
    if (part.length && products > MOST_PRODUCTS) {
      yield part;
      [part, products] = [[], productsOf(piece)];
    }
    part.push(piece);
  }
  yield part;
}

/** @param {Piece} piece */
const isLarge = ({ axes }) =>
  found.choice === "any" || axes[0].length * axes[1].length * axes[2].length >= LEAST_POINTS;

/**
 * Compare what a GPU found at the corners of a piece with what the processor finds there.
 * @param {Piece} piece
 * @param {Float32Array} outputs
 * @throws {GpuError} where they differ by more than the tolerance
 */
function check({ path, axes, tolerance }, outputs) {
  const ends = axes.map((axis) => (axis.length > 1 ? [0, axis.length - 1] : [0]));
  const corners = /** @type {import("./path.js").Axes} */ (
    axes.map((axis, at) => Float64Array.from(ends[at], (place) => axis[place]))
  );
  const wanted = path.outputs(corners);
  let at = 0;
  for (const z of ends[0]) {
    for (const y of ends[1]) {
      for (const x of ends[2]) {
        const one = outputs[(z * axes[1].length + y) * axes[2].length + x];
        const off = Math.abs(one - wanted[at++]);
        if (!(off <= tolerance)) throw new GpuError(`outputs are off by ${off}, expected at most ${tolerance}`);
      }
    }
  }
}
