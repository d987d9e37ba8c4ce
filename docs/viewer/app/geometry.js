/** Axes, cells and screen coordinates. Positions are [z, y, x] in voxels; nothing here draws. */

/** @typedef {{ name: string, normal: number, right: number, down: number }} Plane */
/** @typedef {[number, number, number]} Triple */
/** @typedef {[number, number, number, number, number, number]} Box */
/** @typedef {{ edges: number[][], counts: number[] }} Grid */

/** The three planes, in the order of the page: the first shares y with the second and x with the third. */
export const VIEW_PLANES = /** @type {Plane[]} */ ([
  { name: "xy", normal: 0, right: 2, down: 1 },
  { name: "zy", normal: 2, right: 0, down: 1 },
  { name: "xz", normal: 1, right: 2, down: 0 },
]);

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * Cut a volume as the octree of a file is cut, until a cell has at most so many voxels. The cells of a file's own tree
 * of that level, or deeper, never cross an edge of the grid.
 * @param {number[]} shape
 * @param {number} voxels
 * @returns {Grid}
 */
export function cutGrid(shape, voxels) {
  const cuts = [0, 0, 0];
  for (;;) {
    const sizes = shape.map((n, axis) => n / 2 ** cuts[axis]);
    const largest = Math.max(...sizes);
    if (sizes[0] * sizes[1] * sizes[2] <= voxels || largest < 2) break;
    sizes.forEach((size, axis) => {
      if (size >= 2 && 2 * size > largest) cuts[axis] += 1;
    });
  }
  const edges = shape.map((n, axis) => {
    const count = 2 ** cuts[axis];
    return Array.from({ length: count + 1 }, (_, cell) => Math.floor((cell * n) / count));
  });
  return { edges, counts: edges.map((axis) => axis.length - 1) };
}

/**
 * Find the cell of a grid that holds a position along one axis.
 * @param {number[]} edges
 * @param {number} position
 */
export function cellAt(edges, position) {
  const last = edges.length - 2;
  let cell = clamp(Math.floor((position / edges[last + 1]) * (last + 1)), 0, last);
  while (cell > 0 && position < edges[cell]) cell -= 1;
  while (cell < last && position >= edges[cell + 1]) cell += 1;
  return cell;
}

/**
 * List the cells along one axis that touch the voxels from low to high (without high).
 * @param {number[]} edges
 * @param {number} low
 * @param {number} high
 */
export function cellsBetween(edges, low, high) {
  const cells = [];
  for (let cell = cellAt(edges, low); cell < edges.length - 1 && edges[cell] < high; cell++) cells.push(cell);
  return cells;
}

/**
 * Join every so many cells of a grid.
 * @param {Grid} grid
 * @param {number} times
 * @returns {Grid}
 */
export function joinCells(grid, times) {
  const edges = grid.edges.map((axis) => axis.filter((_, i) => i % times === 0 || i === axis.length - 1));
  return { edges, counts: edges.map((axis) => axis.length - 1) };
}

/**
 * Sizes of a voxel along z, y, x, the smallest 1.
 * @param {number[] | null} spacing
 * @returns {Triple}
 */
export function relativeSpacing(spacing) {
  const sizes = spacing ?? [1, 1, 1];
  const smallest = Math.min(...sizes);
  return /** @type {Triple} */ (sizes.map((size) => clamp(size / smallest, 1, 1000)));
}

/**
 * The largest scale (screen pixels a voxel of the smallest spacing) at which a plane fits its view.
 * @param {Plane} plane
 * @param {number[]} shape
 * @param {Triple} spacing
 * @param {number} width
 * @param {number} height
 */
export function fitScale(plane, shape, spacing, width, height) {
  const across = shape[plane.right] * spacing[plane.right];
  const along = shape[plane.down] * spacing[plane.down];
  return Math.min(width / across, height / along);
}

/**
 * A view of a plane: takes voxels to screen pixels and back.
 * @typedef {{ x0: number, y0: number, px: number, py: number }} Frame  screen position of voxel edge 0, pixels a voxel
 * @param {Plane} plane
 * @param {Triple} center
 * @param {number} scale
 * @param {Triple} spacing
 * @param {number} width
 * @param {number} height
 * @returns {Frame}
 */
export function frameOf(plane, center, scale, spacing, width, height) {
  const px = scale * spacing[plane.right];
  const py = scale * spacing[plane.down];
  return { px, py, x0: width / 2 - center[plane.right] * px, y0: height / 2 - center[plane.down] * py };
}

/**
 * The voxels of a plane that lie on the screen: first and last (without it) to the right and down.
 * @param {Frame} frame
 * @param {Plane} plane
 * @param {number[]} shape
 * @param {number} width
 * @param {number} height
 */
export function visibleRect(frame, plane, shape, width, height) {
  const columns = shape[plane.right];
  const rows = shape[plane.down];
  return {
    r0: clamp(Math.floor(-frame.x0 / frame.px), 0, columns),
    r1: clamp(Math.ceil((width - frame.x0) / frame.px), 0, columns),
    d0: clamp(Math.floor(-frame.y0 / frame.py), 0, rows),
    d1: clamp(Math.ceil((height - frame.y0) / frame.py), 0, rows),
  };
}

/**
 * The box of one slice between voxels of a plane.
 * @param {Plane} plane
 * @param {number} slice
 * @param {number} r0
 * @param {number} r1
 * @param {number} d0
 * @param {number} d1
 * @returns {Box}
 */
export function sliceBox(plane, slice, r0, r1, d0, d1) {
  const box = /** @type {Box} */ ([0, 0, 0, 0, 0, 0]);
  [box[plane.normal], box[plane.normal + 3]] = [slice, slice + 1];
  [box[plane.right], box[plane.right + 3]] = [r0, r1];
  [box[plane.down], box[plane.down + 3]] = [d0, d1];
  return box;
}

/**
 * Number of voxels of a box.
 * @param {number[]} box
 */
export const boxVoxels = (box) => (box[3] - box[0]) * (box[4] - box[1]) * (box[5] - box[2]);

/**
 * Number of one volume among all of a file, from the indices of its leading axes.
 * @param {number[]} sizes
 * @param {number[]} index
 */
export const volumeNumber = (sizes, index) => sizes.reduce((number, size, i) => number * size + index[i], 0);

/**
 * Letters of a body's directions at the low and high end of each axis, such as ["I", "S"]; null if not known.
 * @param {number[][] | undefined} affine  takes voxels (z, y, x, 1) to the world (z, y, x)
 * @param {string | undefined} space "RAS" or "LPS"
 */
export function directionsOf(affine, space) {
  if (!affine || (space !== "RAS" && space !== "LPS")) return null;
  const ends = [["I", "S"], space === "RAS" ? ["P", "A"] : ["A", "P"], space === "RAS" ? ["L", "R"] : ["R", "L"]];
  return [0, 1, 2].map((axis) => {
    const column = affine.map((row) => row[axis]);
    const along = column.map(Math.abs).indexOf(Math.max(...column.map(Math.abs)));
    return column[along] < 0 ? [...ends[along]].reverse() : ends[along];
  });
}

/**
 * Value of a voxel in the values of a box.
 * @param {ArrayLike<number>} values
 * @param {Box} box
 * @param {number[]} at
 */
export function valueIn(values, box, [z, y, x]) {
  return values[((z - box[0]) * (box[4] - box[1]) + y - box[1]) * (box[5] - box[2]) + x - box[2]];
}
