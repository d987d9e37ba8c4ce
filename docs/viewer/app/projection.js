/**
 * A maximum projection of a coarse level that turns. It is drawn without a GPU, so that every browser shows the same.
 */

import { cssColor } from "./colors.js";
import { contextOf, matchSize } from "./plane-view.js";
import { castRays } from "./rays.js";

/**
 * @typedef {import('./viewer.js').Viewer} Viewer
 */

const TURN_SECONDS = 16; // A whole turn takes so long.
const TURNS_FOR_MS = 60_000; // Then it rests, so that a page left open costs nothing.
const FRAME_MS = 50; // Time between frames while it turns: 20 a second, half as many while workers decode.
const PAUSE_MS = 300; // It stands still for so long after the planes were drawn: they come first.
const STILL_EDGE = 224; // Pixels along the picture at rest, and while it turns.
const MOVING_EDGE = 144;

export class Projection {
  /**
   * @param {Viewer} viewer
   * @param {HTMLCanvasElement} canvas
   */
  constructor(viewer, canvas) {
    this.viewer = viewer;
    this.canvas = canvas;
    this.scratch = document.createElement("canvas");
    this.angle = 0.6;
    this.tilt = 0.35;
    this.turning = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.frames = 0;
    /** The file that it shows. @type {import('./dataset.js').Dataset | null} */
    this.shown = null;
    this.turnedFor = 0;
    this.last = 0;
    this.stale = true;
    this.onScreen = true;
    new IntersectionObserver(([entry]) => {
      this.onScreen = entry.isIntersecting;
    }).observe(canvas);
    this.attach();
  }

  /**
   * Draw if it is time to. Called at every frame of the page.
   * @param {number} now
   * @param {number} planesDrawn  when the planes last changed
   */
  tick(now, planesDrawn) {
    const { first } = this.viewer;
    if (!first || !this.onScreen || document.hidden) return;
    if (this.shown === first && now - planesDrawn < PAUSE_MS) return;
    const elapsed = now - this.last;
    if (elapsed < FRAME_MS * (this.viewer.pool.running.size ? 2 : 1) || (!this.turning && !this.stale)) return;
    if (!this.canvas.clientWidth) return;
    if (this.turning) this.angle += (Math.min(elapsed, 200) / 1000 / TURN_SECONDS) * 2 * Math.PI;
    this.turnedFor += Math.min(elapsed, 200);
    if (this.turning && this.turnedFor > TURNS_FOR_MS) this.setTurning(false);
    this.last = now;
    this.stale = false;
    this.draw(this.turning ? MOVING_EDGE : STILL_EDGE);
  }

  /** @param {number} edge pixels along the picture */
  draw(edge) {
    const { first, spacing } = this.viewer;
    if (!first) return;
    const { volumes, looks } = this.viewer.side(first);
    if (!volumes.some((volume) => first.previews.get(volume)?.filled)) {
      this.canvas.width = 1; // Nothing of another file, or of channels that are hidden now, stays.
      return;
    }
    this.shown = first;
    const pixels = new Uint32Array(edge * edge);
    volumes.forEach((volume, i) => {
      const preview = first.previews.get(volume);
      if (preview?.filled) castRays(pixels, edge, preview, spacing, looks[i], this.angle, this.tilt, i > 0);
    });
    this.scratch.width = this.scratch.height = edge;
    contextOf(this.scratch).putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), edge, edge), 0, 0);
    const { width, height, ratio } = matchSize(this.canvas);
    const context = contextOf(this.canvas);
    const size = Math.min(width, height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = cssColor(looks.length === 1 && !looks[0].labels ? looks[0].table[0] : 0);
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.scratch, (width - size) / 2, (height - size) / 2, size, size);
    this.frames += 1;
  }

  /** Let a drag and the arrow keys turn it. */
  attach() {
    let from = /** @type {{ x: number, y: number } | null} */ (null);
    const turn = (/** @type {number} */ dx, /** @type {number} */ dy) => {
      this.angle += dx;
      this.tilt = Math.max(-1.5, Math.min(1.5, this.tilt + dy));
      this.stale = true;
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      from = { x: event.clientX, y: event.clientY };
      this.canvas.setPointerCapture(event.pointerId);
      this.setTurning(false);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      turn((event.clientX - from.x) / 120, (event.clientY - from.y) / 120);
      from = { x: event.clientX, y: event.clientY };
    });
    for (const type of ["pointerup", "pointercancel"])
      this.canvas.addEventListener(type, () => {
        from = null;
      });
    this.canvas.addEventListener("keydown", (event) => {
      const by = /** @type {Record<string, [number, number]>} */ ({
        ArrowLeft: [-0.15, 0],
        ArrowRight: [0.15, 0],
        ArrowUp: [0, -0.15],
        ArrowDown: [0, 0.15],
      })[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.setTurning(false);
      turn(by[0], by[1]);
    });
  }

  /** @param {boolean} turning */
  setTurning(turning) {
    this.turning = turning;
    this.turnedFor = 0;
    this.stale = true;
    this.viewer.tell("turning", turning);
  }
}
