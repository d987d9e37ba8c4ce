/** Tests of colours, geometry, pixels and caches of the viewer. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteCache } from "../../docs/viewer/app/cache.js";
import {
  COLORMAP_NAMES,
  colorsOfLabels,
  colorTable,
  hashLabel,
  isColormap,
  labelTable,
} from "../../docs/viewer/app/colors.js";
import * as geometry from "../../docs/viewer/app/geometry.js";
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
import { Preview } from "../../docs/viewer/app/preview.js";
import { castRays } from "../../docs/viewer/app/rays.js";

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
  for (const [value, window] of [
    [7, [0, 7]],
    [-3, [-3, 0]],
    [0, [0, 1]],
  ])
    assert.deepEqual(autoWindow([value, value], []), window);
  assert.deepEqual(autoWindow([...new Array(1000).fill(0), 9], []), [0, 9]);
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
