/** Tests of sources: what a server may answer, and what a worker is sent. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { TincError } from "../../docs/viewer/reader/errors.js";
import { bytesSource, urlSource } from "../../docs/viewer/reader/sources.js";

const DATA = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);

/**
 * A server that knows ranges.
 * @param {(first: number, last: number) => Record<string, string>} headersOf
 * @param {number} more bytes of a part than were asked for
 */
function server(headersOf, more = 0) {
  const asked = [];
  const fetch = async (_url, options) => {
    const range = options?.headers?.Range;
    asked.push(range ?? "whole");
    if (!range) return new Response(DATA);
    const [first, last] = range.match(/\d+/g).map(Number);
    return new Response(DATA.slice(first, last + 1 + more), { status: 206, headers: headersOf(first, last) });
  };
  return { asked, fetch };
}
const stated = (first, last) => ({ "Content-Range": `bytes ${first}-${last}/${DATA.length}` });

test("a part whose place cannot be read is not taken for the file", async () => {
  const { asked, fetch } = server(() => ({}));
  const source = await urlSource("https://a.example/a.tinc", fetch);
  assert.equal(source.size, DATA.length);
  assert.deepEqual(await source.read(4000, 4100), DATA.slice(4000, 4100));
  assert.deepEqual(asked, ["bytes=0-2047", "whole"]);
  const stubborn = async () => new Response(DATA.slice(0, 9), { status: 206 });
  await assert.rejects(urlSource("https://a.example/a.tinc", stubborn), TincError);
});

test("a server that gives more than was asked for is not read on", async () => {
  const { fetch } = server(stated, 100);
  await assert.rejects(urlSource("https://a.example/a.tinc", fetch), /more than 2048 bytes/);
});

test("bytes in memory are given out without the rest of their buffer", async () => {
  const part = await bytesSource(DATA).read(10, 20);
  assert.deepEqual([part.byteLength, part.buffer.byteLength, part[0]], [10, 10, 10]);
});
