/** Coarse samplings of a volume: what is seen first. */

import { forEach } from "./contents.js";
import { toNumbers } from "./dtypes.js";
import { gridOf } from "./neighbours.js";
import { placeIn } from "./network_box.js";
import { picked } from "./parts.js";
import { sizeOf } from "./residual.js";

/** @typedef {import("./contents.js").BlockContents} BlockContents */
/** @typedef {import("./contents.js").TreeContents} TreeContents */
/** @typedef {import("./dtypes.js").TypedArray} TypedArray */
/** @typedef {import("./head.js").Triple} Triple */
/** @typedef {import("./octree.js").Box} Box */
/** @typedef {import("./parts.js").Part} Part */
/** @typedef {import("./path.js").Axes} Axes */

/**
 * @param {BlockContents | TreeContents} contents
 * @param {number} volume
 * @param {number} factor voxels along a cell
 * @param {Box} box
 * @returns {Promise<{shape: Triple, values: Float32Array}>}
 */
export async function sampleCoarsely(contents, volume, factor, box) {
  const { facts, boxes, edge } = contents;
  const axes = /** @type {Axes} */ (
    facts.shape.map((n, axis) => {
      const first = Math.floor(box[axis] / factor);
      const count = Math.ceil(box[axis + 3] / factor) - first;
      return Float64Array.from({ length: count }, (_, at) => Math.min((first + at + 0.5) * factor, n - 0.5));
    })
  );
  /** @type {Triple} */
  const shape = [axes[0].length, axes[1].length, axes[2].length];
  const overview = edge && factor >= edge ? await contents.overview(volume) : null;
  if (overview) {
    const scaled = /** @type {Axes} */ (axes.map((axis) => axis.map((point) => point / edge)));
    return { shape, values: await floatsOf(overview, scaled, contents) };
  }
  const values = new Float32Array(shape[0] * shape[1] * shape[2]);
  const met = boxes.flatMap((of, number) => {
    const ends = axes.map((axis, at) => [placeIn(axis, of[at]), placeIn(axis, of[at + 3])]);
    return ends.every(([first, end]) => first < end) ? [{ number, of, ends }] : [];
  });
  await forEach(met, async ({ number, of, ends }) => {
    const local = /** @type {Axes} */ (
      axes.map((axis, at) => axis.subarray(...ends[at]).map((point) => point - of[at]))
    );
    copyRows(await sampleBlock(contents, volume, number, factor, local), local, values, shape, ends);
  });
  for (const region of await contents.regions(volume, box)) {
    const ends = axes.map((axis, at) => [placeIn(axis, region.box[at]), placeIn(axis, region.box[at + 3])]);
    if (ends.some(([first, end]) => first >= end)) continue;
    const local = /** @type {Axes} */ (
      axes.map((axis, at) => axis.subarray(...ends[at]).map((point) => point - region.box[at]))
    );
    const mask = picked(region.mask, sizeOf(region.box), null, local);
    const inside = toNumbers(facts.dtype, picked(region.values, sizeOf(region.box), facts.dtype, local));
    copyRows(inside, local, values, shape, ends, mask);
  }
  return { shape, values };
}

/**
 * @param {BlockContents | TreeContents} contents
 * @param {number} volume
 * @param {number} number of the block
 * @param {number} factor
 * @param {Axes} local points, counted from its corner
 * @returns {Promise<ArrayLike<number>>}
 */
async function sampleBlock(contents, volume, number, factor, local) {
  const level = Math.floor(Math.log2(factor));
  const ready = contents.atHand(volume, number);
  const sketch = ready || !level ? null : await contents.sketch(volume, number, level);
  if (!sketch) return floatsOf(ready ?? (await contents.part(volume, number)), local, contents);
  const { dtype } = contents.facts;
  const grid = gridOf(sizeOf(contents.boxes[number]), level);
  const scaled = /** @type {Axes} */ (local.map((axis) => axis.map((point) => point / 2 ** level)));
  return toNumbers(dtype, picked(sketch, grid, dtype, scaled));
}

/**
 * @param {Part} part
 * @param {Axes} axes
 * @param {BlockContents | TreeContents} contents
 */
async function floatsOf(part, axes, { facts }) {
  return part.floats(axes, true) ?? Float32Array.from(toNumbers(facts.dtype, await part.values(axes, true)));
}

/**
 * Copy values of a part of a grid to their places.
 * @param {ArrayLike<number>} from
 * @param {Axes} local points of the part
 * @param {Float32Array} values of the grid
 * @param {Triple} shape of the grid
 * @param {number[][]} ends of the part along each axis
 * @param {TypedArray | null} mask copies only where it is 1
 */
function copyRows(from, local, values, shape, ends, mask = null) {
  const [nz, ny, nx] = local.map((axis) => axis.length);
  let at = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      const row = ((z + ends[0][0]) * shape[1] + y + ends[1][0]) * shape[2] + ends[2][0];
      for (let x = 0; x < nx; x++, at++) if (!mask || mask[at]) values[row + x] = from[at];
    }
  }
}
