/** Lattices: which layers of a path are formed on which, and how sums are interpolated (format.md, *Lattice*). */

/**
 * Layers that are formed at the same points.
 * @typedef {object} Run
 * @property {number} stride of the lattice, 1 for the points that are asked for
 * @property {number} first layer
 * @property {number} end one past the last layer; may be `first` in the last run
 */

/**
 * The points of a lattice that some points along an axis are interpolated from.
 * @typedef {object} Stencil
 * @property {Float64Array} points coordinates of the lattice points that are used, ascending
 * @property {Int32Array} numbers j of each of these
 * @property {Int32Array} taps for each point four indices of `points`
 * @property {Float64Array} weights of these; 0 where there are fewer
 */

const STRIDES = [2, 4, 8];

/**
 * The runs of a path.
 * @param {number[]} lattice last layers on the lattices of strides 2, 4, 8; empty for no lattice
 * @param {number} head number of the head: that of sine layers of the path
 * @returns {Run[]}
 */
export function runsOf(lattice, head) {
  /** @type {Run[]} */
  const runs = [];
  let first = 0;
  for (const at of [2, 1, 0]) {
    const end = lattice.length ? Math.min(lattice[at], head) + 1 : 0;
    if (end > 1 && end > first) {
      runs.push({ stride: STRIDES[at], first, end });
      first = end;
    }
  }
  runs.push({ stride: 1, first, end: head + 1 });
  return runs;
}

/**
 * The lattice points and weights for points along an axis.
 * @param {ArrayLike<number>} points
 * @param {number} start first voxel of the head's box
 * @param {number} stop one past its last voxel
 * @param {number} stride
 * @returns {Stencil}
 */
export function stencil(points, start, stop, stride) {
  const margin = stride > 2 ? 1 : 0;
  const count = Math.max(4, Math.ceil((stop - start - 1) / stride) + 1 + 2 * margin);
  const taps = new Int32Array(4 * points.length);
  const weights = new Float64Array(4 * points.length);
  const isUsed = new Uint8Array(count);
  for (let at = 0; at < points.length; at++) {
    const q = (points[at] - start - 0.5) / stride + margin;
    const first = Math.min(Math.max(Math.floor(q) - 1, 0), count - 4);
    const t = q - first - 1;
    const c = Math.max(0, t * (1 - t)) / 16;
    weights.set(
      [
        Math.fround((-t * (t - 1) * (t - 2)) / 6 - c),
        Math.fround(((t + 1) * (t - 1) * (t - 2)) / 2 + c),
        Math.fround((-(t + 1) * t * (t - 2)) / 2 + c),
        Math.fround(((t + 1) * t * (t - 1)) / 6 - c),
      ],
      4 * at,
    );
    for (let tap = 4 * at; tap < 4 * at + 4; tap++) {
      taps[tap] = first + tap - 4 * at;
      if (weights[tap]) isUsed[taps[tap]] = 1;
    }
  }
  const numbers = Int32Array.from(isUsed.keys()).filter((j) => isUsed[j]);
  const place = new Int32Array(count);
  for (const [at, j] of numbers.entries()) place[j] = at;
  for (let tap = 0; tap < taps.length; tap++) taps[tap] = place[taps[tap]]; // 0 where the weight is 0
  const coordinates = Float64Array.from(numbers, (j) => start + 0.5 + stride * (j - margin));
  return { points: coordinates, numbers, taps, weights };
}

/**
 * Interpolate rows of numbers: each point becomes the sum of at most four rows times their weights.
 * @param {Stencil} one
 * @param {(tap: number) => Float64Array} arrayOf the array that has the row of a lattice point
 * @param {(tap: number) => number} placeOf where it begins there
 * @param {number} width of a row
 * @param {Float64Array} out takes a row for each point, one after the other
 * @param {number} start where in `out`
 */
export function mixRows(one, arrayOf, placeOf, width, out, start) {
  const points = one.taps.length / 4;
  for (let point = 0; point < points; point++) {
    const at = start + point * width;
    out.fill(0, at, at + width);
    for (let tap = 4 * point; tap < 4 * point + 4; tap++) {
      const weight = one.weights[tap];
      if (!weight) continue;
      const row = arrayOf(one.taps[tap]);
      const first = placeOf(one.taps[tap]);
      for (let i = 0; i < width; i++) out[at + i] += weight * row[first + i];
    }
  }
}
