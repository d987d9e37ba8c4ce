/** META and PROVENANCE: plain data, checked. */

import { fromHalf, toHalf } from "./dtypes.js";
import { TincError } from "./errors.js";
import { isPrintable } from "./head.js";

/** @typedef {import("./dtypes.js").Dtype} Dtype */
/** @typedef {{name?: string[], color?: string[], window?: [number, number][]}} Channels */
/** @typedef {Record<string, unknown>} Json */

const MOST_FILL = 8; // More values that are no measurements are refused.
const USUAL_AXES = "qtczyx";

/**
 * @param {Uint8Array} bytes
 * @param {string} name of the chunk
 * @returns {Json}
 */
export function readJson(bytes, name) {
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw new TincError(`${name} chunk is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new TincError(`${name} chunk holds ${Array.isArray(value) ? "an array" : typeof value}, expected an object`);
  }
  return value;
}

/**
 * What META says of a volume.
 * @typedef {object} Meta
 * @property {string[]} axes letters of all axes
 * @property {Channels} channels
 * @property {boolean} isBool
 * @property {boolean} isLabels
 * @property {number[]} fill
 */

/**
 * @param {Json} meta
 * @param {number[]} leading sizes of the axes before z, y, x
 * @param {Dtype} dtype
 * @returns {Meta}
 */
export function readMeta(meta, leading, dtype) {
  const axes = readAxes(meta.axes, leading.length);
  const isBool = meta.bool === true;
  if (isBool && dtype.name !== "u1") throw new TincError(`META chunk says bool of ${dtype.name}, expected u1`);
  const at = axes.slice(0, -3).indexOf("c");
  const channels = readChannels(meta.channels, at < 0 ? 0 : leading[at]);
  return { axes, channels, isBool, isLabels: isBool || meta.labels === true, fill: readFill(meta.fill, dtype) };
}

/**
 * @param {unknown} stored
 * @param {number} leading number of axes before z, y, x
 */
function readAxes(stored, leading) {
  const text = stored === undefined ? USUAL_AXES.slice(3 - leading) : stored;
  const axes = typeof text === "string" ? [...text] : [];
  if (axes.length !== leading + 3 || new Set(axes).size !== axes.length || !isPrintable(axes.join(""))) {
    throw new TincError(`META chunk names the axes ${short(stored)}, expected ${leading + 3} different letters`);
  }
  return axes;
}

/**
 * @param {unknown} stored
 * @param {number} count of channels
 * @returns {Channels}
 */
function readChannels(stored, count) {
  if (stored === undefined) return {};
  /** @param {unknown} item */
  const isTexts = (item) =>
    typeof item === "object" &&
    item !== null &&
    !Array.isArray(item) &&
    Object.values(item).every((text) => typeof text === "string");
  if (!Array.isArray(stored) || !stored.every(isTexts) || (stored.length && stored.length !== count)) {
    throw new TincError(`META chunk has the channels ${short(stored)}, expected ${count} objects of texts`);
  }
  /** @type {Channels} */
  const channels = {};
  const colors = stored.map((item) => item.color);
  const windows = stored.map((item) => numbersOfText(item.window));
  if (stored.some((item) => Object.hasOwn(item, "name"))) channels.name = stored.map((item) => item.name ?? "");
  if (colors.length && colors.every((color) => /^#[0-9a-fA-F]{6}$/.test(color))) channels.color = colors;
  if (windows.length && windows.every((one) => one !== null)) channels.window = windows;
  return channels;
}

/**
 * Black and white, from a text as "5 50"; null for another.
 * @param {unknown} text
 * @returns {[number, number] | null}
 */
function numbersOfText(text) {
  if (typeof text !== "string") return null;
  const [black, white, ...more] = text.trim().split(/\s+/).map(Number);
  return Number.isFinite(black) && Number.isFinite(white) && !more.length ? [black, white] : null;
}

/**
 * @param {unknown} stored
 * @param {Dtype} dtype
 * @returns {number[]}
 */
function readFill(stored, dtype) {
  if (stored === undefined || stored === null) return [];
  const { values, voxels = null } = /** @type {{values?: unknown, voxels?: unknown}} */ (
    typeof stored === "object" ? stored : {}
  );
  const isCount = voxels === null || (Number.isInteger(voxels) && Number(voxels) >= 0);
  const isFew = Array.isArray(values) && values.length <= MOST_FILL;
  if (!isFew || !isCount || !values.every((value) => fits(value, dtype))) {
    throw new TincError(
      `META chunk has the fill ${short(stored)}, expected values of ${dtype.name} and a number of voxels`,
    );
  }
  return values;
}

/**
 * Whether something is a finite number that a dtype can have.
 * @param {unknown} value
 * @param {Dtype} dtype
 */
function fits(value, dtype) {
  if (typeof value !== "number" || !Number.isFinite(value)) return false;
  if (!dtype.isFloat) return Number.isInteger(value) && value >= dtype.min && value <= dtype.max;
  if (dtype.name === "f2") return Number.isFinite(fromHalf(toHalf(value)));
  return dtype.name === "f8" || Number.isFinite(Math.fround(value));
}

/** @param {unknown} value */
function short(value) {
  return String(JSON.stringify(value)).slice(0, 80);
}
