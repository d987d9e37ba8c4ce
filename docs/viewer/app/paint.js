/** Values of voxels to pixels. Nothing here knows the page. */

import { hashLabel } from "./colors.js";

/**
 * How values become colours: `table[(value - low) * gain]`, or of labels `table[hash]`.
 * @typedef {{ table: Uint32Array, low: number, gain: number, labels: boolean, named: Map<number, number> | null }} Look
 */

/**
 * @param {Uint32Array} table
 * @param {number} low
 * @param {number} high
 * @param {boolean} labels
 * @param {Map<number, number> | null} [named]  colours of single labels
 * @returns {Look}
 */
export function makeLook(table, low, high, labels, named = null) {
  return { table, low, gain: 256 / Math.max(high - low, Number.MIN_VALUE * 2 ** 52), labels, named };
}

/**
 * An image of part of a slice: a pixel every so many voxels to the right and down, the first that of voxel (r0, d0).
 * @typedef {{ pixels: Uint32Array, columns: number, rows: number, r0: number, d0: number, stepRight: number,
 *   stepDown: number }} Raster
 * @typedef {{ r0: number, r1: number, d0: number, d1: number }} Rect  voxels to the right and down, without r1 and d1
 */

/**
 * @param {Rect} rect
 * @param {number} [stepRight]
 * @param {number} [stepDown]
 * @returns {Raster}
 */
export function makeRaster({ r0, r1, d0, d1 }, stepRight = 1, stepDown = stepRight) {
  const first = { r0: r0 - (r0 % stepRight), d0: d0 - (d0 % stepDown) };
  const columns = Math.ceil((r1 - first.r0) / stepRight);
  const rows = Math.ceil((d1 - first.d0) / stepDown);
  return { pixels: new Uint32Array(columns * rows), columns, rows, ...first, stepRight, stepDown };
}

/**
 * Paint the pixels of a raster that lie in a rectangle of voxels.
 * @param {Raster} raster
 * @param {Rect} rect
 * @param {ArrayLike<number>} values
 * @param {number} start  place in `values` of voxel (rect.r0, rect.d0)
 * @param {number} right  stride
 * @param {number} down  stride
 * @param {Look} look
 * @param {boolean} add  to the colours that are there
 */
export function paintRect(raster, rect, values, start, right, down, look, add) {
  const { stepRight, stepDown, pixels, columns } = raster;
  const firstColumn = Math.max(0, Math.ceil((rect.r0 - raster.r0) / stepRight));
  const lastColumn = Math.min(columns, Math.ceil((rect.r1 - raster.r0) / stepRight));
  const firstRow = Math.max(0, Math.ceil((rect.d0 - raster.d0) / stepDown));
  const lastRow = Math.min(raster.rows, Math.ceil((rect.d1 - raster.d0) / stepDown));
  const { table, low, gain } = look;
  for (let row = firstRow; row < lastRow; row++) {
    let at =
      start + (raster.d0 + row * stepDown - rect.d0) * down + (raster.r0 + firstColumn * stepRight - rect.r0) * right;
    let pixel = row * columns + firstColumn;
    const end = row * columns + lastColumn;
    const stride = right * stepRight;
    if (look.labels) {
      for (; pixel < end; pixel++, at += stride) {
        const label = values[at];
        pixels[pixel] = label === 0 ? 0xff000000 : labelColor(look, label);
      }
    } else if (add) {
      for (; pixel < end; pixel++, at += stride) {
        const k = (values[at] - low) * gain;
        pixels[pixel] = addColors(pixels[pixel], table[k >= 255 ? 255 : k > 0 ? k | 0 : 0]);
      }
    } else {
      for (; pixel < end; pixel++, at += stride) {
        const k = (values[at] - low) * gain;
        pixels[pixel] = table[k >= 255 ? 255 : k > 0 ? k | 0 : 0];
      }
    }
  }
}

/**
 * Paint the part of a slice that a decoded piece of the volume has.
 * @param {Raster} raster
 * @param {import('./dataset.js').Piece} piece
 * @param {import('./geometry.js').Plane} plane
 * @param {number} slice
 * @param {Look} look
 * @param {boolean} add to the colours that are there
 */
export function paintPiece(raster, { values, box, step }, plane, slice, look, add) {
  const cells = box.map((side, i) => (i < 3 ? Math.floor(side / step) : Math.ceil(side / step)));
  const strides = [(cells[4] - cells[1]) * (cells[5] - cells[2]), cells[5] - cells[2], 1];
  const rect = {
    r0: cells[plane.right],
    r1: cells[plane.right + 3],
    d0: cells[plane.down],
    d1: cells[plane.down + 3],
  };
  const start = (Math.floor(slice / step) - cells[plane.normal]) * strides[plane.normal];
  const { stepRight, stepDown, r0, d0 } = raster;
  const steps = { stepRight: stepRight / step, stepDown: stepDown / step, r0: r0 / step, d0: d0 / step };
  paintRect({ ...raster, ...steps }, rect, values, start, strides[plane.right], strides[plane.down], look, add);
}

/**
 * Colour of a label: that of the file, or by its hash.
 * @param {Look} look
 * @param {number} label
 */
export const labelColor = ({ table, named }, label) =>
  named?.get(label) ?? table[hashLabel(label) & (table.length - 1)];

/**
 * Add two packed colours, each part up to 255.
 * @param {number} a
 * @param {number} b
 */
export function addColors(a, b) {
  const red = Math.min(255, (a & 255) + (b & 255));
  const green = Math.min(255, ((a >> 8) & 255) + ((b >> 8) & 255));
  const blue = Math.min(255, ((a >> 16) & 255) + ((b >> 16) & 255));
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * Count finite values in bins of equal width.
 * @param {ArrayLike<number>} values
 * @param {number} low
 * @param {number} high
 * @param {number} bins
 */
export function histogram(values, low, high, bins) {
  const counts = new Uint32Array(bins);
  const gain = bins / (high - low || 1);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value >= low && value <= high) counts[Math.min(bins - 1, Math.floor((value - low) * gain))] += 1;
  }
  return counts;
}

/**
 * Smallest and largest finite value; [0, 1] if there is none.
 * @param {ArrayLike<number>} values
 * @returns {[number, number]}
 */
export function finiteRange(values) {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

/**
 * A window that shows most of the values: it leaves out a share of the darkest and of the brightest.
 * @param {ArrayLike<number>} values
 * @param {number[]} fill  values that are no measurements
 * @param {number} [share]
 * @returns {[number, number]}
 */
export function autoWindow(values, fill, share = 0.003) {
  const finite = Array.from(values).filter((value) => Number.isFinite(value) && !fill.includes(value));
  if (!finite.length) return [0, 1];
  const sorted = Float64Array.from(finite).sort();
  const low = sorted[Math.floor(share * (sorted.length - 1))];
  const high = sorted[Math.ceil((1 - share) * (sorted.length - 1))];
  if (low < high) return [low, high];
  const [least, most] = [sorted[0], sorted[sorted.length - 1]];
  return least < most ? [least, most] : [Math.min(least, 0), least > 0 ? least : least < 0 ? 0 : 1]; // Black is 0, or less.
}

const ENOUGH = 0.04; // With a smaller share of its cells known, a preview tells nothing of a window: three planes are 0.047.

/**
 * The window of a channel by what is known of its values: by those of voxels, or at first by means of many, which lie closer
 * together; null if too few are known, or no more than before.
 * @param {import('./preview.js').Preview | undefined} preview
 * @param {import('./words.js').Meta} meta
 * @param {boolean} isGuessed whether a window by means is set already
 * @returns {{ low: number, high: number, touched: boolean, guessed: boolean } | null}
 */
export function windowOf(preview, { fill, dtype }, isGuessed) {
  const least = ENOUGH * (preview?.values.length ?? 1);
  if (!preview || preview.filled < least || (isGuessed && preview.voxels < least)) return null;
  const touched = preview.voxels >= least;
  const values = touched ? preview.values.filter((_, at) => preview.isVoxel[at]) : preview.values;
  const [low, high] = autoWindow(values, fill ?? []);
  const isWhole = dtype[0] !== "f" && Math.round(low) < Math.round(high);
  return { low: isWhole ? Math.round(low) : low, high: isWhole ? Math.round(high) : high, touched, guessed: true };
}
