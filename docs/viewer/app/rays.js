/** Maximum projections of small volumes, by casting a ray for every pixel. */

import { addColors, labelColor } from "./paint.js";

/**
 * @typedef {import("./paint.js").Look} Look
 * @typedef {import('./preview.js').Coarse} Coarse
 */

const THINNEST = 48; // A volume is drawn as thick as this part of its longest edge, at least: rays would miss it.
const RAY_STEP = 0.8; // Distance of samples along a ray, in cells.

/**
 * The greatest value along the ray of every pixel; of labels the first that is not 0.
 * @param {Uint32Array} pixels
 * @param {number} edge
 * @param {Coarse} coarse
 * @param {number[]} spacing
 * @param {Look} look
 * @param {number} angle
 * @param {number} tilt
 * @param {boolean} add
 */
export function castRays(pixels, edge, coarse, spacing, look, angle, tilt, add) {
  const { shape, values, factors } = coarse;
  const [nz, ny, nx] = shape;
  const sizes = factors.map((factor, axis) => factor * spacing[axis]);
  const least = Math.max(...sizes.map((size, axis) => size * shape[axis])) / THINNEST;
  const cell = sizes.map((size, axis) => Math.max(size, least / shape[axis]));
  const around = Math.hypot(ny * cell[1], nx * cell[2]) / 2;
  const [ca, sa, ct, st] = [Math.cos(angle), Math.sin(angle), Math.cos(tilt), Math.sin(tilt)];
  const half = Math.max(around, (nz * cell[0] * ct) / 2 + around * Math.abs(st));
  // Directions of the picture's right, down and depth, in cells of z, y, x: z is up, the eye turns around it.
  const right = [0, ca / cell[1], sa / cell[2]];
  const down = [-ct / cell[0], (-sa * st) / cell[1], (ca * st) / cell[2]];
  const deep = [-st / cell[0], (sa * ct) / cell[1], (-ca * ct) / cell[2]];
  const pace = RAY_STEP / Math.hypot(deep[0], deep[1], deep[2]);
  const { table, low, gain, labels } = look;
  const step = deep.map((d) => d * pace);
  const [sz, sy, sx] = step.map((d) => d || 1e-12);
  const most = low + 255 / gain; // No brighter value can be seen.
  for (let row = 0; row < edge; row++) {
    const v = ((row + 0.5) / edge - 0.5) * 2 * half;
    for (let column = 0; column < edge; column++) {
      const u = ((column + 0.5) / edge - 0.5) * 2 * half;
      let z = nz / 2 + u * right[0] + v * down[0];
      let y = ny / 2 + u * right[1] + v * down[1];
      let x = nx / 2 + u * right[2] + v * down[2];
      const [az, bz, ay, by, ax, bx] = [
        -z / sz,
        (nz - 1e-6 - z) / sz,
        -y / sy,
        (ny - 1e-6 - y) / sy,
        -x / sx,
        (nx - 1e-6 - x) / sx,
      ];
      const enter = Math.max(Math.min(az, bz), Math.min(ay, by), Math.min(ax, bx));
      const leave = Math.min(Math.max(az, bz), Math.max(ay, by), Math.max(ax, bx));
      if (enter >= leave) continue;
      let best = Number.NEGATIVE_INFINITY;
      z += enter * sz;
      y += enter * sy;
      x += enter * sx;
      for (let k = Math.floor(leave - enter); k >= 0; k--) {
        const value = values[((z | 0) * ny + (y | 0)) * nx + (x | 0)];
        if (labels) {
          if (value > 0 || value < 0) {
            best = value;
            break;
          }
        } else if (value > best) {
          best = value;
          if (value >= most) break;
        }
        z += sz;
        y += sy;
        x += sx;
      }
      if (best === Number.NEGATIVE_INFINITY) continue;
      const at = row * edge + column;
      if (labels) {
        pixels[at] = labelColor(look, best);
        continue;
      }
      const k = (best - low) * gain;
      const color = table[k >= 255 ? 255 : k > 0 ? k | 0 : 0];
      pixels[at] = add ? addColors(pixels[at], color) : color;
    }
  }
}
