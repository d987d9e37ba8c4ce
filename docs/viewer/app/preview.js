/** A small copy of a volume, which the projection draws and by which windows are set. */

import { clamp, valueIn } from "./geometry.js";

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
    /** Number of cells that have a value, and of those that have the value of a voxel. */
    this.filled = 0;
    this.voxels = 0;
  }

  /**
   * Take what is not known better from a coarse look.
   * @param {Coarse} coarse
   * @param {boolean} smooth whether values between those of cells mean anything; those of labels do not
   */
  fill({ shape, values, factors }, smooth) {
    const strides = [shape[1] * shape[2], shape[2], 1];
    const [zs, ys, xs] = this.shape.map((n, axis) =>
      Array.from({ length: n }, (_, cell) => {
        const place = clamp(((cell + 0.5) * this.factors[axis]) / factors[axis] - 0.5, 0, shape[axis] - 1);
        const low = smooth ? Math.floor(place) : Math.round(place);
        return [low * strides[axis], Math.min(low + 1, shape[axis] - 1) * strides[axis], smooth ? place - low : 0];
      }),
    );
    const mix = (/** @type {number} */ a, /** @type {number} */ b, /** @type {number} */ part) =>
      part ? a + (b - a) * part : a;
    let at = 0;
    for (const [z0, z1, tz] of zs) {
      for (const [y0, y1, ty] of ys) {
        for (const [x0, x1, tx] of xs) {
          if (!this.isVoxel[at]) {
            const near = mix(
              mix(values[z0 + y0 + x0], values[z0 + y0 + x1], tx),
              mix(values[z0 + y1 + x0], values[z0 + y1 + x1], tx),
              ty,
            );
            const far = mix(
              mix(values[z1 + y0 + x0], values[z1 + y0 + x1], tx),
              mix(values[z1 + y1 + x0], values[z1 + y1 + x1], tx),
              ty,
            );
            this.values[at] = mix(near, far, tz);
          }
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
          if (!this.isVoxel[at]) this.voxels += 1;
          this.isVoxel[at] = 1;
        }
      }
    }
  }
}
