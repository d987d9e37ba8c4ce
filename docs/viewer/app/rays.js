/** Maximum projections of small volumes, by casting a ray for every pixel. */

import { hashLabel } from "./colors.js";
import { addColors } from "./paint.js";

/**
 * @typedef {import("./paint.js").Look} Look
 * @typedef {import("./dataset.js").Coarse} Coarse
 */

const STEP = 0.8; // Distance of samples along a ray, in cells.

/**
 * The greatest value along the ray of every pixel; of labels the first that is not 0.
 * @param {Uint32Array} pixels @param {number} edge @param {Coarse} coarse @param {number[]} spacing @param {Look} look
 * @param {number} angle @param {number} tilt @param {boolean} add
 */
export function castRays(pixels, edge, coarse, spacing, look, angle, tilt, add) {
  const { shape, values, factors } = coarse;
  const [nz, ny, nx] = shape;
  const cell = factors.map((factor, axis) => factor * spacing[axis]);
  const half = Math.hypot(nz * cell[0], ny * cell[1], nx * cell[2]) / 2;
  const [ca, sa, ct, st] = [Math.cos(angle), Math.sin(angle), Math.cos(tilt), Math.sin(tilt)];
  // Directions of the picture's right, down and depth, in cells of z, y, x: z is up, the eye turns around it.
  const right = [0, ca / cell[1], sa / cell[2]];
  const down = [-ct / cell[0], (-sa * st) / cell[1], (ca * st) / cell[2]];
  const deep = [-st / cell[0], (sa * ct) / cell[1], (-ca * ct) / cell[2]];
  const pace = STEP / Math.hypot(deep[0], deep[1], deep[2]);
  const center = [nz / 2, ny / 2, nx / 2];
  const { table, low, gain, labels } = look;
  const step = deep.map((d) => d * pace);
  for (let row = 0; row < edge; row++) {
    const v = ((row + 0.5) / edge - 0.5) * 2 * half;
    for (let column = 0; column < edge; column++) {
      const u = ((column + 0.5) / edge - 0.5) * 2 * half;
      let [enter, leave] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
      const z0 = center[0] + u * right[0] + v * down[0];
      const y0 = center[1] + u * right[1] + v * down[1];
      const x0 = center[2] + u * right[2] + v * down[2];
      for (let axis = 0; axis < 3; axis++) {
        const from = axis === 0 ? z0 : axis === 1 ? y0 : x0;
        const by = step[axis] || 1e-12;
        const [a, b] = [-from / by, (shape[axis] - 1e-6 - from) / by];
        enter = Math.max(enter, Math.min(a, b));
        leave = Math.min(leave, Math.max(a, b));
      }
      if (enter >= leave) continue;
      let best = Number.NEGATIVE_INFINITY;
      let [z, y, x] = [z0 + enter * step[0], y0 + enter * step[1], x0 + enter * step[2]];
      for (let k = Math.floor(leave - enter); k >= 0; k--) {
        const value = values[((z | 0) * ny + (y | 0)) * nx + (x | 0)];
        if (labels) {
          if (value > 0 || value < 0) {
            best = value;
            break;
          }
        } else if (value > best) best = value;
        z += step[0];
        y += step[1];
        x += step[2];
      }
      if (best === Number.NEGATIVE_INFINITY) continue;
      const at = row * edge + column;
      if (labels) {
        pixels[at] = table[hashLabel(best) & (table.length - 1)];
        continue;
      }
      const k = (best - low) * gain;
      const color = table[k >= 255 ? 255 : k > 0 ? k | 0 : 0];
      pixels[at] = add ? addColors(pixels[at], color) : color;
    }
  }
}
