/** DETAILS chunks: where the voxels lie, and how they look (format.md, *DETAILS*). */

import { Cursor } from "./cursor.js";
import { checkRange, require, TincError } from "./errors.js";
import { isPrintable } from "./head.js";
import { inflate } from "./inflate.js";
import { MAX_DETAILS } from "./limits.js";
import { readJson } from "./metadata.js";

/** @typedef {import("./head.js").Facts} Facts */

/**
 * What a viewer needs of it.
 * @typedef {object} Details
 * @property {number[][]} [affine] three rows of four: voxel (z, y, x, 1) to the world
 * @property {string} [space] "RAS" or "LPS" where the world is that of a body
 * @property {{step: number, unit: string}} [timeStep]
 * @property {[number, number]} [contrastLimits]
 * @property {string} [colormap]
 * @property {number} [gamma]
 * @property {number} [opacity]
 * @property {string} [name]
 * @property {Record<string, [string, string]>} [labelNames] name and color ("" for none) of labels
 */

const [PLACE, QFORM, TIME, LIMITS, COLORMAP, GAMMA, NAME, LOOK, OBJECTS, OPACITY] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const MOST_JSON = 2 ** 20; // Longer JSON, in bytes, is refused.
const LARGEST = 1e30; // Matrices of numbers as large are refused.
const SPACES = ["", "RAS", "LPS"];
const NIFTI_CODES = 5; // Larger codes of NIfTI's forms are refused.
const LEAST_VOLUME = 1e-6; // Directions of a matrix that span less, each of length 1, are refused.

/**
 * @param {Uint8Array} payload
 * @param {Facts} facts
 * @returns {Details}
 */
export function readDetails(payload, facts) {
  checkRange("bytes of DETAILS", payload.length, 0, MAX_DETAILS);
  const items = itemsOf(payload);
  const spacing = facts.spacing ?? [1, 1, 1];
  /** @param {number} tag @param {number[]} expected */
  const numbers = (tag, expected) => {
    const data = items.get(tag);
    return data && readNumbers(new Cursor(data, "DETAILS"), expected);
  };
  /** @param {number} tag */
  const text = (tag) => {
    const data = items.get(tag);
    return data && printed(data);
  };
  /** @type {Details} */
  const details = {};
  const [z, y, x] = spacing.map(Math.fround);
  const qform = numbers(QFORM, [1, 1, 1, 1, 1, 1, x, y, z, 1]);
  require(!qform || qform.every((n) => Math.abs(n) < LARGEST), `qform is ${qform}, expected numbers below ${LARGEST}`);
  const place = items.get(PLACE);
  if (place) Object.assign(details, readPlace(place, spacing, qform));
  const time = items.get(TIME);
  if (time) {
    const cursor = new Cursor(time, "DETAILS");
    const [step] = readNumbers(cursor, [1]);
    details.timeStep = { step, unit: printed(cursor.rest()) };
  }
  const limits = numbers(LIMITS, [1, 1]);
  if (limits) details.contrastLimits = [limits[0], limits[1]];
  const colormap = text(COLORMAP);
  if (colormap) details.colormap = colormap;
  const name = text(NAME);
  if (name) details.name = name;
  const gamma = numbers(GAMMA, [1]);
  if (gamma) details.gamma = gamma[0];
  const opacity = numbers(OPACITY, [1]);
  if (opacity) details.opacity = opacity[0];
  const look = items.get(LOOK);
  if (look) unpackJson(look);
  const objects = items.get(OBJECTS);
  if (objects) details.labelNames = readObjects(unpackJson(objects));
  return details;
}

/**
 * The payload of each tag; of several of one tag, the first.
 * @param {Uint8Array} payload
 */
function itemsOf(payload) {
  const cursor = new Cursor(payload, "DETAILS");
  /** @type {Map<number, Uint8Array>} */
  const items = new Map();
  while (cursor.at < payload.length) {
    const tag = cursor.u8("tag");
    const data = cursor.take("item", lengthOf(cursor));
    if (!items.has(tag)) items.set(tag, data);
  }
  return items;
}

/** A length of at most 4 bytes. @param {Cursor} cursor */
function lengthOf(cursor) {
  let value = 0;
  for (let place = 0; place < 4; place++) {
    const byte = cursor.u8("length of an item");
    value += (byte & 127) * 2 ** (7 * place);
    if (byte < 128) return value;
  }
  throw new TincError("an item of DETAILS has a length of more than 4 bytes, expected at most 4");
}

/**
 * Numbers of which each has a code of 4 bits, and an expected number.
 * @param {Cursor} cursor
 * @param {readonly number[]} expected
 */
function readNumbers(cursor, expected) {
  const pairs = cursor.take("codes of numbers", Math.ceil(expected.length / 2));
  return expected.map((guess, at) => {
    const number = readNumber(cursor, (pairs[at >> 1] >> (4 * (at & 1))) & 15, guess);
    require(Number.isFinite(number), `DETAILS has the number ${number}, expected finite numbers`);
    return number;
  });
}

/**
 * @param {Cursor} cursor
 * @param {number} code
 * @param {number} expected
 */
function readNumber(cursor, code, expected) {
  /** @param {number} size */
  const view = (size) => new DataView(cursor.take("number", size).slice().buffer);
  if (code === 0) return 0;
  if (code === 1) return expected;
  if (code === 2) return -expected;
  if (code === 3) return view(1).getInt8(0);
  if (code === 4) return view(2).getInt16(0, true);
  if (code === 5) return view(2).getInt16(0, true) / 1000;
  if (code === 6) {
    const three = view(3);
    return (three.getUint16(0, true) + 65536 * three.getInt8(2)) / 1000;
  }
  if (code === 7) return view(4).getInt32(0, true) / 1e6;
  if (code === 8) return view(4).getFloat32(0, true);
  if (code === 9) return view(8).getFloat64(0, true);
  throw new TincError(`DETAILS has a number of the form ${code}, expected 0 to 9`);
}

/** Text, without what cannot be printed. @param {Uint8Array} data */
function printed(data) {
  return [...new TextDecoder("utf-8", { ignoreBOM: true }).decode(data)].filter(isPrintable).join("");
}

/**
 * A JSON object, deflated where its first byte is no brace.
 * @param {Uint8Array} data
 */
function unpackJson(data) {
  return readJson(data[0] === 0x7b ? data : inflate(data, MOST_JSON), "DETAILS");
}

/** @param {Record<string, unknown>} json */
function readObjects(json) {
  /** @type {Record<string, [string, string]>} */
  const names = Object.create(null);
  for (const [label, item] of Object.entries(json)) {
    const [name, color, ...more] = Array.isArray(item) ? item : [];
    const isRight = /^[+-]?\d+$/.test(label.trim()) && typeof name === "string" && color !== undefined && !more.length;
    require(isRight, `DETAILS names the label ${label.slice(0, 40)}, expected a number, a name and a color`);
    names[String(BigInt(label.trim().replace("+", "")))] = [[...name].filter(isPrintable).join(""), String(color)];
  }
  return names;
}

/**
 * @param {Uint8Array} data
 * @param {readonly number[]} spacing
 * @param {number[] | undefined} qform
 * @returns {{affine: number[][], space: string}}
 */
function readPlace(data, spacing, qform) {
  const cursor = new Cursor(data, "DETAILS");
  const flags = cursor.u8("form of the place");
  const codes = cursor.u8("codes of the place");
  const [form, space] = [flags & 3, flags >> 5];
  require(form < 3 && space < 3 && (form < 2 || qform), `DETAILS has a place of the kind ${flags}, expected another`);
  for (const code of [codes >> 4, codes & 15]) checkRange("code of NIfTI", code, 0, NIFTI_CODES);
  const [sz, sy, sx] = spacing;
  let affine;
  if (form === 0) {
    const n = readNumbers(cursor, [sz, sy, sx, 1, sz, sy, sx, 1, sz, sy, sx, 1]);
    affine = [n.slice(0, 4), n.slice(4, 8), n.slice(8)];
  } else if (form === 1) {
    const unit = 1 / (2 ** 31 - 1);
    const view = new DataView(cursor.take("rotation", 12).slice().buffer);
    const others = [0, 4, 8].map((at) => view.getInt32(at, true) * unit);
    const missing = Math.sqrt(Math.max(0, 1 - others.reduce((sum, n) => sum + n * n, 0)));
    others.splice((flags >> 3) & 3, 0, missing);
    const n = readNumbers(cursor, [sz, sy, sx, 1, 1, 1, 1, 1, 1]);
    const triangle = [
      [n[0], n[3] * sy, n[4] * sx],
      [0, n[1], n[5] * sx],
      [0, 0, n[2]],
    ];
    const rotation = rotationOf(others);
    affine = rotation.map((row, at) => [
      ...[0, 1, 2].map((column) => row.reduce((sum, r, k) => sum + r * triangle[k][column], 0)),
      n[6 + at],
    ]);
  } else affine = placeOfQform(qform ?? []);
  require(spansVolume(affine), "DETAILS has a matrix that spans no volume, expected one that does");
  return { affine, space: SPACES[space] };
}

/** @param {number[]} quaternion a, b, c, d */
function rotationOf([a, b, c, d]) {
  return [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
  ];
}

/** @param {number[]} qform of x, y, z; the matrix is of z, y, x */
function placeOfQform([b, c, d, ox, oy, oz, px, py, pz, qfac]) {
  const rest = 1 - (b * b + c * c + d * d);
  const quaternion = [rest > 3 * 2 ** -23 ? Math.sqrt(rest) : 0, b, c, d];
  const length = Math.hypot(...quaternion) || 1;
  const rotation = rotationOf(quaternion.map((n) => n / length));
  const scale = [Math.abs(px), Math.abs(py), Math.abs(pz) * (qfac < 0 ? -1 : 1)];
  const origin = [ox, oy, oz];
  return [2, 1, 0].map((row) => [...[2, 1, 0].map((column) => rotation[row][column] * scale[column]), origin[row]]);
}

/**
 * Whether a matrix takes voxels to a volume.
 * @param {number[][]} affine
 */
function spansVolume(affine) {
  const isSmall = affine.every((row) => row.every((n) => Math.abs(n) < LARGEST));
  const lengths = [0, 1, 2].map((column) => Math.hypot(...affine.map((row) => row[column])));
  const [p, q, r] = affine.map((row) => lengths.map((length, column) => row[column] / length));
  const volume =
    p[0] * (q[1] * r[2] - q[2] * r[1]) - p[1] * (q[0] * r[2] - q[2] * r[0]) + p[2] * (q[0] * r[1] - q[1] * r[0]);
  return isSmall && Math.abs(volume) >= LEAST_VOLUME;
}

/**
 * Where the voxels lie by a matrix or an origin in HEAD.
 * @param {Facts} facts
 * @returns {Details}
 */
export function detailsOfHead({ affine, origin, spacing }) {
  if (!affine && !origin) return {};
  const edges = spacing ?? [1, 1, 1];
  const rows = affine
    ? [affine.slice(0, 4), affine.slice(4, 8), affine.slice(8)]
    : edges.map((edge, axis) => [
        ...[0, 1, 2].map((column) => (column === axis ? edge : 0)),
        origin ? origin[axis] : 0,
      ]);
  return spansVolume(rows) ? { affine: rows } : {};
}
