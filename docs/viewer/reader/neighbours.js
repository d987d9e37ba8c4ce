/** The order in which voxels of a residual come, and the neighbours that are known by then. */

/** @typedef {import("./head.js").Triple} Triple */

/** Parities in the order in which their voxels come; 000 is known from the level before. @type {Triple[]} */
export const ORDER = [
  [1, 0, 0],
  [0, 1, 0],
  [1, 1, 0],
  [0, 0, 1],
  [1, 0, 1],
  [0, 1, 1],
  [1, 1, 1],
];
/** @type {Triple[][]} Faces, edges and corners. */
export const SHELLS = [
  [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  [
    [0, 1, 1],
    [1, 0, 1],
    [1, 1, 0],
  ],
  [[1, 1, 1]],
];
/** @type {Triple[]} */
export const NEAR = SHELLS.flat();
/** @type {Triple[]} */
export const FAR = [
  [3, 0, 0],
  [0, 3, 0],
  [0, 0, 3],
  [1, 2, 0],
  [1, 0, 2],
  [2, 1, 0],
  [0, 1, 2],
  [2, 0, 1],
  [0, 2, 1],
];

/** @param {readonly number[]} parity */
export function indexOf(parity) {
  return (parity[0] << 2) | (parity[1] << 1) | parity[2];
}

/**
 * An offset and its mirror images: z slowest, + before -.
 * @param {Triple} orbit
 * @returns {Triple[]}
 */
export function mirrored(orbit) {
  const [zs, ys, xs] = orbit.map((d) => (d ? [d, -d] : [0]));
  return zs.flatMap((z) => ys.flatMap((y) => xs.map((x) => /** @type {Triple} */ ([z, y, x]))));
}

/**
 * Of some orbits, those whose neighbours are known.
 * @param {Triple} parity of the voxels
 * @param {Triple[]} orbits
 * @param {boolean[]} known by the number of a parity
 */
export function knownOrbits(parity, orbits, known) {
  return orbits.filter((orbit) => known[indexOf(parity.map((p, axis) => (p + orbit[axis]) & 1))]);
}

/** Voxels of the same parity that are repeated beyond a box, as neighbours reach as far. */
const PAD = 2;

/**
 * The voxels of a level, apart by parity: each parity has an array of one size in which its faces are repeated, and all
 * arrays follow one another, so that a neighbour is a constant distance away. An axis along which no parity has more than
 * one voxel is not padded: its neighbours are that voxel again, at the distance 0.
 */
export class Layout {
  /** @param {Triple} grid number of voxels of the level */
  constructor(grid) {
    this.grid = grid;
    const counts = grid.map((n) => (n + 1) >> 1);
    /** @type {number[]} */
    this.pads = counts.map((n) => (n > 1 ? PAD : 0));
    const padded = counts.map((n, axis) => n + 2 * this.pads[axis]);
    this.row = padded[2];
    this.plane = padded[1] * padded[2];
    this.size = padded[0] * this.plane;
    const steps = [this.plane, this.row, 1];
    /** Distances of the next voxel of a parity; 0 along axes without padding. */
    this.steps = steps.map((step, axis) => (this.pads[axis] ? step : 0));
    /** Place of the first voxel of a parity. */
    this.origin = this.pads[0] * this.plane + this.pads[1] * this.row + this.pads[2];
  }

  /**
   * Voxels of a parity along z, y, x.
   * @param {Triple} parity
   * @returns {Triple}
   */
  shape(parity) {
    const [z, y, x] = this.grid.map((n, axis) => (n - parity[axis] + 1) >> 1);
    return [z, y, x];
  }

  /**
   * How far a neighbour is from a voxel.
   * @param {Triple} parity of the voxel
   * @param {Triple} offset
   */
  distance(parity, offset) {
    const moved = parity.map((p, axis) => p + offset[axis]);
    const steps = moved.reduce((sum, m, axis) => sum + (m >> 1) * this.steps[axis], 0);
    const other = indexOf(moved.map((m) => m & 1));
    return (other - indexOf(parity)) * this.size + steps;
  }

  /**
   * Repeat the faces of a parity.
   * @param {Float64Array} values of all parities
   * @param {Triple} parity
   */
  repeatFaces(values, parity) {
    const [nz, ny, nx] = this.shape(parity);
    const [pz, py, px] = this.pads;
    const { row, plane } = this;
    const start = indexOf(parity) * this.size;
    for (let z = pz; z < nz + pz; z++) {
      for (let y = py; y < ny + py; y++) {
        const at = start + z * plane + y * row + px;
        if (!px) continue;
        values[at - 2] = values[at - 1] = values[at];
        values[at + nx] = values[at + nx + 1] = values[at + nx - 1];
      }
      const first = start + z * plane;
      for (let y = 0; y < py; y++) {
        values.copyWithin(first + y * row, first + py * row, first + (py + 1) * row);
        values.copyWithin(first + (ny + py + y) * row, first + (ny + py - 1) * row, first + (ny + py) * row);
      }
    }
    for (let z = 0; z < pz; z++) {
      values.copyWithin(start + z * plane, start + pz * plane, start + (pz + 1) * plane);
      values.copyWithin(start + (nz + pz + z) * plane, start + (nz + pz - 1) * plane, start + (nz + pz) * plane);
    }
  }

  /**
   * Put the voxels of a coarser level, all of them, where those of parity 000 are; or, without a finer layout, into a box.
   * @param {Float64Array} from values of all parities of this level
   * @param {Float64Array} to
   * @param {{origin: number, plane: number, row: number}} finer layout of parity 000 of the finer level, or of a box
   */
  gather(from, to, finer) {
    const [oz, oy, ox] = [this.plane, this.row, 1];
    const { grid, origin, size } = this;
    for (let z = 0; z < grid[0]; z++) {
      for (let y = 0; y < grid[1]; y++) {
        const into = finer.origin + z * finer.plane + y * finer.row;
        const corner = origin + (z >> 1) * oz + (y >> 1) * oy;
        const even = ((z & 1) * 4 + (y & 1) * 2) * size + corner;
        const odd = even + size;
        for (let x = 0; x < grid[2]; x += 2) to[into + x] = from[even + (x >> 1) * ox];
        for (let x = 1; x < grid[2]; x += 2) to[into + x] = from[odd + (x >> 1) * ox];
      }
    }
  }
}

/**
 * Bit length of a whole number.
 * @param {number} n
 */
export function bitLength(n) {
  return n < 1 ? 0 : 32 - Math.clz32(n);
}

/**
 * Voxels of the grid of a level.
 * @param {Triple} shape of the box
 * @param {number} level
 * @returns {Triple}
 */
export function gridOf(shape, level) {
  const [z, y, x] = shape.map((n) => Math.ceil(n / 2 ** level));
  return [z, y, x];
}
