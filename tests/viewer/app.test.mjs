/** Tests of the viewer's parts that need no browser. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { ByteCache } from "../../docs/viewer/app/cache.js";
import {
  COLORMAP_NAMES,
  colorsOfLabels,
  colorTable,
  hashLabel,
  isColormap,
  labelTable,
} from "../../docs/viewer/app/colors.js";
import { Dataset } from "../../docs/viewer/app/dataset.js";
import { halfFloat } from "../../docs/viewer/app/elements.js";
import { addressInput, filesInput } from "../../docs/viewer/app/files.js";
import * as geometry from "../../docs/viewer/app/geometry.js";
import { leafAt, worstError } from "../../docs/viewer/app/leaves.js";
import { openNpy } from "../../docs/viewer/app/npy.js";
import {
  addColors,
  autoWindow,
  finiteRange,
  histogram,
  labelColor,
  makeLook,
  makeRaster,
  paintPiece,
  paintRect,
} from "../../docs/viewer/app/paint.js";
import { nextJob } from "../../docs/viewer/app/planner.js";
import { Preview } from "../../docs/viewer/app/preview.js";
import { castRays } from "../../docs/viewer/app/rays.js";
import { openTiff } from "../../docs/viewer/app/tiff.js";
import { factLines, leafText, promiseText, sizeText } from "../../docs/viewer/app/words.js";
import { sharedSource } from "../../docs/viewer/app/workers.js";
import { TincError } from "../../docs/viewer/reader/errors.js";

const FOLDER = new URL("../../docs/viewer/", import.meta.url);

/** A file in memory. @param {Uint8Array} bytes */
const sourceOf = (bytes) => ({ size: bytes.length, read: async (start, end) => bytes.slice(start, end) });

/** Bytes of a .npy file. @param {string} descr @param {number[]} shape @param {ArrayBufferView} values */
function npyBytes(descr, shape, values, order = "False") {
  const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape.join(", ")}), }`;
  const header = `${text.padEnd(117)}\n`;
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return new Uint8Array(
    Buffer.concat([Buffer.from("\x93NUMPY\x01\x00", "latin1"), Buffer.from([118, 0]), Buffer.from(header), bytes]),
  );
}

/** Bytes of a TIFF stack with one strip a slice. */
function tiffBytes(
  slices,
  { width, height, bits, format = 1, compression = 1, predictor = 1, little = true, description = "", more = [] },
) {
  const parts = [Buffer.alloc(8)];
  let at = 8;
  const push = (bytes) => {
    parts.push(bytes);
    at += bytes.length;
    return at - bytes.length;
  };
  const u16 = (value) => (little ? Buffer.from([value & 255, value >> 8]) : Buffer.from([value >> 8, value & 255]));
  const u32 = (value) => {
    const bytes = Buffer.alloc(4);
    if (little) bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    return bytes;
  };
  const text = description ? push(Buffer.from(`${description}\0`)) : 0;
  const strips = slices.map((slice) => [push(slice), slice.length]);
  const patches = [];
  strips.forEach(([offset, length], i) => {
    const tags = [
      [256, 4, 1, width],
      [257, 4, 1, height],
      [258, 3, 1, bits],
      [259, 3, 1, compression],
      [273, 4, 1, offset],
      [277, 3, 1, 1],
      [278, 4, 1, height],
      [279, 4, 1, length],
      [317, 3, 1, predictor],
      [339, 3, 1, format],
      ...more,
    ].filter(([, , , value]) => value !== undefined);
    if (description && i === 0) tags.push([270, 2, description.length + 1, text]);
    const entries = tags.map(([tag, type, count, value]) =>
      Buffer.concat([
        u16(tag),
        u16(type),
        u32(count),
        type === 3 && count === 1 ? Buffer.concat([u16(value), u16(0)]) : u32(value),
      ]),
    );
    patches.push(push(Buffer.concat([u16(tags.length), ...entries, u32(0)])), tags.length);
  });
  const bytes = Buffer.concat(parts);
  const put = (value, place) => u32(value).copy(bytes, place);
  bytes.write(little ? "II" : "MM", 0, "latin1");
  u16(42).copy(bytes, 2);
  put(patches[0], 4);
  for (let i = 0; i + 2 < patches.length; i += 2) put(patches[i + 2], patches[i] + 2 + 12 * patches[i + 1]);
  return new Uint8Array(bytes);
}

test("npy: boxes of values, of both byte orders and with leading axes", async () => {
  const values = Uint16Array.from({ length: 2 * 3 * 4 * 5 }, (_, i) => i * 7);
  const file = await openNpy(sourceOf(npyBytes("<u2", [2, 3, 4, 5], values)));
  assert.deepEqual(file.describe(), {
    flavour: "npy",
    shape: [3, 4, 5],
    leading: [2],
    axes: ["c", "z", "y", "x"],
    dtype: "u2",
    nbytes: 128 + 240,
    volumes: 2,
  });
  const box = await file.decode(1, [1, 1, 2, 3, 3, 5]);
  assert.deepEqual(
    [...box],
    [87, 88, 89, 92, 93, 94, 107, 108, 109, 112, 113, 114].map((i) => i * 7),
  );
  const swapped = new Uint8Array(values.buffer.slice(0));
  for (let i = 0; i < swapped.length; i += 2) [swapped[i], swapped[i + 1]] = [swapped[i + 1], swapped[i]];
  const big = await openNpy(sourceOf(npyBytes(">u2", [2, 3, 4, 5], swapped)));
  assert.deepEqual(await big.decode(1, [1, 1, 2, 3, 3, 5]), box);
  const coarse = await file.coarse(0, 2);
  assert.deepEqual(coarse.shape, [2, 2, 3]);
  assert.equal(coarse.values[0], (20 + 5 + 1) * 7);
});

test("npy: refused with a sentence", async () => {
  const values = new Float32Array(27);
  const refused = (bytes, what) =>
    assert.rejects(
      () => openNpy(sourceOf(bytes)),
      (error) => error instanceof TincError && what.test(error.message),
    );
  await refused(npyBytes("<f4", [3, 3, 3], values, "True"), /Fortran order; expected C order/);
  await refused(npyBytes("<f4", [3, 9], values), /2 axes; expected 3 to 6/);
  await refused(npyBytes("<f4", [3, 3, 4], values), /expected 144/);
  await refused(npyBytes("<c8", [3, 3, 3], values), /type c8; expected one of/);
  await refused(npyBytes("|O", [3, 3, 3], values), /not understood/);
});

test("halfFloat: normal, small and special numbers", () => {
  assert.deepEqual([0x3c00, 0xc000, 0x7bff, 1, 0x8000].map(halfFloat), [1, -2, 65504, 2 ** -24, -0]);
  assert.equal(halfFloat(0x7c00), Number.POSITIVE_INFINITY);
  assert.ok(Number.isNaN(halfFloat(0x7e00)));
});

test("TIFF: plain and deflated slices, both byte orders, with and without predictor", async () => {
  const [width, height] = [5, 3];
  const planes = [0, 1, 2].map((z) => Int16Array.from({ length: 15 }, (_, i) => 1000 * z - 7 * i));
  for (const little of [true, false]) {
    for (const [compression, predictor] of [
      [1, 1],
      [8, 1],
      [8, 2],
      [32946, 1],
    ]) {
      const slices = planes.map((plane) => {
        const bytes = Buffer.alloc(30);
        plane.forEach((value, i) => {
          const stored = predictor === 2 && i % width ? (value - plane[i - 1]) & 65535 : value & 65535;
          if (little) bytes.writeUInt16LE(stored, 2 * i);
          else bytes.writeUInt16BE(stored, 2 * i);
        });
        return compression === 1 ? bytes : deflateSync(bytes);
      });
      const file = await openTiff([
        sourceOf(tiffBytes(slices, { width, height, bits: 16, format: 2, compression, predictor, little })),
      ]);
      assert.deepEqual(file.facts.shape, [3, 3, 5]);
      assert.equal(file.facts.dtype, "i2");
      const values = await file.decode(0, [1, 0, 1, 3, 2, 3]);
      assert.deepEqual(
        [...values],
        [
          planes[1][1],
          planes[1][2],
          planes[1][6],
          planes[1][7],
          planes[2][1],
          planes[2][2],
          planes[2][6],
          planes[2][7],
        ],
      );
    }
  }
});

test("TIFF: one file a slice, and axes as ImageJ and tifffile write them", async () => {
  const slices = Array.from({ length: 6 }, (_, i) => Buffer.from([i, i, i, i]));
  const options = { width: 2, height: 2, bits: 8 };
  const files = slices.map((slice) => sourceOf(tiffBytes([slice], options)));
  assert.deepEqual((await openTiff(files)).facts.shape, [6, 2, 2]);
  const imagej = await openTiff([
    sourceOf(tiffBytes(slices, { ...options, description: "ImageJ=1.11a\nimages=6\nchannels=2\nslices=3\n" })),
  ]);
  assert.deepEqual(
    [imagej.facts.shape, imagej.facts.leading, imagej.facts.axes],
    [[3, 2, 2], [2], ["c", "z", "y", "x"]],
  );
  assert.deepEqual([...(await imagej.decode(1, [0, 0, 0, 3, 1, 1]))], [1, 3, 5]);
  const shaped = await openTiff([sourceOf(tiffBytes(slices, { ...options, description: '{"shape": [2, 3, 2, 2]}' }))]);
  assert.deepEqual([...(await shaped.decode(1, [0, 0, 0, 3, 1, 1]))], [3, 4, 5]);
});

test("TIFF: refused with a sentence", async () => {
  const slice = Buffer.from([1, 2, 3, 4]);
  const plain = { width: 2, height: 2, bits: 8 };
  const refused = (bytes, what) =>
    assert.rejects(
      async () => (await openTiff([sourceOf(bytes)])).decode(0, [0, 0, 0, 1, 2, 2]),
      (error) => error instanceof TincError && what.test(error.message),
    );
  await refused(tiffBytes([slice], { ...plain, compression: 5 }), /LZW; expected none or deflate/);
  await refused(tiffBytes([slice], { ...plain, compression: 8 }), /cannot be inflated/);
  await refused(
    tiffBytes([deflateSync(Buffer.alloc(100000))], { ...plain, compression: 8 }),
    /another size; expected 4 bytes/,
  );
  await refused(
    tiffBytes([deflateSync(Buffer.alloc(3))], { ...plain, compression: 8 }),
    /another size; expected 4 bytes/,
  );
  await refused(tiffBytes([slice], { ...plain, bits: 12 }), /type u1.5; expected one of/);
  await refused(tiffBytes([slice], { ...plain, width: 3 }), /4 bytes at 8; expected 6/);
  await refused(tiffBytes([slice], { ...plain, width: 2 ** 31 - 1, height: 2 ** 30 }), /pixels; expected/);
  await refused(tiffBytes([slice], { ...plain, more: [[322, 3, 1, 16]] }), /tiles; expected strips/);
  await refused(tiffBytes([slice], plain).slice(0, -9), /expected within its/);
  const circle = tiffBytes([slice], plain);
  circle.set(circle.slice(4, 8), circle.length - 4);
  await refused(circle, /circle of slices/);
});

test("colormaps: their ends, names from files, stable colours of labels", () => {
  assert.deepEqual([...colorTable("gray")].slice(0, 2), [0xff000000, 0xff010101]);
  assert.equal(colorTable("gray")[255], 0xffffffff);
  assert.equal(colorTable("magenta")[255], 0xffff00ff);
  assert.equal(colorTable("#ff8000")[255], 0xff0080ff);
  assert.equal(colorTable("#000000 #ff0000 #ffffff")[255], 0xffffffff);
  for (const name of COLORMAP_NAMES) assert.equal(colorTable(name).length, 256);
  assert.ok(isColormap("#12ab34") && !isColormap("<b>") && !isColormap("constructor") && !isColormap(7));
  const hashes = Array.from({ length: 2000 }, (_, i) => hashLabel(i + 1) & 4095);
  assert.ok(new Set(hashes).size > 1500);
  assert.equal(hashLabel(12345), hashLabel(12345));
  assert.ok(labelTable().every((color) => color >>> 24 === 255));
  assert.equal(addColors(0xff8000ff, 0xff9010ff), 0xffff10ff);
});

test("labels: their own colours go before those by their hash", () => {
  const named = colorsOfLabels({ 3: ["liver", "#ff0000"], 4: ["spleen"], 5: "wrong", 6: ["", "javascript:"] });
  assert.deepEqual([...named], [[3, 0xff0000ff]]);
  const look = makeLook(labelTable(), 0, 1, true, named);
  assert.equal(labelColor(look, 3), 0xff0000ff);
  assert.equal(labelColor(look, 4), labelTable()[hashLabel(4) & 4095]);
});

test("leaves: the one at a voxel, and the largest error", () => {
  const nan = Number.NaN;
  const leaves = Float64Array.of(0, 0, 0, 4, 8, 8, 1, 0, 120, 1.5, 9, 4, 0, 0, 8, 8, 8, 2, 3, nan, nan, nan);
  assert.equal(worstError(leaves), 1.5);
  assert.equal(leafText(leafAt(leaves, [3, 7, 7])), "network leaf, level 1, 120 bytes, RMSE 1.5, largest error 9");
  assert.equal(leafText(leafAt(leaves, [4, 0, 0])), "bounded leaf, level 2");
  assert.equal(leafAt(leaves, [8, 0, 0]), null);
});

test("files: slices go by their numbers, and addresses of other kinds are refused", async () => {
  const files = ["s10.tif", "s9.tif", "s1.tif"].map((name) => ({ name }));
  const input = filesInput(files);
  assert.equal(input.name, "s1.tif and 2 more");
  assert.deepEqual(
    input.parts.map(({ blob }) => blob.name),
    ["s1.tif", "s9.tif", "s10.tif"],
  );
  globalThis.location = { href: "https://a.example/viewer/" };
  await assert.rejects(() => addressInput("javascript:alert(1)", () => {}), /begins with javascript:; expected https/);
});

test("sharedSource: no range is read twice, and bytes are counted once", async () => {
  let count = 0;
  const source = sharedSource(sourceOf(new Uint8Array(100)), (bytes) => {
    count += bytes;
  });
  await Promise.all([source.read(0, 10), source.read(0, 10), source.read(10, 30)]);
  assert.equal(count, 30);
});

test("geometry: the grid's cells meet the octree's, and cover the volume", () => {
  const grid = geometry.cutGrid([100, 33, 7], 512);
  assert.deepEqual(
    [grid.edges[0][0], grid.edges[0].at(-1), grid.edges[1].at(-1), grid.edges[2].at(-1)],
    [0, 100, 33, 7],
  );
  assert.deepEqual(geometry.cutGrid([128, 128, 128], 4096).counts, [8, 8, 8]);
  assert.deepEqual(geometry.cutGrid([1, 1, 5], 4096).counts, [1, 1, 1]);
  for (const edges of grid.edges) {
    for (let voxel = 0; voxel < edges.at(-1); voxel++) {
      const cell = geometry.cellAt(edges, voxel);
      assert.ok(edges[cell] <= voxel && voxel < edges[cell + 1]);
    }
  }
  assert.deepEqual(geometry.cellsBetween([0, 10, 20, 30], 5, 20), [0, 1]);
  assert.deepEqual(geometry.joinCells({ edges: [[0, 1, 2, 3, 5]], counts: [4] }, 2).edges, [[0, 2, 5]]);
  assert.deepEqual(geometry.joinCells({ edges: [[0, 4]], counts: [1] }, 4).edges, [[0, 4]]);
});

test("geometry: a zoomed and moved view takes voxels to pixels and back", () => {
  const plane = geometry.VIEW_PLANES[0];
  assert.deepEqual(geometry.relativeSpacing([3, 1.5, 1.5]), [2, 1, 1]);
  assert.equal(geometry.fitScale(geometry.VIEW_PLANES[2], [10, 20, 40], [2, 1, 1], 400, 100), 5);
  const frame = geometry.frameOf(plane, [0, 10, 20], 4, [2, 1, 1], 400, 300);
  assert.deepEqual(frame, { px: 4, py: 4, x0: 120, y0: 110 });
  assert.deepEqual(geometry.visibleRect(frame, plane, [5, 30, 100], 400, 300), { r0: 0, r1: 70, d0: 0, d1: 30 });
  assert.deepEqual(geometry.sliceBox(plane, 3, 1, 2, 5, 7), [3, 5, 1, 4, 7, 2]);
  assert.equal(geometry.volumeNumber([3, 4], [2, 1]), 9);
});

test("geometry: letters of a body's directions", () => {
  const affine = [
    [2, 0, 0, 0],
    [0, 0.1, -3, 0],
    [0, -1, 0.2, 0],
  ];
  assert.deepEqual(geometry.directionsOf(affine, "RAS"), [
    ["I", "S"],
    ["R", "L"],
    ["A", "P"],
  ]);
  assert.deepEqual(geometry.directionsOf(affine, "LPS"), [
    ["I", "S"],
    ["L", "R"],
    ["P", "A"],
  ]);
  assert.equal(geometry.directionsOf(affine, undefined), null);
});

test("paint: strides, steps and looks", () => {
  const look = makeLook(colorTable("gray"), 0, 256, false);
  const values = Uint8Array.from({ length: 60 }, (_, i) => i);
  const raster = makeRaster({ r0: 1, r1: 4, d0: 0, d1: 2 });
  paintRect(raster, { r0: 0, r1: 5, d0: 0, d1: 4 }, values, 20, 1, 5, look, false);
  assert.deepEqual(
    [...raster.pixels].map((pixel) => pixel & 255),
    [21, 22, 23, 26, 27, 28],
  );
  const half = makeRaster({ r0: 1, r1: 5, d0: 1, d1: 4 }, 2);
  assert.deepEqual([half.r0, half.d0, half.columns, half.rows], [0, 0, 3, 2]);
  paintRect(half, { r0: 0, r1: 5, d0: 0, d1: 4 }, values, 0, 1, 5, look, false);
  assert.deepEqual(
    [...half.pixels].map((pixel) => pixel & 255),
    [0, 2, 4, 10, 12, 14],
  );
  paintRect(half, { r0: 0, r1: 5, d0: 0, d1: 4 }, values, 0, 1, 5, look, true);
  assert.equal(half.pixels[5] & 255, 28);
  const part = makeRaster({ r0: 0, r1: 5, d0: 0, d1: 1 });
  paintRect(part, { r0: 2, r1: 4, d0: 0, d1: 1 }, values, 7, 1, 5, look, false);
  assert.deepEqual(
    [...part.pixels].map((pixel) => pixel & 255),
    [0, 0, 7, 8, 0],
  );
  const odd = makeRaster({ r0: 0, r1: 4, d0: 0, d1: 1 });
  paintRect(
    odd,
    { r0: 0, r1: 4, d0: 0, d1: 1 },
    Float32Array.of(Number.NaN, -9, Number.POSITIVE_INFINITY, 128),
    0,
    1,
    4,
    look,
    false,
  );
  assert.deepEqual(
    [...odd.pixels].map((pixel) => pixel & 255),
    [0, 0, 255, 128],
  );
  const labels = makeRaster({ r0: 0, r1: 2, d0: 0, d1: 1 });
  paintRect(
    labels,
    { r0: 0, r1: 2, d0: 0, d1: 1 },
    Uint16Array.of(0, 300),
    0,
    1,
    2,
    makeLook(labelTable(), 0, 1, true),
    false,
  );
  assert.deepEqual([...labels.pixels], [0xff000000, labelTable()[hashLabel(300) & 4095]]);
});

test("paint: pieces of a slice, of every voxel and of every fourth", () => {
  const look = makeLook(colorTable("gray"), 0, 256, false);
  const plane = geometry.VIEW_PLANES[1];
  const raster = makeRaster({ r0: 2, r1: 9, d0: 5, d1: 12 }, 4);
  assert.deepEqual([raster.r0, raster.d0, raster.columns, raster.rows], [0, 4, 3, 2]);
  const box = [0, 4, 6, 10, 12, 8];
  const values = Uint8Array.from({ length: 10 * 8 * 2 }, (_, i) => i);
  paintPiece(raster, { values, box, step: 1 }, plane, 7, look, false);
  const expected = [4, 8].flatMap((y) => [0, 4, 8].map((z) => (z * 8 + y - 4) * 2 + 1));
  assert.deepEqual(
    [...raster.pixels].map((pixel) => pixel & 255),
    expected,
  );
  paintPiece(raster, { values: Uint8Array.of(1, 2, 3, 4, 5, 6), box, step: 4 }, plane, 7, look, false);
  assert.deepEqual(
    [...raster.pixels].map((pixel) => pixel & 255),
    [1, 3, 5, 2, 4, 6],
  );
});

test("paint: window and histogram by finite values", () => {
  assert.deepEqual(finiteRange([Number.NaN, 3, -2, Number.POSITIVE_INFINITY]), [-2, 3]);
  assert.deepEqual(finiteRange([Number.NaN]), [0, 1]);
  assert.deepEqual([...histogram([0, 1, 2, 3, 4, Number.NaN], 0, 4, 2)], [2, 3]);
  assert.deepEqual(autoWindow([-32768, 0, 5, 10], [-32768]), [0, 10]);
  const [low, high] = autoWindow([7, 7, 7], []);
  assert.ok(low === 7 && high > 7);
});

test("rays: the maximum along a ray, and the first label", () => {
  const values = new Float32Array(8 ** 3);
  values[(4 * 8 + 4) * 8 + 4] = 200;
  const coarse = { shape: [8, 8, 8], values, factors: [1, 1, 1] };
  const pixels = new Uint32Array(64 * 64);
  castRays(pixels, 64, coarse, [1, 1, 1], makeLook(colorTable("gray"), 0, 256, false), 0.7, 0.3, false);
  assert.equal(Math.max(...pixels.map((pixel) => pixel & 255)), 200);
  assert.equal(pixels[0], 0);
  const marked = new Uint32Array(64 * 64);
  castRays(marked, 64, coarse, [1, 1, 1], makeLook(labelTable(), 0, 1, true), 0.7, 0.3, false);
  assert.deepEqual(
    [...new Set(marked)].sort((a, b) => a - b),
    [0, labelTable()[hashLabel(200) & 4095]],
  );
});

test("preview: smooth between coarse cells, exact where voxels are known, and labels never mixed", () => {
  const coarse = { shape: [1, 1, 2], values: Float32Array.of(0, 100), factors: [1, 1, 4] };
  const preview = new Preview([1, 1, 8]);
  preview.fill(coarse, true);
  assert.deepEqual([...preview.values], [0, 0, 12.5, 37.5, 62.5, 87.5, 100, 100]);
  preview.sample([0, 0, 2, 1, 1, 4], Uint8Array.of(7, 8));
  preview.fill(coarse, false);
  assert.deepEqual([...preview.values], [0, 0, 7, 8, 100, 100, 100, 100]);
  const large = new Preview([256, 16, 200]);
  assert.deepEqual(large.shape, [64, 4, 50]);
  large.sample([0, 0, 0, 256, 16, 200], new Uint8Array(256 * 16 * 200).fill(3));
  assert.deepEqual([large.filled, Math.min(...large.values)], [64 * 4 * 50, 3]);
});

test("cache: forgets the least recently used beyond its budget", () => {
  const cache = new ByteCache(10);
  cache.set("1/a", new Uint8Array(4));
  cache.set("1/b", new Uint8Array(4));
  cache.get("1/a");
  cache.set("2/c", new Uint8Array(4));
  assert.deepEqual([cache.has("1/a"), cache.has("1/b"), cache.bytes, cache.forgotten], [true, false, 8, 1]);
  cache.clear("1/");
  assert.deepEqual([...cache.entries.keys()], ["2/c"]);
});

/** A dataset and a scene of it. */
function sceneOf(meta, cache = new ByteCache(2 ** 24), remote = false) {
  const full = {
    flavour: "tinc",
    shape: [64, 64, 64],
    leading: [],
    axes: ["z", "y", "x"],
    dtype: "u1",
    nbytes: 1000,
    volumes: 1,
    whole: 0,
    networks: true,
    overviewCell: 0,
    ...meta,
  };
  const dataset = new Dataset(1, "a.tinc", full, remote, cache);
  const seen = geometry.VIEW_PLANES.map((plane) => ({
    plane,
    slice: 32,
    rect: { r0: 0, r1: 64, d0: 0, d1: 64 },
    step: 1,
  }));
  return {
    dataset,
    scene: { sets: [{ dataset, volumes: [0], calibrated: true }], seen, at: [32, 32, 32], volume: 0, leaves: false },
  };
}

/** Do all jobs, with values that tell the voxel. @returns {string[]} their tasks and boxes */
function work(scene, most = 10000) {
  const log = [];
  for (let job = nextJob(scene, new Set()); job && log.length < most; job = nextJob(scene, new Set())) {
    log.push(`${job.task} ${job.box ?? ""}`);
    if (job.task === "coarse" && job.box) {
      const count = (axis) => Math.ceil(job.box[axis + 3] / job.factor) - Math.floor(job.box[axis] / job.factor);
      job.done({ shape: [], values: new Float32Array(count(0) * count(1) * count(2)) });
    } else if (job.task === "coarse") job.done({ shape: [32, 32, 32], values: new Float32Array(32 ** 3) });
    else if (job.task === "allLeaves") job.done(new Float64Array(0));
    else {
      const [z0, y0, x0, z1, y1, x1] = job.box;
      const values = new Uint8Array((z1 - z0) * (y1 - y0) * (x1 - x0));
      let at = 0;
      for (let z = z0; z < z1; z++)
        for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) values[at++] = (z + 3 * y + 7 * x) & 255;
      job.done(values);
    }
  }
  return log;
}

test("planner: of networks the coarse look first, then slices, then bricks around them", () => {
  const { dataset, scene } = sceneOf({});
  const log = work(scene);
  assert.equal(log[0].split(" ")[0], "coarse");
  assert.deepEqual(log.slice(1, 4), ["decode 32,0,0,33,64,64", "decode 0,0,32,64,64,33", "decode 0,32,0,64,33,64"]);
  assert.ok(log[4].startsWith("coarse"), "a better look follows what is on the screen");
  assert.equal(log.length, 5 + 64);
  assert.ok(dataset.isWhole(0, true));
  assert.equal(dataset.valueAt("1/0/", geometry.VIEW_PLANES[0], [32, 5, 60]), (32 + 15 + 420) & 255);
  assert.equal(
    dataset.previewOf(0).values[dataset.previewOf(0).values.length - 1],
    geometry.valueIn([(63 * 11) & 255], [63, 63, 63, 64, 64, 64], [63, 63, 63]),
  );
  assert.equal(nextJob({ ...scene, leaves: true }, new Set()).task, "allLeaves");
  assert.equal(nextJob({ ...scene, leaves: true }, new Set(["1/leaves/0"])), null);
});

test("planner: of blocks whole blocks, those on the screen first; of a server's file no others", () => {
  const local = sceneOf({ whole: 16 ** 3, networks: false });
  assert.deepEqual(work(local.scene).slice(0, 2), ["coarse ", "decode 32,0,0,48,16,16"]);
  assert.ok(local.dataset.isWhole(0, true));
  const remote = sceneOf({ whole: 16 ** 3, networks: false, nbytes: 10 ** 6 }, undefined, true);
  const log = work(remote.scene);
  assert.equal(log.length, 64 - 27);
  assert.ok(log.every((line) => line.split(" ")[1].split(",").map(Number).slice(0, 3).includes(32)));
  const labels = sceneOf({ whole: 16 ** 3, networks: false, labels: true });
  assert.equal(work(labels.scene).length, 64, "there is no quick look at labels");
});

test("planner: of large networks only what the screen can show, and slices next to it", () => {
  const { dataset, scene } = sceneOf({ shape: [512, 512, 512] });
  const rect = { r0: 0, r1: 512, d0: 0, d1: 512 };
  const seen = geometry.VIEW_PLANES.map((plane) => ({ plane, slice: 100, rect, step: 4 }));
  const log = work({ ...scene, at: [100, 100, 100], seen });
  assert.deepEqual(log.slice(0, 2), ["coarse ", "coarse 100,0,0,101,256,256"]);
  assert.equal(log.length, 1 + 3 * 4 + 1 + 4 * 4);
  assert.equal(dataset.valueAt("1/0/", geometry.VIEW_PLANES[0], [100, 0, 0]), null, "a value is shown of voxels only");
  const raw = nextJob({ ...scene, seen, sets: [{ dataset, volumes: [0], calibrated: false }] }, new Set());
  assert.equal(raw.task, "decode", "coarse values are calibrated ones");
});

test("planner: of one slice of a server's file nothing else is read", () => {
  const { scene } = sceneOf({ whole: 16 ** 3, networks: false, overviewCell: 2, nbytes: 10 ** 6 }, undefined, true);
  assert.equal(nextJob(scene, new Set()).task, "coarse");
  const log = work({ ...scene, seen: scene.seen.slice(0, 1) });
  assert.equal(log.length, 16);
  assert.ok(log.every((line) => line.startsWith("decode 32,")));
});

test("planner: a volume that does not fit into the cache is decoded slice by slice", () => {
  const { scene } = sceneOf({ whole: 16 ** 3, networks: false }, new ByteCache(100_000));
  const log = work(scene, 50).slice(1);
  assert.ok(
    log.every((line) =>
      line
        .split(" ")[1]
        .split(",")
        .map(Number)
        .some((low, axis, box) => axis < 3 && box[axis + 3] - low === 1),
    ),
  );
  assert.ok(log.length < 50);
});

test("planner: slices that do not fit into the cache together are not decoded", () => {
  const { scene } = sceneOf({ whole: 16 ** 3, networks: false }, new ByteCache(11_000));
  assert.deepEqual(work(scene, 50).slice(1), ["decode 32,0,0,33,64,64", "decode 0,0,32,64,64,33"]);
});

test("planner: a job that failed is not asked for again", () => {
  const { dataset, scene } = sceneOf({});
  const first = nextJob(scene, new Set());
  dataset.failed.add(first.key);
  assert.notEqual(nextJob(scene, new Set())?.key, first.key);
});

test("words: promises and sizes", () => {
  const meta = {
    flavour: "tinc",
    shape: [10, 10, 10],
    leading: [2],
    axes: ["c", "z", "y", "x"],
    dtype: "u2",
    nbytes: 100,
    volumes: 2,
    kind: "blocks",
    fill: [],
    provenance: { psnr: "0033.670", encoder: "napari-tinc 0.1.0" },
  };
  assert.match(promiseText({ ...meta, errorBound: 0 }), /bit for bit/);
  assert.equal(promiseText({ ...meta, errorBound: 2.5 }), "No voxel is off by more than 2.5.");
  assert.match(promiseText({ ...meta, errorBound: null }), /No bound on single voxels/);
  const lines = Object.fromEntries(factLines(meta));
  assert.deepEqual(
    [lines.PSNR, lines.Size, lines.Values, lines.Array],
    ["33.67 dB when written", "2 channels, 10 × 10 × 10", "uint16", "4.0 kB, 40 times the file"],
  );
  assert.deepEqual([999, 32609, 2e6, 123e6].map(sizeText), ["999 bytes", "32.6 kB", "2.0 MB", "123 MB"]);
});

test("modules: their top-level names differ, as a page with everything inside may put them in one scope", () => {
  const names = new Map();
  for (const folder of ["reader/", "app/", ""]) {
    for (const file of readdirSync(new URL(folder || ".", FOLDER)).filter((name) => name.endsWith(".js"))) {
      const text = readFileSync(new URL(folder + file, FOLDER), "utf8");
      const isOurs = folder !== "reader/";
      assert.doesNotMatch(text, /^export default|^await /m, file);
      if (isOurs) assert.doesNotMatch(text, /^(import|export) .* as |^export \*/m, file);
      if (folder + file !== "app/workers.js") assert.doesNotMatch(text, /import\.meta/, file);
      for (const [, name] of text.matchAll(/^(?:export )?(?:async )?(?:const|let|var|class|function\*?) (\w+)/gm)) {
        assert.ok(!isOurs || !names.has(name), `${name} in ${folder}${file} and ${names.get(name)}`);
        names.set(name, folder + file);
      }
    }
  }
});

test("page: no script, style or handler of its own in the HTML, and nothing of a file becomes HTML", () => {
  const page = readFileSync(new URL("index.html", FOLDER), "utf8");
  assert.match(page, /default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'/);
  assert.doesNotMatch(page, /<style|\sstyle=|\son\w+=|<script(?![^>]*src=)/);
  for (const file of readdirSync(new URL("app/", FOLDER))) {
    assert.doesNotMatch(
      readFileSync(new URL(`app/${file}`, FOLDER), "utf8"),
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc/,
      file,
    );
  }
});
