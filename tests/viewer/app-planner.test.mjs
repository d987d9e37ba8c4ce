/** Tests of the order in which the viewer decodes, of its words, and of its page and modules. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ByteCache } from "../../docs/viewer/app/cache.js";
import { Dataset } from "../../docs/viewer/app/dataset.js";
import * as geometry from "../../docs/viewer/app/geometry.js";
import { leafAt, worstError } from "../../docs/viewer/app/leaves.js";
import { nextJob } from "../../docs/viewer/app/planner.js";
import { factLines, leafText, promiseText, sizeText } from "../../docs/viewer/app/words.js";

const FOLDER = new URL("../../docs/viewer/", import.meta.url);

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

test("leaves: the one at a voxel, and the largest error", () => {
  const nan = Number.NaN;
  const leaves = Float64Array.of(0, 0, 0, 4, 8, 8, 1, 0, 120, 1.5, 9, 4, 0, 0, 8, 8, 8, 2, 3, nan, nan, nan);
  assert.equal(worstError(leaves), 1.5);
  assert.equal(leafText(leafAt(leaves, [3, 7, 7])), "network leaf, level 1, 120 bytes, typical error (RMSE) 1.5, largest error 9");
  assert.equal(leafText(leafAt(leaves, [4, 0, 0])), "bounded leaf, level 2");
  assert.equal(leafAt(leaves, [8, 0, 0]), null);
});

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

test("planner: a job whose read failed is asked for again after a while", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { dataset } = sceneOf({});
  let asked = 0;
  dataset.setFailed("a", () => asked++);
  dataset.setFailed("b", null);
  assert.deepEqual([...dataset.failed], ["a", "b"]);
  context.mock.timers.tick(10_000);
  assert.deepEqual([[...dataset.failed], asked], [["b"], 1]);
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
  const inside = promiseText({ ...meta, errorBound: 5, regions: { voxels: 12345, bound: 0 } });
  assert.equal(
    inside,
    "12,345 voxels of chosen regions are bit for bit what they were. Elsewhere: No voxel is off by more than 5.",
  );
  const regions = { voxels: 9, bound: 0 };
  assert.equal(promiseText({ ...meta, errorBound: 0, regions }), "Lossless: every voxel is bit for bit what it was.");
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
