/** A small copy of a volume, which the projection draws and by which windows are set. */

import { valueIn } from "./geometry.js";

/**
 * @typedef {import('./geometry.js').Box} Box
 * @typedef {import('./elements.js').Values} Values
 * @typedef {{ shape: number[], values: Float32Array | Float64Array, factors: number[] }} Coarse  factors are voxels a cell
 */

const PREVIEW_EDGE = 64; // Cells along the longest axis.

export class Preview {
  /** @param {number[]} shape of the volume */
  constructor(shape) {
    const factor = Math.max(1, Math.max(...shape) / PREVIEW_EDGE);
    this.shape = shape.map((n) => Math.max(1, Math.round(n / factor)));
    this.factors = this.shape.map((n, axis) => shape[axis] / n);
    const cells = this.shape[0] * this.shape[1] * this.shape[2];
    this.values = new Float64Array(cells).fill(Number.NaN);
    this.isVoxel = new Uint8Array(cells);
    /** Number of cells that have a value. */
    this.filled = 0;
  }

  /**
   * Take what is not known better from a coarse look.
   * @param {Coarse} coarse
   */
  fill({ shape, values, factors }) {
    const [zs, ys, xs] = this.shape.map((n, axis) =>
      Array.from({ length: n }, (_, cell) =>
        Math.min(shape[axis] - 1, Math.floor(((cell + 0.5) * this.factors[axis]) / factors[axis])),
      ),
    );
    let at = 0;
    for (const z of zs) {
      for (const y of ys) {
        const row = (z * shape[1] + y) * shape[2];
        for (const x of xs) {
          if (!this.isVoxel[at]) this.values[at] = values[row + x];
          at += 1;
        }
      }
    }
    this.filled = this.values.length;
  }

  /**
   * Take the voxels in the middle of cells from a box of values.
   * @param {Box} box
   * @param {Values} values
   */
  sample(box, values) {
    const [zs, ys, xs] = this.shape.map((n, axis) => {
      const places = [];
      const factor = this.factors[axis];
      for (let cell = Math.max(0, Math.floor(box[axis] / factor) - 1); cell < n; cell++) {
        const voxel = Math.floor((cell + 0.5) * factor);
        if (voxel >= box[axis + 3]) break;
        if (voxel >= box[axis]) places.push([cell, voxel]);
      }
      return places;
    });
    for (const [z, vz] of zs) {
      for (const [y, vy] of ys) {
        for (const [x, vx] of xs) {
          const at = (z * this.shape[1] + y) * this.shape[2] + x;
          if (!this.isVoxel[at] && Number.isNaN(this.values[at])) this.filled += 1;
          this.values[at] = valueIn(values, box, [vz, vy, vx]);
          this.isVoxel[at] = 1;
        }
      }
    }
  }
}
