/** The histogram of the coarse look, with the window on it, whose ends a drag moves. */

import { cssColor, tableOf } from "./colors.js";
import { finiteRange, histogram } from "./paint.js";
import { contextOf, matchSize } from "./plane-view.js";

/** @typedef {import('./viewer.js').Viewer} Viewer */

export class HistogramView {
  /**
   * @param {Viewer} viewer
   * @param {HTMLCanvasElement} canvas
   */
  constructor(viewer, canvas) {
    this.viewer = viewer;
    this.canvas = canvas;
    this.range = /** @type {[number, number]} */ ([0, 1]);
    let end = "";
    canvas.addEventListener("pointerdown", (event) => {
      const { channel } = viewer;
      if (!channel || !viewer.first || viewer.first.meta.labels) return;
      canvas.setPointerCapture(event.pointerId);
      const value = this.valueOf(event.offsetX);
      end = Math.abs(value - channel.low) < Math.abs(value - channel.high) ? "low" : "high";
      this.drag(end, value);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (end) this.drag(end, this.valueOf(event.offsetX));
    });
    for (const type of ["pointerup", "pointercancel"])
      canvas.addEventListener(type, () => {
        end = "";
      });
  }

  /** @param {number} x */
  valueOf(x) {
    const [low, high] = this.range;
    return low + (x / this.canvas.clientWidth) * (high - low);
  }

  /**
   * @param {string} end
   * @param {number} value
   */
  drag(end, value) {
    const { low, high } = this.viewer.channel;
    if (end === "low") this.viewer.setWindow(Math.min(value, high - (high - low) * 0.01), high);
    else this.viewer.setWindow(low, Math.max(value, low + (high - low) * 0.01));
  }

  /** Draw it as things are. */
  refresh() {
    const { first, channel } = this.viewer;
    const preview = first?.previews.get(this.viewer.volume);
    const labels = Boolean(first?.meta.labels);
    this.canvas.hidden = labels || !preview?.filled;
    if (!first || !preview || this.canvas.hidden) return;
    const { width, height, ratio } = matchSize(this.canvas);
    if (!width) return;
    this.range = finiteRange(preview.values);
    const [low, high] = this.range;
    const counts = histogram(preview.values, low, high, 100);
    const most = Math.log1p(Math.max(...counts));
    const context = contextOf(this.canvas);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const soft = getComputedStyle(this.canvas).color;
    const table = tableOf(channel.colormap);
    counts.forEach((count, i) => {
      const value = low + ((i + 0.5) / counts.length) * (high - low);
      const inside = value >= channel.low && value <= channel.high;
      context.fillStyle = soft;
      context.globalAlpha = inside ? 0.75 : 0.25;
      const tall = (Math.log1p(count) / most) * (height - 12);
      context.fillRect((i * width) / counts.length, height - 6 - tall, width / counts.length - 0.5, tall);
    });
    context.globalAlpha = 1;
    const place = (/** @type {number} */ value) => ((value - low) / (high - low || 1)) * width;
    const [from, to] = [place(channel.low), place(channel.high)];
    for (let x = 0; x < width; x++) {
      context.fillStyle = cssColor(
        table[Math.max(0, Math.min(255, Math.round((255 * (x - from)) / (to - from || 1))))],
      );
      context.fillRect(x, height - 6, 1, 6);
    }
    context.fillStyle = soft;
    for (const x of [from, to]) context.fillRect(Math.max(0, Math.min(width - 2, x - 1)), 0, 2, height);
  }
}
