/** Workers that decode, and the pool that gives each its next job when it is free. */

/**
 * @typedef {import('./geometry.js').Box} Box
 * @typedef {{ blob: Blob } | { size: number }} Part  a file of this machine, or bytes that the page reads
 * @typedef {{ type: 'open', id: number, parts: Part[], tell: boolean } | { type: 'close', id: number }
 *   | { type: 'bytes', number: number, bytes?: Uint8Array, message?: string }
 *   | { type: 'job', number: number, id: number, task: string, volume: number, box: Box, factor: number,
 *       calibration: boolean }} ToWorker
 * @typedef {{ key: string, id: number, task: string, volume: number, box?: Box, factor?: number,
 *   calibration?: boolean, done: (result: any) => void, failed?: (message: string) => void }} Job
 * @typedef {import('./array-file.js').Source} Source
 * @typedef {{ worker: Worker, job: Job | null, number: number, heard: boolean, dead: boolean }} Hand  a worker, what it
 *   is at, whether it ever said something, and whether it could not even be loaded
 */

const CLOSED = "the file was closed";
const MOST_WORKERS = 4; // More would compete with the page for memory.

/**
 * Start a worker: from the text that a self-contained page holds, or from its file.
 * @param {string} gpu  which GPU it may use
 * @returns {Worker}
 */
function startWorker(gpu) {
  const source = /** @type {{ TINC_WORKER_SOURCE?: string }} */ (globalThis).TINC_WORKER_SOURCE;
  return source
    ? new Worker(source, { name: gpu })
    : new Worker(new URL("worker.js", document.baseURI), { type: "module", name: gpu });
}

export class WorkerPool {
  /**
   * @param {(running: Set<string>) => Job | null} next  the job to do now, of those that no worker is at
   * @param {(job: Job) => void} finished  is called after a job's own `done`
   * @param {(job: Job, message: string, again: boolean) => void} failed  again: it may work later
   * @param {string} [gpu]  which GPU workers may use: "" for one of the machine, "off" for none, "any" for an imitated one
   */
  constructor(next, finished, failed, gpu = "") {
    this.next = next;
    this.finished = finished;
    this.failed = failed;
    /** @type {Map<number, Source>} */
    this.sources = new Map();
    /** Files that are open, or being opened. @type {Set<number>} */
    this.ids = new Set();
    /** @type {Map<number, { hand: Hand, resolve: (meta: any) => void, reject: (error: Error) => void }>} */
    this.opening = new Map();
    /** Jobs before all others. @type {Job[]} */
    this.urgent = [];
    /** @type {Set<string>} */
    this.running = new Set();
    /** Workers that may be busy at once. */
    this.most = Number.POSITIVE_INFINITY;
    this.jobNumber = 0;
    this.jobsDone = 0;
    /** What a worker said last of its GPU. */
    this.gpu = { inUse: false, pieces: 0, trouble: "" };
    const count = Math.max(1, Math.min(MOST_WORKERS, navigator.hardwareConcurrency || 2));
    this.hands = Array.from({ length: count }, () => {
      /** @type {Hand} */
      const hand = { worker: startWorker(gpu), job: null, number: 0, heard: false, dead: false };
      hand.worker.addEventListener("message", (event) => this.receive(hand, event.data));
      hand.worker.addEventListener("error", (event) => {
        event.preventDefault();
        hand.dead = !hand.heard;
        const text = `a worker stopped (${event.message ?? "it could not be loaded"})`;
        for (const [id, waiting] of this.opening) {
          if (waiting.hand !== hand) continue;
          this.opening.delete(id);
          waiting.reject(new Error(text));
        }
        this.fail(hand, text);
      });
      return hand;
    });
  }

  /**
   * Open a file in all workers; the first tells what it is.
   * @param {number} id
   * @param {Part[]} parts
   * @param {Source} [source]  for parts without a blob
   * @returns {Promise<any>} rejected with the reader's sentence for a bad file
   */
  open(id, parts, source) {
    const hand = this.hands.find(({ dead }) => !dead);
    if (!hand) return Promise.reject(new Error("no worker could be loaded, and nothing is decoded without one"));
    this.ids.add(id);
    if (source) this.sources.set(id, source);
    hand.worker.postMessage({ type: "open", id, parts, tell: true });
    return new Promise((resolve, reject) => this.opening.set(id, { hand, resolve, reject })).then((meta) => {
      for (const other of this.hands)
        if (other !== hand) other.worker.postMessage({ type: "open", id, parts, tell: false });
      return meta;
    });
  }

  /**
   * Forget a file.
   * @param {number} id
   */
  close(id) {
    this.ids.delete(id);
    this.sources.delete(id);
    for (const job of this.urgent) if (job.id === id) job.failed?.(CLOSED);
    this.urgent = this.urgent.filter((job) => job.id !== id);
    for (const { worker } of this.hands) worker.postMessage({ type: "close", id });
  }

  /**
   * Check all checksums of a file.
   * @param {number} id
   * @returns {Promise<string>} what is wrong; "" if nothing
   */
  verify(id) {
    return new Promise((resolve) => {
      this.urgent.push({
        key: `${id}/verify`,
        id,
        task: "verify",
        volume: 0,
        done: () => resolve(""),
        failed: resolve,
      });
      this.pump();
    });
  }

  /** Give a job to each worker that has none. */
  pump() {
    for (const hand of this.hands) {
      if (hand.job || hand.dead) continue;
      if (this.running.size >= this.most) return;
      const job = this.urgent.shift() ?? this.next(this.running);
      if (!job) return;
      this.jobNumber += 1;
      hand.job = job;
      hand.number = this.jobNumber;
      this.running.add(job.key);
      const { id, task, volume, box, factor, calibration } = job;
      hand.worker.postMessage({ type: "job", number: hand.number, id, task, volume, box, factor, calibration });
    }
  }

  /**
   * Take the job from a worker.
   * @param {Hand} hand
   */
  release(hand) {
    const { job } = hand;
    hand.job = null;
    if (job) this.running.delete(job.key);
    if (job) this.jobsDone += 1;
    return job;
  }

  /**
   * Take the job from a worker that could not do it.
   * @param {Hand} hand
   * @param {string} text
   * @param {boolean} [again]  whether it may work later
   */
  fail(hand, text, again = false) {
    const job = this.release(hand);
    if (job?.failed) job.failed(text);
    else if (job) this.failed(job, text, again);
    this.pump();
  }

  /**
   * @param {Hand} hand
   * @param {any} message
   */
  receive(hand, message) {
    hand.heard = true;
    if (message.type === "read") {
      this.readFor(hand.worker, message);
    } else if (message.type === "opened" || message.type === "refused") {
      const waiting = this.opening.get(message.id);
      this.opening.delete(message.id);
      if (message.type === "opened") waiting?.resolve(message.meta);
      else waiting?.reject(new Error(message.message));
    } else if (hand.job && hand.number === message.number) {
      if (message.type === "failed") return this.fail(hand, message.message, message.again);
      if (!this.ids.has(hand.job.id)) return this.fail(hand, CLOSED); // Its result would be kept for good.
      const job = this.release(hand);
      if (message.gpu) this.gpu = message.gpu;
      job?.done(message.result);
      if (job) this.finished(job);
      this.pump();
    }
  }

  /**
   * @param {Worker} worker
   * @param {{ number: number, id: number, start: number, end: number }} request
   */
  async readFor(worker, { number, id, start, end }) {
    try {
      const bytes = await this.sources.get(id)?.read(start, end);
      if (!bytes) throw new Error(CLOSED);
      worker.postMessage({ type: "bytes", number, bytes });
    } catch (error) {
      worker.postMessage({ type: "bytes", number, message: error instanceof Error ? error.message : String(error) });
    }
  }
}

const RANGE_CACHE = 2 ** 26; // Bytes of a file from a server that are kept, so that no worker asks twice.

/**
 * Count what is read from a server, and read no range twice.
 * @param {Source} source
 * @param {(bytes: number) => void} count
 * @returns {Source}
 */
export function sharedSource(source, count) {
  /** @type {Map<string, Promise<Uint8Array>>} */
  const ranges = new Map();
  let kept = 0;
  return {
    size: source.size,
    read(start, end) {
      const key = `${start}-${end}`;
      const known = ranges.get(key);
      if (known) return known;
      const reading = source.read(start, end).then((bytes) => {
        count(bytes.length);
        return bytes;
      });
      reading.catch(() => {
        if (ranges.get(key) !== reading) return;
        ranges.delete(key);
        kept -= end - start;
      });
      ranges.set(key, reading);
      kept += end - start;
      for (const old of ranges.keys()) {
        if (kept <= RANGE_CACHE || old === key) break;
        const [from, to] = old.split("-").map(Number);
        kept -= to - from;
        ranges.delete(old);
      }
      return reading;
    },
  };
}
