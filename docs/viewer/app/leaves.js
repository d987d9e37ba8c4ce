/** Leaves of a volume as numbers, which pass from a worker to the page without a copy. */

export const LEAF_COLUMNS = 11; // Numbers a leaf: box (6), level, kind, bytes, RMSE, largest error; NaN for not known.
export const LEAF_KINDS = ["network", "scalar", "lossless", "bounded", "constant"];

/** @type {WeakMap<Float64Array, number>} */
const worstErrors = new WeakMap();

/**
 * The largest RMSE of any leaf; 0 if none is known.
 * @param {Float64Array} leaves
 */
export function worstError(leaves) {
  const known = worstErrors.get(leaves);
  if (known !== undefined) return known;
  let worst = 0;
  for (let at = 9; at < leaves.length; at += LEAF_COLUMNS) if (leaves[at] > worst) worst = leaves[at];
  worstErrors.set(leaves, worst);
  return worst;
}

/**
 * The leaf that holds a voxel, or null.
 * @param {Float64Array} leaves
 * @param {number[]} at
 */
export function leafAt(leaves, at) {
  for (let i = 0; i < leaves.length; i += LEAF_COLUMNS) {
    if (!at.every((position, axis) => position >= leaves[i + axis] && position < leaves[i + 3 + axis])) continue;
    const known = (/** @type {number} */ column) => (Number.isNaN(leaves[i + column]) ? null : leaves[i + column]);
    return {
      level: leaves[i + 6],
      kind: LEAF_KINDS[leaves[i + 7]] ?? "other",
      bytes: known(8),
      rmse: known(9),
      maxError: known(10),
    };
  }
  return null;
}
