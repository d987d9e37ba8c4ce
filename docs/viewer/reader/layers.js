/**
 * The arithmetic of networks: products of matrices, and sines. Points are rows: `x[p * stride + i]` is input i of point p.
 * Sums are f64, so they are at least as exact as the f32 that format.md asks for.
 */

/**
 * A layer.
 * @typedef {object} Layer
 * @property {number} inputs
 * @property {number} outputs
 * @property {Float64Array} matrix outputs times inputs, row by row
 * @property {Float64Array} bias
 * @property {boolean} hasPosition whether the last three inputs are the position z, y, x in the node
 * @property {number} ofFeatures no sum is larger than this, as features are sines,
 * @property {number} ofPositions and this times the largest coordinate of a position
 */

/**
 * A layer from a matrix as files have it.
 * @param {Float32Array[]} parts matrices of inputs times outputs, row by row, one below the other
 * @param {ArrayLike<number>} bias
 * @param {boolean} hasPosition
 * @returns {Layer}
 */
export function makeLayer(parts, bias, hasPosition) {
  const outputs = bias.length;
  const inputs = parts.reduce((sum, part) => sum + part.length / outputs, 0);
  const matrix = new Float64Array(outputs * inputs);
  let input = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += outputs, input++) {
      for (let o = 0; o < outputs; o++) matrix[o * inputs + input] = part[at + o];
    }
  }
  let [ofFeatures, ofPositions] = [0, 0];
  const features = hasPosition ? inputs - 3 : inputs;
  for (let o = 0; o < outputs; o++) {
    const row = matrix.subarray(o * inputs, (o + 1) * inputs);
    /** @param {number} sum @param {number} weight */
    const add = (sum, weight) => sum + Math.abs(weight);
    ofFeatures = Math.max(ofFeatures, row.subarray(0, features).reduce(add, Math.abs(bias[o])));
    ofPositions = Math.max(ofPositions, row.subarray(features).reduce(add, 0));
  }
  return { inputs, outputs, matrix, bias: Float64Array.from(bias), hasPosition, ofFeatures, ofPositions };
}

/**
 * Sums of a layer: y = bias + matrix x, for `count` points.
 * @param {Layer} layer
 * @param {Float64Array} x
 * @param {number} xStride
 * @param {Float64Array} y
 * @param {number} yStride
 * @param {number} count
 */
export function applyLayer(layer, x, xStride, y, yStride, count) {
  const { inputs, outputs, matrix, bias } = layer;
  const paired = count & ~1;
  let o = 0;
  for (; o + 4 <= outputs; o += 4) {
    const w0 = o * inputs;
    const w1 = w0 + inputs;
    const w2 = w1 + inputs;
    const w3 = w2 + inputs;
    for (let p = 0; p < paired; p += 2) {
      const at = p * xStride;
      const next = at + xStride;
      let a0 = bias[o];
      let a1 = bias[o + 1];
      let a2 = bias[o + 2];
      let a3 = bias[o + 3];
      let b0 = a0;
      let b1 = a1;
      let b2 = a2;
      let b3 = a3;
      for (let i = 0; i < inputs; i++) {
        const a = x[at + i];
        const b = x[next + i];
        const m0 = matrix[w0 + i];
        const m1 = matrix[w1 + i];
        const m2 = matrix[w2 + i];
        const m3 = matrix[w3 + i];
        a0 += m0 * a;
        a1 += m1 * a;
        a2 += m2 * a;
        a3 += m3 * a;
        b0 += m0 * b;
        b1 += m1 * b;
        b2 += m2 * b;
        b3 += m3 * b;
      }
      const out = p * yStride + o;
      y[out] = a0;
      y[out + 1] = a1;
      y[out + 2] = a2;
      y[out + 3] = a3;
      y[out + yStride] = b0;
      y[out + yStride + 1] = b1;
      y[out + yStride + 2] = b2;
      y[out + yStride + 3] = b3;
    }
  }
  const whole = o;
  for (let p = 0; p < count; p++) {
    for (o = p < paired ? whole : 0; o < outputs; o++) {
      let sum = bias[o];
      const row = o * inputs;
      for (let i = 0, at = p * xStride; i < inputs; i++) sum += matrix[row + i] * x[at + i];
      y[p * yStride + o] = sum;
    }
  }
}

const ROUND = 6755399441055744; // 1.5 * 2^52: adding it to a number below 2^51 and taking it away again rounds.
const PI_HIGH = 3.1415926218032837; // The first 25 bits of pi: products with integers below 2^28 are exact.
const PI_LOW = 3.178650954705639e-8; // The rest.
// Coefficients of r^3 to r^11 of a sine on [-pi/2, pi/2], whose largest error is 2e-11.
const P3 = -0.1666666660646647;
const P5 = 0.008333330495655907;
const P7 = -0.00019840804037593563;
const P9 = 2.7522618785318434e-6;
const P11 = -2.3846692958837123e-8;
const LARGEST = 2 ** 26; // Sines of larger angles are left to Math.sin.

/**
 * Sines in place, of `width` numbers of each of `count` points; to about 1e-9.
 * @param {Float64Array} y
 * @param {number} stride
 * @param {number} width
 * @param {number} count
 */
export function sines(y, stride, width, count) {
  for (let p = 0; p < count; p++) {
    for (let at = p * stride, end = at + width; at < end; at++) {
      const angle = y[at];
      if (!(angle < LARGEST && angle > -LARGEST)) {
        y[at] = Math.sin(angle);
        continue;
      }
      const shifted = angle * 0.3183098861837907 + ROUND;
      const turns = shifted - ROUND;
      const r = angle - turns * PI_HIGH - turns * PI_LOW;
      const s = r * r;
      const tail = s * (P3 + s * (P5 + s * (P7 + s * (P9 + s * P11))));
      y[at] = turns & 1 ? -(r + r * tail) : r + r * tail;
    }
  }
}
