/** What is shown: the files, the position, the looks. It knows no element of the page. */

import { ByteCache } from "./cache.js";
import { firstChannel } from "./channels.js";
import { colorsOfLabels, labelTable, tableOf } from "./colors.js";
import { checkBeside, Dataset } from "./dataset.js";
import { clamp, directionsOf, relativeSpacing, VIEW_PLANES, volumeNumber } from "./geometry.js";
import { makeLook, windowOf } from "./paint.js";
import { nextJob } from "./planner.js";
import { WorkerPool } from "./workers.js";

/**
 * @typedef {import('./geometry.js').Triple} Triple
 * @typedef {import('./planner.js').Seen} Seen
 * @typedef {import('./workers.js').Job} Job
 * @typedef {import('./channels.js').Channel} Channel
 * @typedef {import('./paint.js').Look} Look
 * @typedef {{ dataset: Dataset, volumes: number[], calibrated: boolean, looks: Look[] }} Side  what is drawn on one side
 *   of the curtain
 */

const DECODED_BYTES = 256 * 2 ** 20; // Decoded values beyond this are forgotten, the least recently drawn first.
const SMALLEST_PICTURE = 64; // Pixels along the longest axis of a volume, below which nothing is made smaller.
const MOST_CHANNELS = 32; // Of an axis of more channels one at a time is shown, with a slider.
const SETTLE_MS = 120; // So long after the crosshair moved one worker is at work only: drawing comes first.
const MOST_SHOWN = 6; // More channels than this are not shown together at first.

export class Viewer extends EventTarget {
  /** @param {string} [gpu] which GPU may decode networks: "" for one of the machine, "off" for none, "any" for an imitated one */
  constructor(gpu = "") {
    super();
    /** @type {ByteCache<import('./elements.js').Values>} */
    this.cache = new ByteCache(DECODED_BYTES);
    this.pool = new WorkerPool(
      (running) => (this.first ? nextJob(this.scene(), running) : null),
      (job) => this.finished(job),
      (job, message, again) => this.failed(job, message, again),
      gpu,
    );
    this.ids = 0;
    this.first = /** @type {Dataset | null} */ (null);
    this.second = /** @type {Dataset | null} */ (null);
    this.at = /** @type {Triple} */ ([0, 0, 0]);
    this.center = /** @type {Triple} */ ([0, 0, 0]);
    this.spacing = /** @type {Triple} */ ([1, 1, 1]);
    this.scale = 1;
    this.fitted = true;
    /** Letters of a body's directions at the ends of z, y, x. @type {string[][] | null} */
    this.directions = null;
    /** Index along each leading axis; along that of channels the one whose window is set. @type {number[]} */
    this.index = [];
    this.channelAxis = -1;
    this.together = false;
    /** @type {Channel[]} */
    this.channels = [];
    this.calibrated = true;
    this.leaves = false;
    this.smooth = false;
    this.curtain = 0.5;
    this.plane = 0;
    this.solo = -1;
    this.tool = "cross";
    this.labelColors = labelTable();
    /** Colours of labels that the file names. @type {Map<number, number>} */
    this.namedColors = new Map();
    this.settling = 0;
    /** Slices on the screen, which the page knows. @type {() => Seen[]} */
    this.seen = () => [];
  }

  /**
   * @param {string} type what changed
   * @param {unknown} [detail]
   */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Something that the planes show changed: draw, which also lets the workers go on with what is wanted now. */
  changed() {
    this.tell("draw");
  }

  /**
   * Open files as the volume, or beside it.
   * @param {{ name: string, parts: import('./workers.js').Part[], source?: import('./array-file.js').Source }} input
   * @param {boolean} beside
   * @returns {Promise<boolean>} whether it was taken; not if another one was opened meanwhile
   * @throws the reader's sentence for a bad file, or one that does not fit beside the first
   */
  async open(input, beside) {
    this.ids += 1;
    const id = this.ids;
    try {
      const meta = await this.pool.open(id, input.parts, input.source);
      if (id !== this.ids) {
        this.pool.close(id);
        return false;
      }
      const dataset = new Dataset(id, input.name, meta, Boolean(input.source), this.cache);
      if (beside && this.first) this.setSecond(dataset);
      else this.setFirst(dataset);
    } catch (error) {
      this.pool.close(id);
      throw error;
    }
    this.tell("opened");
    this.changed();
    return true;
  }

  /** @param {Dataset} dataset */
  setFirst(dataset) {
    this.removeSecond();
    if (this.first) this.forget(this.first);
    this.first = dataset;
    const { shape, leading, axes, spacing } = dataset.meta;
    this.spacing = relativeSpacing(spacing ?? null);
    this.at = /** @type {Triple} */ (shape.map((n) => Math.floor(n / 2)));
    this.center = /** @type {Triple} */ (shape.map((n) => n / 2));
    this.fitted = true;
    this.index = leading.map(() => 0);
    this.channelAxis = axes.slice(0, leading.length).indexOf("c");
    if (leading[this.channelAxis] > MOST_CHANNELS) this.channelAxis = -1;
    const count = this.channelAxis < 0 ? 1 : leading[this.channelAxis];
    this.channels = Array.from({ length: count }, (_, i) => firstChannel(dataset.meta, i, count));
    this.together = count > 1 && count <= MOST_SHOWN && !dataset.meta.labels;
    this.channels.forEach((channel, i) => {
      channel.visible = this.together || i === 0;
    });
    this.calibrated = true;
    this.directions = directionsOf(dataset.meta.details?.affine, dataset.meta.details?.space);
    this.namedColors = colorsOfLabels(dataset.meta.details?.labelNames ?? {});
  }

  /** @param {Dataset} dataset */
  setSecond(dataset) {
    checkBeside(/** @type {Dataset} */ (this.first), dataset);
    this.removeSecond();
    this.second = dataset;
    this.curtain = 0.5;
  }

  /** Take the second file away. */
  removeSecond() {
    if (this.second) this.forget(this.second);
    this.second = null;
  }

  /** @param {Dataset} dataset */
  forget(dataset) {
    this.pool.close(dataset.id);
    this.cache.clear(`${dataset.id}/`);
  }

  /** Channels that are drawn. */
  get shown() {
    return this.channels.map((channel, i) => ({ channel, i })).filter(({ channel }) => channel.visible);
  }

  /** The channel whose window is set. */
  get channel() {
    return this.channels[this.channelAxis < 0 ? 0 : this.index[this.channelAxis]];
  }

  /** Number of the volume whose leaves are drawn. */
  get volume() {
    return volumeNumber(this.first?.meta.leading ?? [], this.index);
  }

  /**
   * What is drawn of a file.
   * @param {Dataset} dataset
   * @returns {Side}
   */
  side(dataset) {
    const sizes = /** @type {Dataset} */ (this.first).meta.leading;
    const labels = Boolean(dataset.meta.labels || this.first?.meta.labels);
    const shown = this.shown;
    const volumes = shown.map(({ i }) =>
      volumeNumber(
        sizes,
        this.index.map((k, axis) => (axis === this.channelAxis ? i : k)),
      ),
    );
    const looks = shown.map(({ channel }) =>
      makeLook(
        labels ? this.labelColors : tableOf(channel.colormap),
        channel.low,
        channel.high,
        labels,
        this.namedColors,
      ),
    );
    return { dataset, volumes, looks, calibrated: this.calibrated || !dataset.meta.calibrated };
  }

  /** What is drawn left and right of the curtain. */
  sides() {
    return [this.first, this.second].filter((dataset) => dataset !== null).map((dataset) => this.side(dataset));
  }

  /**
   * What the planner has to know.
   * @returns {import('./planner.js').Scene}
   */
  scene() {
    return { sets: this.sides(), seen: this.seen(), at: this.at, volume: this.volume, leaves: this.leaves };
  }

  /**
   * A job is done.
   * @param {Job} job
   */
  finished(job) {
    const dataset = [this.first, this.second].find((known) => known?.id === job.id);
    if (!dataset) return;
    this.setWindows();
    const box = job.box;
    const onScreen =
      !box || this.seen().some(({ plane, slice }) => slice >= box[plane.normal] && slice < box[plane.normal + 3]);
    if (onScreen) this.tell("draw");
    if (job.task === "coarse" && !box) this.tell("looks");
    this.tell("progress");
  }

  /** Set windows that neither the file nor the user has set, once there are values to set them by. */
  setWindows() {
    const { meta } = /** @type {Dataset} */ (this.first);
    for (const { channel, i } of this.shown) {
      if (channel.touched) continue;
      const index = this.index.map((k, axis) => (axis === this.channelAxis ? i : k));
      const volume = volumeNumber(meta.leading, index);
      const previews = [this.first, this.second].map((dataset) => dataset?.previews.get(volume));
      const window = windowOf(
        previews.find((one) => one?.filled),
        meta,
        channel.guessed,
      );
      if (!window) continue;
      Object.assign(channel, window);
      this.tell("looks");
      this.tell("draw");
    }
  }

  /**
   * A job failed: it is not asked for again, or not at once.
   * @param {Job} job
   * @param {string} message
   * @param {boolean} again
   */
  failed(job, message, again) {
    const dataset = [this.first, this.second].find((known) => known?.id === job.id);
    if (!dataset) return;
    dataset.setFailed(job.key, again ? () => this.changed() : null);
    if (!again) dataset.trouble = message;
    this.tell("trouble", `${dataset.name}: ${message}`);
  }

  /**
   * Move the crosshair.
   * @param {number[]} at
   */
  moveTo(at) {
    if (!this.first) return;
    const next = /** @type {Triple} */ (
      at.map((position, axis) => clamp(Math.floor(position), 0, (this.first?.shape[axis] ?? 1) - 1))
    );
    if (String(next) === String(this.at)) return;
    this.at = next;
    this.pool.most = 1;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.pool.most = Number.POSITIVE_INFINITY;
      this.pool.pump();
    }, SETTLE_MS);
    this.tell("moved");
    this.changed();
  }

  /**
   * Move the crosshair along one axis.
   * @param {number} axis
   * @param {number} by
   */
  step(axis, by) {
    const at = [...this.at];
    at[axis] += by;
    this.moveTo(at);
  }

  /**
   * Move what is seen.
   * @param {number} plane
   * @param {number} dx
   * @param {number} dy in screen pixels
   */
  pan(plane, dx, dy) {
    const { right, down } = VIEW_PLANES[plane];
    this.center[right] -= dx / (this.scale * this.spacing[right]);
    this.center[down] -= dy / (this.scale * this.spacing[down]);
    for (const axis of [right, down]) this.center[axis] = clamp(this.center[axis], 0, this.first?.shape[axis] ?? 0);
    this.fitted = false;
    this.changed();
  }

  /**
   * Zoom so that what is at a place of a view stays there.
   * @param {number} plane
   * @param {number} factor
   * @param {number} dx
   * @param {number} dy from the view's centre, in pixels
   */
  zoom(plane, factor, dx = 0, dy = 0) {
    const before = this.scale;
    const longest = Math.max(...(this.first?.shape ?? [1, 1, 1]).map((n, axis) => n * this.spacing[axis]));
    this.scale = clamp(this.scale * factor, Math.min(SMALLEST_PICTURE / longest, 1), 64);
    const { right, down } = VIEW_PLANES[plane];
    const gain = 1 / before - 1 / this.scale;
    this.center[right] += (dx * gain) / this.spacing[right];
    this.center[down] += (dy * gain) / this.spacing[down];
    this.fitted = false;
    this.changed();
  }

  /** Show the whole volume. */
  fit() {
    this.fitted = true;
    this.center = /** @type {Triple} */ ((this.first?.shape ?? [0, 0, 0]).map((n) => n / 2));
    this.changed();
  }

  /**
   * Set the window of the channel in use.
   * @param {number} low
   * @param {number} high
   */
  setWindow(low, high) {
    if (!(low < high) || !Number.isFinite(high - low)) return;
    Object.assign(this.channel, { low, high, touched: true });
    this.tell("looks");
    this.changed();
  }

  /**
   * Change width and level by a drag.
   * @param {number} dx share of the width to add
   * @param {number} dy share of the width to raise the level by
   */
  dragWindow(dx, dy) {
    const { low, high } = this.channel;
    const width = (high - low) * Math.exp(dx);
    const level = (low + high) / 2 + dy * (high - low);
    this.setWindow(level - width / 2, level + width / 2);
  }

  /** Set the window by the values. */
  autoWindow() {
    if (!this.first || !this.channel) return;
    Object.assign(this.channel, { touched: false, guessed: false });
    this.setWindows();
    this.changed();
  }

  /**
   * Set an index of a leading axis.
   * @param {number} axis
   * @param {number} value
   */
  setIndex(axis, value) {
    const most = (this.first?.meta.leading[axis] ?? 1) - 1;
    this.index[axis] = clamp(value, 0, most);
    if (axis === this.channelAxis && !this.together) {
      this.channels.forEach((channel, i) => {
        channel.visible = i === this.index[axis];
      });
    }
    this.tell("looks");
    this.changed();
  }

  /**
   * Move the curtain.
   * @param {number} share of the view's width that the first file has
   */
  setCurtain(share) {
    this.set({ curtain: clamp(share, 0, 1) });
  }

  /**
   * Set any of the plain choices.
   * @param {Partial<Pick<Viewer, 'calibrated' | 'leaves' | 'smooth' | 'curtain' | 'plane' | 'solo' | 'tool'>>} choice
   */
  set(choice) {
    Object.assign(this, choice);
    this.tell("looks");
    this.changed();
  }
}
