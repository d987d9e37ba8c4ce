/** TIFF stacks of gray slices: not compressed or deflated, in strips. Anything else is refused with what it is. */

import { TincError } from "../reader/errors.js";
import { ArrayFile } from "./array-file.js";
import { elementSize, elementsOf } from "./elements.js";

const MOST_PAGES = 65536; // A file with more slices is refused.
const LARGEST_PAGE = 2 ** 28; // A slice of more bytes is refused.
const LONGEST_DESCRIPTION = 2 ** 15; // Characters behind so many of a description are not looked at.
const PAGE_CACHE = 2 ** 26; // Decoded slices beyond so many bytes are forgotten, the oldest first.
const MOST_VALUES = 2 ** 22; // Tags of all slices of a file with more values together are refused.
/** Tags that are read: sizes, type, compression, strips, description; and that of tiles, which are refused. */
const TAGS = [256, 257, 258, 259, 270, 273, 277, 278, 279, 317, 322, 339];
/** Bytes of a value, by the type of its tag. */
const TIFF_SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8];
const COMPRESSIONS = /** @type {Record<number, string>} */ ({
  5: "LZW",
  6: "JPEG",
  7: "JPEG",
  32773: "PackBits",
  34925: "LZMA",
  50000: "Zstandard",
  34712: "JPEG 2000",
});

/**
 * @typedef {import('./array-file.js').Source} Source
 * @typedef {import('./elements.js').Values} Values
 * @typedef {{ source: Source, little: boolean, width: number, height: number, code: string, deflated: boolean,
 *   predictor: number, rows: number, offsets: number[], counts: number[], description: string }} Page
 */

/** Reads small pieces of a file through a window, so that a tag is no read of its own. */
class TiffCursor {
  /** @param {Source} source */
  constructor(source) {
    this.source = source;
    this.begin = 0;
    /** @type {Uint8Array} */
    this.bytes = new Uint8Array(0);
    this.little = true;
    this.big = false;
    /** Values of tags that were read. */
    this.values = 0;
  }

  /**
   * @param {number} at
   * @param {number} length
   * @returns {Promise<DataView>}
   */
  async view(at, length) {
    if (!(at >= 0 && length >= 0 && at + length <= this.source.size)) {
      throw new TincError(
        `a part of the TIFF file is at byte ${at}, length ${length}; expected within its ${this.source.size} bytes`,
      );
    }
    if (at < this.begin || at + length > this.begin + this.bytes.length) {
      this.bytes = await this.source.read(at, Math.min(this.source.size, at + Math.max(length, 16384)));
      this.begin = at;
    }
    return new DataView(this.bytes.buffer, this.bytes.byteOffset + at - this.begin, length);
  }

  /**
   * Whole number of a size of 1, 2, 4 or 8 bytes.
   * @param {DataView} view
   * @param {number} at
   * @param {number} size
   */
  number(view, at, size) {
    if (size === 8) return Number(view.getBigUint64(at, this.little));
    return size === 4
      ? view.getUint32(at, this.little)
      : size === 2
        ? view.getUint16(at, this.little)
        : view.getUint8(at);
  }
}

/**
 * Read the directory of one slice.
 * @param {TiffCursor} cursor
 * @param {number} at
 * @returns {Promise<{ tags: Map<number, number[]>, next: number }>}
 */
async function readDirectory(cursor, at) {
  const [countSize, entrySize, wide] = cursor.big ? [8, 20, 8] : [2, 12, 4];
  const count = cursor.number(await cursor.view(at, countSize), 0, countSize);
  if (count > 4096) throw new TincError(`a TIFF directory has ${count} tags; expected at most 4096`);
  const body = await cursor.view(at + countSize, count * entrySize + wide);
  const entries = Array.from({ length: count }, (_, i) => {
    const from = i * entrySize;
    const size = TIFF_SIZES[cursor.number(body, from + 2, 2)] ?? 0;
    const values = cursor.number(body, from + 4, wide);
    const inside = size * values <= wide;
    return {
      tag: cursor.number(body, from, 2),
      size,
      values,
      at: inside ? at + countSize + from + 4 + wide : cursor.number(body, from + 4 + wide, wide),
    };
  });
  const next = cursor.number(body, count * entrySize, wide);
  const tags = new Map();
  for (const entry of entries) {
    if (![1, 2, 4, 8].includes(entry.size) || !TAGS.includes(entry.tag)) continue;
    cursor.values += entry.values;
    if (cursor.values > MOST_VALUES)
      throw new TincError(`tags of the TIFF file have ${cursor.values} values; expected at most ${MOST_VALUES}`);
    const view = await cursor.view(entry.at, entry.size * entry.values);
    tags.set(
      entry.tag,
      Array.from({ length: entry.values }, (_, i) => cursor.number(view, i * entry.size, entry.size)),
    );
  }
  return { tags, next };
}

/**
 * What a directory says of a slice, checked.
 * @param {Source} source
 * @param {TiffCursor} cursor
 * @param {Map<number, number[]>} tags
 * @returns {Page}
 */
function pageOf(source, cursor, tags) {
  const tag = (/** @type {number} */ number, /** @type {number} */ otherwise) => tags.get(number)?.[0] ?? otherwise;
  const [width, height, bits, samples] = [tag(256, 0), tag(257, 0), tag(258, 1), tag(277, 1)];
  const compression = tag(259, 1);
  const code = `${["u", "u", "i", "f"][tag(339, 1)] ?? "?"}${bits / 8}`;
  if (tags.has(322)) throw new TincError("the TIFF file is cut into tiles; expected strips");
  if (samples !== 1) throw new TincError(`the TIFF file has ${samples} samples a pixel; expected 1 (gray)`);
  if (![1, 8, 32946].includes(compression)) {
    throw new TincError(
      `the TIFF file is compressed with ${COMPRESSIONS[compression] ?? `method ${compression}`}; expected none or deflate`,
    );
  }
  const size = elementSize(code, "the TIFF file");
  if (!(width && height && width * height * size <= LARGEST_PAGE)) {
    throw new TincError(
      `a slice of the TIFF file has ${height} x ${width} pixels; expected 1 to ${LARGEST_PAGE} bytes`,
    );
  }
  const predictor = tag(317, 1);
  if (compression !== 1 && (predictor > 2 || (predictor === 2 && (code[0] === "f" || size === 8))))
    throw new TincError(`the TIFF file has predictor ${predictor} of ${code}; expected 1, or 2 of integers up to u4`);
  const rows = Math.min(height, tag(278, height));
  const [offsets, counts] = [tags.get(273) ?? [], tags.get(279) ?? []];
  const strips = Math.ceil(height / Math.max(rows, 1));
  if (rows < 1 || offsets.length !== strips || counts.length !== strips) {
    throw new TincError(`a slice of the TIFF file has ${offsets.length} strips; expected ${strips}`);
  }
  const description = String.fromCharCode(...(tags.get(270) ?? []).slice(0, LONGEST_DESCRIPTION));
  return {
    source,
    little: cursor.little,
    width,
    height,
    code,
    deflated: compression !== 1,
    predictor: compression === 1 ? 1 : predictor, // It is of compressed strips only.
    rows,
    offsets,
    counts,
    description,
  };
}

/**
 * Read the directories of one file.
 * @param {Source} source
 * @returns {Promise<Page[]>}
 */
async function pagesOf(source) {
  const cursor = new TiffCursor(source);
  const head = await cursor.view(0, 16);
  cursor.little = head.getUint8(0) === 0x49;
  cursor.big = cursor.number(head, 2, 2) === 43;
  let at = cursor.number(head, cursor.big ? 8 : 4, cursor.big ? 8 : 4);
  const pages = [];
  const seen = new Set();
  while (at) {
    if (seen.has(at) || pages.length >= MOST_PAGES)
      throw new TincError(`the TIFF file has a circle of slices, or more than ${MOST_PAGES}`);
    seen.add(at);
    const { tags, next } = await readDirectory(cursor, at);
    pages.push(pageOf(source, cursor, tags));
    at = next;
  }
  return pages;
}

/**
 * Slices behind the only directory of a large file of ImageJ.
 * @param {Page[]} pages
 * @returns {Page[]}
 */
function withImageJ(pages) {
  const count = Number(/^ImageJ=[\s\S]*?^images=(\d+)$/m.exec(pages[0].description)?.[1] ?? 1);
  const [page] = pages;
  const bytes = page.width * page.height * elementSize(page.code, "the TIFF file");
  if (pages.length > 1 || count < 2 || page.deflated || count > MOST_PAGES) return pages;
  return Array.from({ length: count }, (_, i) => ({
    ...page,
    rows: page.height,
    offsets: [page.offsets[0] + i * bytes],
    counts: [bytes],
  }));
}

/**
 * Inflate zlib's bytes, never to more than expected.
 * @param {Uint8Array} bytes
 * @param {number} expected
 */
async function inflateStrip(bytes, expected) {
  const result = new Uint8Array(expected);
  let filled = 0;
  const stream = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      filled += value.length;
      if (filled > expected) break;
      result.set(value, filled - value.length);
    }
  } catch (error) {
    throw new TincError(
      `a strip of the TIFF file cannot be inflated (${error instanceof Error ? error.message : error})`,
    );
  }
  await reader.cancel().catch(() => undefined);
  if (filled !== expected)
    throw new TincError(`a strip of the TIFF file inflates to another size; expected ${expected} bytes`);
  return result;
}

/**
 * Decode one slice.
 * @param {Page} page
 * @returns {Promise<Values>}
 */
async function readPage(page) {
  const size = elementSize(page.code, "the TIFF file");
  const bytes = new Uint8Array(page.width * page.height * size);
  for (let strip = 0; strip < page.offsets.length; strip++) {
    const rows = Math.min(page.rows, page.height - strip * page.rows);
    const [expected, at, count] = [rows * page.width * size, page.offsets[strip], page.counts[strip]];
    if (at + count > page.source.size || (!page.deflated && count !== expected)) {
      throw new TincError(
        `a strip of the TIFF file has ${count} bytes at ${at}; expected ${expected} within the file's ${page.source.size}`,
      );
    }
    const raw = await page.source.read(at, at + count);
    bytes.set(page.deflated ? await inflateStrip(raw, expected) : raw, strip * page.rows * page.width * size);
  }
  const values = elementsOf(bytes, page.code, page.little);
  if (page.predictor === 2) {
    for (let i = 1; i < values.length; i++) if (i % page.width) values[i] += values[i - 1];
  }
  return values;
}

/**
 * Sizes of the axes in front of y and x, and their letters, as ImageJ, OME or tifffile wrote them.
 * @param {Page[]} pages
 * @returns {{ sizes: number[], axes: string }}
 */
function stackAxes(pages) {
  const text = pages[0].description;
  const fits = (/** @type {number[]} */ sizes) =>
    sizes.every((n) => n >= 1) && sizes.reduce((a, b) => a * b, 1) === pages.length;
  const count = (/** @type {string} */ key) => Number(new RegExp(`^${key}=(\\d+)$`, "m").exec(text)?.[1] ?? 1);
  const imagej = /^ImageJ=/.test(text) ? [count("frames"), count("slices"), count("channels")] : [];
  if (imagej.length && fits(imagej)) return { sizes: imagej, axes: "tzc" };
  const pixels = /<Pixels\b[^>]*>/.exec(text)?.[0] ?? "";
  const order = /\bDimensionOrder="XY([CTZ]{3})"/.exec(pixels)?.[1].split("").reverse() ?? []; // The first goes fastest.
  const ome = order.map((axis) => Number(new RegExp(`\\bSize${axis}="(\\d+)"`).exec(pixels)?.[1] ?? 1));
  if (ome.length && fits(ome)) return { sizes: ome, axes: order.join("").toLowerCase() };
  const shaped = /^\{"shape": \[([\d, ]+)\]/.exec(text)?.[1].split(",").map(Number).slice(0, -2) ?? [];
  if (shaped.length > 1 && shaped.length <= 4 && fits(shaped))
    return { sizes: shaped, axes: "qtcz".slice(-shaped.length) };
  return { sizes: [pages.length], axes: "z" };
}

/**
 * Open a stack of TIFF slices, in one file or one a slice, in the order given.
 * @param {Source[]} sources
 */
export async function openTiff(sources) {
  /** @type {Page[]} */
  const pages = [];
  for (const source of sources) pages.push(...withImageJ(await pagesOf(source)));
  if (!pages.length) throw new TincError("the TIFF file holds no slice");
  const [{ width, height, code }] = pages;
  const other = pages.find((page) => page.width !== width || page.height !== height || page.code !== code);
  if (other)
    throw new TincError(
      `a slice of the TIFF stack is ${other.height} x ${other.width} ${other.code}; ` +
        `expected ${height} x ${width} ${code}, as the first`,
    );
  const { sizes, axes } = stackAxes(pages);
  const z = axes.indexOf("z");
  const names = [...axes].filter((name, axis) => name !== "z" && sizes[axis] > 1);
  const leading = names.map((name) => sizes[axes.indexOf(name)]);
  /** @type {Map<number, Promise<Values>>} */
  const cache = new Map();
  const most = Math.max(2, Math.floor(PAGE_CACHE / (width * height * elementSize(code, "the TIFF file"))));
  return new ArrayFile({
    flavour: "TIFF",
    shape: [sizes[z], height, width],
    leading,
    axes: [...names, "z", "y", "x"],
    dtype: code,
    nbytes: sources.reduce((sum, source) => sum + source.size, 0),
    rows: async (volume, slice, y0, y1) => {
      let rest = volume;
      const index = sizes.map(() => 0);
      index[z] = slice;
      for (let k = names.length - 1; k >= 0; k--) {
        index[axes.indexOf(names[k])] = rest % leading[k];
        rest = Math.floor(rest / leading[k]);
      }
      const number = sizes.reduce((sum, n, axis) => sum * n + index[axis], 0);
      const page = cache.get(number) ?? readPage(pages[number]);
      cache.delete(number);
      cache.set(number, page);
      page.catch(() => cache.delete(number)); // so that it is read again: a server may have failed
      for (const key of cache.keys()) if (cache.size > most) cache.delete(key);
      return (await page).subarray(y0 * width, y1 * width);
    },
  });
}
