/** Tests of the pool of workers, and of opening files one over another, with workers that only note what they are sent. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Viewer } from "../../docs/viewer/app/viewer.js";
import { sharedSource, WorkerPool } from "../../docs/viewer/app/workers.js";

/** A worker that does nothing by itself. */
class Noting extends EventTarget {
  sent = [];
  postMessage(message) {
    this.sent.push(message);
  }
  /** What it answers. */
  say(data) {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }
}
globalThis.TINC_WORKER_SOURCE = "none";
globalThis.Worker = Noting;
Object.defineProperty(globalThis, "navigator", { value: { hardwareConcurrency: 2 }, configurable: true });

const META = {
  ...{ flavour: "tinc", shape: [4, 4, 4], leading: [], axes: ["z", "y", "x"], dtype: "u1", nbytes: 100, volumes: 1 },
  ...{ whole: 0, networks: true, overviewCell: 0 },
};
const pool = (jobs = []) =>
  new WorkerPool(
    () => jobs.shift() ?? null,
    () => {},
    () => {},
  );

test("of two files that are opened together the later one is shown, whichever is read first", async () => {
  const viewer = new Viewer();
  const first = viewer.open({ name: "a", parts: [] }, false);
  const second = viewer.open({ name: "b", parts: [] }, false);
  const [{ worker }] = viewer.pool.hands;
  worker.say({ type: "opened", id: 2, meta: META });
  assert.equal(await second, true);
  worker.say({ type: "opened", id: 1, meta: META });
  assert.equal(await first, false);
  assert.equal(viewer.first.name, "b");
});

test("workers that cannot be loaded are not waited for", async () => {
  const hands = pool([{ key: "k", id: 1 }]);
  const [one, two] = hands.hands;
  one.worker.dispatchEvent(new Event("error", { cancelable: true }));
  const opening = hands.open(1, []);
  assert.deepEqual(one.worker.sent, []);
  assert.deepEqual(
    two.worker.sent.map(({ type }) => type),
    ["job", "open"],
  );
  two.worker.dispatchEvent(new Event("error", { cancelable: true }));
  await assert.rejects(opening, /could not be loaded/);
  await assert.rejects(hands.open(2, []), /no worker could be loaded/);
});

test("jobs on a closed file end, and what they give is not kept", async () => {
  let kept = 0;
  const hands = pool([{ key: "k", id: 1, done: () => kept++ }]);
  const [{ worker }] = hands.hands;
  const opening = hands.open(1, []);
  worker.say({ type: "opened", id: 1, meta: META });
  await opening;
  hands.most = 1;
  hands.pump();
  const verdict = hands.verify(1);
  hands.close(1);
  assert.equal(await verdict, "the file was closed");
  worker.say({ type: "done", number: 1, result: null });
  assert.deepEqual([kept, hands.running.size], [0, 0]);
});

test("sharedSource: a read that failed takes no place", async () => {
  let isDown = true;
  let asked = 0;
  const read = async (start, end) => {
    asked++;
    if (isDown) throw new Error("down");
    return new Uint8Array(end - start);
  };
  const source = sharedSource({ size: 2 ** 27, read }, () => {});
  for (let at = 0; at < 4; at++) await assert.rejects(source.read(at, at + 2 ** 25), /down/);
  isDown = false;
  for (const at of [0, 1, 0, 1]) await source.read(at, at + 2 ** 25);
  assert.equal(asked, 6);
});
