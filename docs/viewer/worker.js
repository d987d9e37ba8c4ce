/** Decodes files away from the page. One job at a time comes in, and its values go out without a copy. */

import { openAny, packLeaves } from "./app/formats.js";
import { TincError } from "./reader/errors.js";
import { allowGpu, gpuFacts } from "./reader/processors.js";
import { blobSource } from "./reader/sources.js";

/**
 * @typedef {import('./app/formats.js').AnyFile} AnyFile
 * @typedef {import('./app/workers.js').ToWorker} ToWorker
 * @typedef {{ resolve: (bytes: Uint8Array) => void, reject: (error: Error) => void }} Waiting
 */

/** Thrown where the page could not read: a server may give next time what it did not give now. */
class ReadFailure extends TincError {}

/** @type {Map<number, Promise<AnyFile>>} */
const openFiles = new Map();
/** @type {Map<number, Waiting>} */
const waitingReads = new Map();
/** Files that the page did not close. @type {Set<number>} */
const wanted = new Set();
let lastRead = 0;

/**
 * Send a message, and buffers with it that need no copy.
 * @param {unknown} message
 * @param {ArrayBufferLike[]} [buffers]
 */
const send = (message, buffers = []) =>
  globalThis.postMessage(message, { transfer: /** @type {Transferable[]} */ (buffers) });

/**
 * Bytes that the page reads for this worker.
 * @param {number} id
 * @param {number} size
 */
function pageSource(id, size) {
  return {
    size,
    /**
     * @param {number} start
     * @param {number} end
     * @returns {Promise<Uint8Array>}
     */
    read: (start, end) =>
      new Promise((resolve, reject) => {
        lastRead += 1;
        waitingReads.set(lastRead, { resolve, reject });
        send({ type: "read", number: lastRead, id, start, end });
      }),
  };
}

/**
 * A source that gives nothing once its file is closed, so that a long job on it ends.
 * @param {number} id
 * @param {import('./app/array-file.js').Source} source
 * @returns {import('./app/array-file.js').Source}
 */
function whileWanted(id, { size, read }) {
  return {
    size,
    read: async (start, end) => {
      if (!wanted.has(id)) throw new TincError("the file was closed");
      return read(start, end);
    },
  };
}

/**
 * What went wrong, for the page: of a bad file its own sentence.
 * @param {unknown} error
 */
function sentence(error) {
  if (error instanceof TincError) {
    const isDamage = / CRC-|^file size is |^source gives /.test(error.message);
    return isDamage ? `the file is damaged or not complete (${error.message})` : error.message;
  }
  return `this file could not be decoded (${error instanceof Error ? error.message : String(error)})`;
}

/**
 * Open a file.
 * @param {Extract<ToWorker, { type: 'open' }>} message
 */
async function openFile({ id, parts, tell }) {
  wanted.add(id);
  const sources = parts.map((part) => ("blob" in part ? blobSource(part.blob) : pageSource(id, part.size)));
  const opening = openAny(sources.map((source) => whileWanted(id, source)));
  const file = opening.then((opened) => opened.file);
  openFiles.set(id, file);
  file.catch(() => undefined); // A job on it fails with the same error.
  if (!tell) return;
  try {
    send({ type: "opened", id, meta: (await opening).meta });
  } catch (error) {
    send({ type: "refused", id, message: sentence(error) });
  }
}

/**
 * Do a job on an open file.
 * @param {Extract<ToWorker, { type: 'job' }>} message
 */
async function doJob({ number, id, task, volume, box, factor, calibration }) {
  try {
    const file = await openFiles.get(id);
    if (!file) throw new TincError("the file was closed");
    if (task === "decode") {
      const values = await file.decode(volume, box, { calibration });
      const exact = values.byteLength === values.buffer.byteLength ? values : values.slice();
      send({ type: "done", number, result: exact, gpu: gpuFacts() }, [exact.buffer]);
    } else if (task === "coarse") {
      send({ type: "done", number, result: await file.coarse(volume, factor, box) });
    } else if (task === "leaves" || task === "allLeaves") {
      const packed = await packLeaves(file, volume, task === "allLeaves");
      send({ type: "done", number, result: packed }, [packed.buffer]);
    } else {
      if ("verify" in file) await file.verify();
      send({ type: "done", number, result: null });
    }
  } catch (error) {
    send({ type: "failed", number, message: sentence(error), again: error instanceof ReadFailure });
  }
}

globalThis.addEventListener("message", (event) => {
  const message = /** @type {ToWorker} */ (event.data);
  if (message.type === "open") openFile(message);
  else if (message.type === "job") doJob(message);
  else if (message.type === "close") {
    wanted.delete(message.id);
    openFiles.delete(message.id);
  } else {
    const waiting = waitingReads.get(message.number);
    waitingReads.delete(message.number);
    if (message.bytes) waiting?.resolve(message.bytes);
    else waiting?.reject(new ReadFailure(message.message ?? "the file could not be read"));
  }
});

allowGpu(self.name); // What the page was called with.
