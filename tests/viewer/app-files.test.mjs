/** Tests of what reads arrays for the viewer, and of where files come from. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { halfFloat } from "../../docs/viewer/app/elements.js";
import { addressInput, filesInputs } from "../../docs/viewer/app/files.js";
import { openAny } from "../../docs/viewer/app/formats.js";
import { openNpy } from "../../docs/viewer/app/npy.js";
import { openTiff } from "../../docs/viewer/app/tiff.js";
import { sharedSource } from "../../docs/viewer/app/workers.js";
import { TincError } from "../../docs/viewer/reader/errors.js";

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
  await refused(
    tiffBytes([deflateSync(Buffer.alloc(32))], { ...plain, bits: 64, format: 2, compression: 8, predictor: 2 }),
    /predictor 2/,
  );
  await refused(tiffBytes([slice], { ...plain, more: [[273, 1, 2 ** 22 + 1, 8]] }), /values; expected at most/);
  const noPredictor = await openTiff([sourceOf(tiffBytes([slice], { ...plain, predictor: 2 }))]);
  assert.deepEqual([...(await noPredictor.decode(0, [0, 0, 0, 1, 2, 2]))], [...slice]);
  const other = [[700, 1, 2 ** 22 + 1, 8]]; // A tag that is not read may be of any size.
  await openTiff([sourceOf(tiffBytes([slice], { ...plain, more: other }))]);
  const circle = tiffBytes([slice], plain);
  circle.set(circle.slice(4, 8), circle.length - 4);
  await refused(circle, /circle of slices/);
});

test("files: slices go by their numbers, and addresses of other kinds are refused", async () => {
  const files = ["s10.tif", "s9.tif", "s1.tif"].map((name) => ({ name }));
  const [input, ...others] = filesInputs(files);
  assert.deepEqual(others, []);
  assert.equal(input.name, "s1.tif and 2 more");
  assert.deepEqual(
    input.parts.map(({ blob }) => blob.name),
    ["s1.tif", "s9.tif", "s10.tif"],
  );
  const two = filesInputs([{ name: "original.npy" }, { name: "Volume.TINC" }]);
  assert.deepEqual(
    two.map(({ name }) => name),
    ["Volume.TINC", "original.npy"],
  );
  const stack = filesInputs([{ name: "s1.tif" }, { name: "v.tinc" }, { name: "s0.tif" }]);
  assert.deepEqual(
    stack.map(({ parts }) => parts.map(({ blob }) => blob.name)),
    [["v.tinc"], ["s0.tif", "s1.tif"]],
  );
  globalThis.location = { href: "https://a.example/viewer/" };
  await assert.rejects(() => addressInput("http://", () => {}), /no address of a file/);
  await assert.rejects(() => addressInput("javascript:alert(1)", () => {}), /begins with javascript:; expected https/);
});

test("files: the name of an address is decoded, and as it is where it cannot be", async (context) => {
  globalThis.location = { href: "https://a.example/viewer/" };
  context.mock.method(globalThis, "fetch", async () => new Response(new Uint8Array(20)));
  const name = async (address) => (await addressInput(address, () => {})).name;
  assert.equal(await name("/a%20b.tinc"), "a b.tinc");
  assert.equal(await name("/100%.tinc"), "100%.tinc");
});

test("sharedSource: no range is read twice, and bytes are counted once", async () => {
  let count = 0;
  const source = sharedSource(sourceOf(new Uint8Array(100)), (bytes) => {
    count += bytes;
  });
  await Promise.all([source.read(0, 10), source.read(0, 10), source.read(10, 30)]);
  assert.equal(count, 30);
});

test("TIFF: the axes of OME", async () => {
  const slices = Array.from({ length: 6 }, (_, i) => new Uint8Array([i, i]));
  const xml = (order) =>
    `<?xml version="1.0"?><OME><Image><Pixels DimensionOrder="${order}" SizeC="2" SizeT="1" SizeZ="3"/></Image></OME>`;
  for (const [order, second] of [
    ["XYZCT", [3, 3, 4, 4, 5, 5]],
    ["XYCZT", [1, 1, 3, 3, 5, 5]],
  ]) {
    const file = await openTiff([sourceOf(tiffBytes(slices, { width: 2, height: 1, bits: 8, description: xml(order) }))]);
    const { shape, leading, axes } = file.describe();
    assert.deepEqual([shape, leading, axes], [[3, 1, 2], [2], ["c", "z", "y", "x"]]);
    assert.deepEqual([...(await file.decode(1, [0, 0, 0, 3, 1, 2]))], second);
  }
});

test("files of other kinds are named", async () => {
  const refused = (text, message) =>
    assert.rejects(openAny([sourceOf(Buffer.from(text.padEnd(40), "latin1"))]), { name: "TincError", message });
  await refused("\x89PNG", /begins as a PNG picture does/);
  await refused("<!doctype html>", /begins as a web page does/);
  await refused("hello", /^it is no \.tinc, \.npy or TIFF file$/);
});
