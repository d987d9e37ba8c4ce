/** The JavaScript reader against the Python ones; see expected.py, which writes what is read here. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

// Without WebAssembly the reader does the same in JavaScript; node itself needs it later.
const { WebAssembly: engine } = globalThis;
if (process.env.NO_WEBASSEMBLY) delete globalThis.WebAssembly;
const { decodeAll, open, TincError } = await import("../../docs/viewer/reader/open.js");
const { bytesSource, urlSource } = await import("../../docs/viewer/reader/sources.js");
const { allLeavesOf } = await import("../../docs/viewer/reader/leaves.js");
const { readBackground } = await import("../../docs/viewer/reader/background.js");
const { decodeResidual } = await import("../../docs/viewer/reader/residual.js");
const { DTYPES } = await import("../../docs/viewer/reader/dtypes.js");
const { crc32 } = await import("../../docs/viewer/reader/checksums.js");
globalThis.WebAssembly = engine;

const GOLDEN = fileURLToPath(new URL("../golden/", import.meta.url));
const { EXPECTED } = process.env;
const [REFUSED, EXACT, NETWORKS, OPENED, EITHER, CHECKSUM] = [0, 1, 2, 3, 4, 5];
const SECONDS = 1; // Of CPU, for any input.
const TYPES = { u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i2: Int16Array, u4: Uint32Array, i4: Int32Array };
Object.assign(TYPES, { f2: Uint16Array, f4: Float32Array, f8: Float64Array });

/** @param {string} name */
function* records(name) {
  const all = readFileSync(join(EXPECTED, name));
  for (let at = 0; at < all.length; ) {
    const [verdict, size, nbytes] = [all[at], all.readUInt32LE(at + 1), all.readUInt32LE(at + 5)];
    const data = new Uint8Array(all.subarray(at + 9, at + 9 + size));
    at += 9 + size + nbytes;
    yield { verdict, data, values: all.subarray(at - nbytes, at) };
  }
}

/** @param {number} bits */
function half(bits) {
  const [exponent, fraction, sign] = [(bits >> 10) & 31, bits & 1023, bits & 0x8000 ? -1 : 1];
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * (1024 + fraction) * 2 ** (exponent - 25) : sign * fraction * 2 ** -24;
}

/** Whether two arrays are equal, bit for bit, but for NaN of half floats. */
function same(found, expected, dtype, isBool) {
  if (dtype === "f2") return found.every((value, at) => Object.is(value, half(expected[at])));
  if (isBool) return found.every((value, at) => +(value > 0) === expected[at]);
  return Buffer.compare(Buffer.from(found.buffer), Buffer.from(expected.buffer)) === 0;
}

/** The largest difference, as a share of the range, of voxels that differ by more than a rounding to the dtype. */
function difference(found, expected, file) {
  const { dtype, lo, hi, bool } = file;
  let largest = 0;
  for (const [at, one] of found.entries()) {
    const value = bool ? +(one > 0) : one;
    const wanted = dtype === "f2" ? half(expected[at]) : expected[at];
    const ulp =
      dtype === "f2" ? 2 ** -10 * Math.abs(wanted) + 2 ** -24 : dtype === "f4" ? 2 ** -23 * Math.abs(wanted) : 0;
    const off = Math.abs(value - wanted) - (dtype[0] === "f" ? ulp : 1);
    if (off > 0) largest = Math.max(largest, off / Math.max(hi - lo, Number.MIN_VALUE));
    else if (Number.isNaN(off)) return Number.NaN;
  }
  return largest;
}

/** Open, verify and decode a file; null if it is refused. Anything else that is thrown is a finding. */
async function read(data, isWhole = true) {
  try {
    const file = await open(bytesSource(data));
    if (!isWhole) return { file, values: null };
    await file.verify();
    return { file, values: (await decodeAll(data)).values };
  } catch (error) {
    if (!(error instanceof TincError)) throw error;
    return null;
  }
}

/** Whether there are records to compare with. @param {string} name */
const has = (name) => EXPECTED !== undefined && existsSync(join(EXPECTED, name));

test("golden files have the values of docs/reader.py", { skip: !has("golden.bin") }, async () => {
  let count = 0;
  for (const { verdict, data, values } of records("golden.bin")) {
    const { file, values: found } = await read(data);
    count++;
    if (verdict === CHECKSUM) {
      assert.equal(crc32(new Uint8Array(found.buffer)), values.readUInt32LE(0));
      continue;
    }
    const expected = new TYPES[file.dtype](new Uint8Array(values).buffer);
    assert.equal(found.length, expected.length);
    if (verdict === EXACT) assert.ok(same(found, expected, file.dtype, false));
    else {
      assert.ok(difference(found, expected, file) < 1e-6);
      const differing = found.reduce((n, value, at) => n + +(value !== expected[at]), 0);
      if (file.dtype[0] !== "f") assert.ok(differing <= 2 + found.length / 1000 || file.hi - file.lo > 2 ** 24);
    }
  }
  assert.ok(count >= 60);
});

test("every single-bit flip of five golden files is refused", async () => {
  for (const name of ["voxel", "exact-constant", "trained-constant", "unknown-ancillary", "exact-mask"]) {
    const data = new Uint8Array(readFileSync(`${GOLDEN}${name}.tinc`));
    assert.ok(await read(data));
    for (let bit = 0; bit < 8 * data.length; bit++) {
      data[bit >> 3] ^= 1 << (bit & 7);
      assert.equal(await read(data), null, `${name}: flip of bit ${bit}`);
      data[bit >> 3] ^= 1 << (bit & 7);
    }
  }
});

test("files that were cut off are refused", async () => {
  for (const name of ["trained", "trained-blocks", "exact-mask"]) {
    const data = new Uint8Array(readFileSync(`${GOLDEN}${name}.tinc`));
    for (let size = 0; size < data.length; size += size < 200 ? 1 : 11) {
      assert.equal(await read(data.subarray(0, size), false), null, `${name}: ${size} bytes`);
    }
  }
});

test("slices and boxes are those of the whole volume", async () => {
  for (const name of [
    "lattice-u2",
    "trained-blocks",
    "blocks-background-u2",
    "region-exact-in-networks",
    "filtered-i2",
  ]) {
    const file = await open(bytesSource(new Uint8Array(readFileSync(`${GOLDEN}${name}.tinc`))));
    const [nz, ny, nx] = file.shape;
    const whole = await file.decode(0, [0, 0, 0, nz, ny, nx]);
    for (const box of [
      [nz >> 1, 0, 0, (nz >> 1) + 1, ny, nx],
      [0, ny - 1, 0, nz, ny, nx],
      [0, 0, nx >> 2, nz, ny, (nx >> 2) + 1],
      [1, 2, 3, nz - 1, ny - 2, nx - 3],
    ]) {
      const part = await file.decode(0, box);
      let at = 0;
      for (let z = box[0]; z < box[3]; z++) {
        for (let y = box[1]; y < box[4]; y++) {
          for (let x = box[2]; x < box[5]; x++, at++) {
            const off = Math.abs(part[at] - whole[(z * ny + y) * nx + x]);
            assert.ok(off <= (file.kind === "networks" || name.startsWith("trained") ? 1 : 0), `${name} ${box}`);
          }
        }
      }
      assert.equal(at, part.length);
    }
  }
});

test("of a file on a server only what is needed is read", async () => {
  const data = new Uint8Array(readFileSync(`${GOLDEN}exact-blocks.tinc`));
  let served = 0;
  /** @param {string} url @param {{headers: {Range: string}}} options */
  const ranges = async (url, { headers }) => {
    assert.equal(url, "https://example.org/a.tinc");
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.Range).map(Number);
    const part = data.slice(first, last + 1);
    served += part.length;
    return new Response(part, {
      status: 206,
      headers: { "Content-Range": `bytes ${first}-${first + part.length - 1}/${data.length}` },
    });
  };
  const whole = async () => new Response(data);
  for (const fetch of [ranges, whole]) {
    const file = await open(await urlSource("https://example.org/a.tinc", fetch));
    await file.decode(0, [0, 0, 0, 1, 1, 1]);
    assert.equal(file.nbytes, data.length);
  }
  assert.ok(served < 2048 + 0.2 * data.length, `${served} of ${data.length} bytes`);
  const missing = async () => new Response("", { status: 404 });
  await assert.rejects(urlSource("https://example.org/a.tinc", missing), TincError);
});

test("DETAILS are read as napari-tinc reads them", { skip: !has("details.bin") }, async () => {
  for (const { data, values } of records("details.bin")) {
    const { details } = await open(bytesSource(data));
    const expected = JSON.parse(values.toString());
    assert.equal(details.affine === undefined, expected.affine === null);
    for (const [row, numbers] of (details.affine ?? []).entries()) {
      for (const [column, number] of numbers.entries()) {
        const wanted = expected.affine[row][column];
        assert.ok(Math.abs(number - wanted) <= 1e-12 * Math.max(1, Math.abs(wanted)), `${number}, expected ${wanted}`);
      }
    }
    assert.deepEqual(details.timeStep, { step: expected.time[0], unit: expected.time[1] });
    for (const [name, key] of Object.entries({ contrastLimits: "limits", colormap: "colormap", name: "name" })) {
      assert.deepEqual(details[name], expected[key]);
    }
    assert.deepEqual([details.gamma, details.opacity], [expected.gamma, expected.opacity]);
    const named = expected.objects.map(([label, name, color]) => [String(label), [name, color]]);
    assert.deepEqual({ ...details.labelNames }, Object.fromEntries(named));
  }
});

test("leaves tile the volume, and coarse samplings lie in its range", async () => {
  for (const name of ["trained", "scalars", "blocks-joined", "overviews-channels", "bounded-u2", "exact-labels-u1"]) {
    const file = await open(bytesSource(new Uint8Array(readFileSync(`${GOLDEN}${name}.tinc`))));
    const leaves = await file.allLeaves(0);
    const sizes = leaves.map(({ box: [z0, y0, x0, z1, y1, x1] }) => (z1 - z0) * (y1 - y0) * (x1 - x0));
    assert.equal(
      sizes.reduce((sum, n) => sum + n, 0),
      file.shape.reduce((product, n) => product * n, 1),
    );
    const { shape, values } = await file.coarse(0, 4);
    assert.deepEqual(
      shape,
      file.shape.map((n) => Math.ceil(n / 4)),
    );
    assert.ok(values.every((value) => value >= file.lo - 1e-3 && value <= file.hi + 1e-3));
  }
});

test("planes that are kept are those of other points, too, that begin and count alike", async () => {
  const file = await open(bytesSource(new Uint8Array(readFileSync(`${GOLDEN}lattice-u2.tinc`))));
  const [, ny, nx] = file.shape;
  const part = await file._contents.part(0, 0);
  const plane = await file.decode(0, [3, 0, 0, 4, ny, nx]);
  const last = (n) => [0.5, n - 0.5];
  for (const columns of [[0.5, 9.5], last(nx)]) {
    const axes = [[3.5], [0.5, 1.5], columns].map((axis) => Float64Array.from(axis));
    const expected = [0, 1].flatMap((y) => columns.map((x) => plane[y * nx + Math.floor(x)]));
    for (const [at, value] of (await part.values(axes, true)).entries()) assert.ok(Math.abs(value - expected[at]) <= 1);
  }
});

test("a region that could not be read is read again", async () => {
  const data = new Uint8Array(readFileSync(`${GOLDEN}region-exact-in-networks.tinc`));
  const inner = bytesSource(data);
  let isDown = false;
  const read = async (start, end) => {
    if (isDown) throw new TincError("down");
    return inner.read(start, end);
  };
  const file = await open({ size: data.length, read });
  const contents = file._contents;
  isDown = true;
  await assert.rejects(contents._region(0), /down/);
  isDown = false;
  await contents._region(0);
});

test("beyond a number of leaves a block with networks is one leaf", async () => {
  const file = await open(bytesSource(new Uint8Array(readFileSync(`${GOLDEN}trained-blocks.tinc`))));
  const [all, few, none] = [
    await file.allLeaves(0),
    await allLeavesOf(file._contents, 0, 1),
    await allLeavesOf(file._contents, 0, 0),
  ];
  assert.ok(all.length > few.length && few.length > none.length);
  assert.equal(none.length, file._contents.boxes.length);
});

test("a box that is too large for a background is refused before it takes memory", () => {
  const bytes = new Uint8Array(40);
  bytes[0] = 6;
  const u1 = DTYPES.find(({ name }) => name === "u1");
  for (const shape of [
    [1, 1, 5000],
    [4096, 4096, 4096],
  ])
    assert.throws(() => readBackground(bytes, shape, u1), /of a box is/);
});

test("steps from a lowest value of -0 are zeros as everywhere", () => {
  const hex =
    "0202000000000000000000801e3c00000000000000010000000000008000ff01fcef6f3f000000000000000000000000" +
    "ecf798df429c962f72c54b37b2f500daee1f0000";
  const f4 = DTYPES.find(({ name }) => name === "f4");
  const values = decodeResidual(new Uint8Array(Buffer.from(hex, "hex")), [2, 1, 2], f4);
  assert.equal(Buffer.from(values.buffer).toString("hex"), "000000000000000000000000a6ff6f42"); // docs/reader.py has these
});

test("hostile files are refused, or decoded as napari-tinc does", { skip: !has("hostile.bin") }, async (context) => {
  const counts = [0, 0, 0, 0, 0];
  let [near, slowest, number] = [0, 0, -1];
  /** @type {string[]} */
  const findings = [];
  for (const { verdict, data, values } of records("hostile.bin")) {
    number++;
    counts[verdict]++;
    const began = process.cpuUsage();
    let result;
    try {
      result = await read(data, verdict !== OPENED);
    } catch (error) {
      findings.push(`input ${number}: ${error.stack}`);
      continue;
    }
    const { user, system } = process.cpuUsage(began);
    slowest = Math.max(slowest, (user + system) / 1e6);
    if ((user + system) / 1e6 > SECONDS) findings.push(`input ${number}: ${(user + system) / 1e6} s of CPU`);
    if (verdict === EITHER) continue;
    if ((result === null) !== (verdict === REFUSED)) {
      findings.push(`input ${number}: verdict is ${verdict}, and it is ${result ? "read" : "refused"}`);
    } else if (verdict === EXACT || verdict === NETWORKS) {
      const { file, values: found } = result;
      const expected = new TYPES[file.dtype](new Uint8Array(values).buffer);
      if (found.length !== expected.length) findings.push(`input ${number}: ${found.length} values`);
      else if (verdict === EXACT && !same(found, expected, file.dtype, file.bool))
        findings.push(`input ${number}: values`);
      // Weights of hostile networks are large, and the sines of large sums are those of rounding errors.
      else if (verdict === NETWORKS) near += +(difference(found, expected, file) < 1e-4);
    }
  }
  context.diagnostic(`verdicts ${counts}, ${near} networks near, slowest ${slowest.toFixed(2)} s`);
  assert.deepEqual(findings.slice(0, 20), []);
  assert.ok(near > 0.8 * counts[NETWORKS]);
});
