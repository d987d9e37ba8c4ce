/** Draws one plane: the coarse look, the slices that are decoded over it, leaves, crosshair and curtain. */

import { cssColor, tableOf } from "./colors.js";
import { fitScale, frameOf, VIEW_PLANES, visibleRect } from "./geometry.js";
import { LEAF_COLUMNS, worstError } from "./leaves.js";
import { makeRaster, paintPiece, paintRect } from "./paint.js";

/**
 * @typedef {import('./viewer.js').Viewer} Viewer
 * @typedef {import('./viewer.js').Side} Side
 * @typedef {import('./geometry.js').Frame} Frame
 * @typedef {import('./paint.js').Raster} Raster
 */

const MOST_TILES = 2 ** 14; // Of a slice of more tiles on the screen only the coarse look is drawn.
const QUALITIES = ["empty", "coarse", "fine"]; // Nothing, part or a coarse look, and every voxel is drawn.
const AXIS_COLORS = ["#4f86f7", "#3fa45b", "#e0544a"]; // Lines of constant z, y, x.
const NARROWEST = 3; // Pixels that a picture is high and wide at least: a thinner one would lie under the crosshair.
const SMOOTH_BELOW = 1; // Voxels of fewer pixels than this are always drawn smooth: they would flicker.

/**
 * Make a canvas the size of its place on the screen.
 * @param {HTMLCanvasElement} canvas
 * @returns {{ width: number, height: number, ratio: number }} in CSS pixels
 */
export function matchSize(canvas) {
  const ratio = Math.min(2, globalThis.devicePixelRatio || 1);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [wide, high] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  return { width, height, ratio };
}

/**
 * The 2D context of a canvas.
 * @param {HTMLCanvasElement} canvas
 */
export function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser gives no 2D canvas");
  return context;
}

export class PlaneView {
  /**
   * @param {Viewer} viewer
   * @param {number} number
   * @param {HTMLCanvasElement} canvas
   */
  constructor(viewer, number, canvas) {
    this.viewer = viewer;
    this.number = number;
    this.plane = VIEW_PLANES[number];
    this.canvas = canvas;
    this.scratch = document.createElement("canvas");
    this.size = { width: 0, height: 0, ratio: 1 };
    /** Facts about what was drawn last, and slices drawn since the file was opened. */
    this.facts = { slice: -1, quality: "empty", frames: 0 };
    this.slices = new Set();
    this.fineSlices = new Set();
  }

  /** Forget what was drawn of another file. */
  reset() {
    this.facts = { slice: -1, quality: "empty", frames: 0 };
    this.slices.clear();
    this.fineSlices.clear();
  }

  /** The scale at which the plane fits its place. */
  get fitting() {
    const { first, spacing } = this.viewer;
    if (!first || !this.size.width) return Number.POSITIVE_INFINITY;
    return fitScale(this.plane, first.shape, spacing, this.size.width - 16, this.size.height - 16);
  }

  /** Where voxels are on the screen, in CSS pixels. */
  get frame() {
    const { center, scale, spacing } = this.viewer;
    return frameOf(this.plane, center, scale, spacing, this.size.width, this.size.height);
  }

  /**
   * The slice that is on the screen and the part of it; null if none is.
   * @returns {import('./planner.js').Seen | null}
   */
  look() {
    const { first, at } = this.viewer;
    if (!first || !this.size.width) return null;
    const rect = visibleRect(this.frame, this.plane, first.shape, this.size.width, this.size.height);
    const { px, py } = this.frame;
    const step = Math.min(this.stepOf(px), this.stepOf(py));
    return { plane: this.plane, slice: at[this.plane.normal], rect, step };
  }

  /**
   * Voxels between those that are drawn, so that none is much smaller than a pixel of the screen.
   * @param {number} size of a voxel, in CSS pixels
   */
  stepOf(size) {
    return 2 ** Math.max(0, Math.floor(-Math.log2(size * this.size.ratio)));
  }

  /**
   * Position in the volume of a place of the view.
   * @param {number} x
   * @param {number} y
   * @returns {number[]}
   */
  positionOf(x, y) {
    const { x0, y0, px, py } = this.frame;
    const at = [...this.viewer.at];
    at[this.plane.right] = Math.floor((x - x0) / px);
    at[this.plane.down] = Math.floor((y - y0) / py);
    return at;
  }

  /** Draw everything. */
  draw() {
    const context = contextOf(this.canvas);
    const { width, height, ratio } = this.size;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const seen = this.look();
    if (!seen) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const sides = this.viewer.sides();
    let quality = QUALITIES.length - 1;
    sides.forEach((side, i) => {
      context.save();
      if (sides.length > 1) {
        const cut = this.viewer.curtain * width;
        context.beginPath();
        context.rect(i ? cut : 0, 0, i ? width - cut : cut, height);
        context.clip();
      }
      quality = Math.min(quality, this.drawSide(context, side, seen));
      if (i === 0 && this.viewer.leaves) this.drawLeaves(context, seen.slice);
      context.restore();
    });
    this.drawCrosshair(context);
    this.drawDirections(context);
    if (sides.length > 1) this.drawCurtain(context, sides);
    this.facts = { slice: seen.slice, quality: QUALITIES[quality], frames: this.facts.frames + 1 };
    this.slices.add(seen.slice);
    if (QUALITIES[quality] === "fine") this.fineSlices.add(seen.slice);
  }

  /**
   * Draw a file's slice: what is decoded over the coarse look. Return the quality, a place in QUALITIES.
   * @param {CanvasRenderingContext2D} context
   * @param {Side} side
   * @param {import('./planner.js').Seen} seen
   */
  drawSide(context, side, seen) {
    const { dataset, volumes, looks } = side;
    const { plane, slice, rect } = seen;
    const { px, py } = this.frame;
    if (rect.r0 >= rect.r1 || rect.d0 >= rect.d1) return 2;
    const { rights, downs, step } = dataset.tilesOn(seen, side.calibrated);
    const [stepRight, stepDown] = [px, py].map((size) => Math.max(step, this.stepOf(size)));
    const raster = makeRaster(rect, stepRight, stepDown);
    const prefixes = volumes.map((volume) => dataset.prefix(volume, side.calibrated));
    let [fine, some] = [rights.length * downs.length <= MOST_TILES, false];
    for (const down of fine ? downs : []) {
      for (const right of rights) {
        const parts = prefixes.map((prefix) => dataset.piecesOf(prefix, { plane, slice, right, down, step }));
        fine &&= parts.every(({ complete }) => complete);
        // Some channels alone would mislead.
        if (parts.length > 1 && !parts.every(({ complete }) => complete)) continue;
        parts.forEach(({ pieces }, i) => {
          for (const piece of pieces) paintPiece(raster, piece, plane, slice, looks[i], i > 0);
          some ||= pieces.length > 0;
        });
      }
    }
    if (!fine) this.drawCoarse(context, side, slice);
    this.place(
      context,
      raster,
      stepRight,
      stepDown,
      this.viewer.smooth || Math.min(px * stepRight, py * stepDown) < SMOOTH_BELOW,
    );
    return fine ? 2 : Number(some || volumes.some((volume) => dataset.coarse.has(volume)));
  }

  /**
   * Draw the coarse look at a slice, smooth.
   * @param {CanvasRenderingContext2D} context
   * @param {Side} side
   * @param {number} slice
   */
  drawCoarse(context, { dataset, volumes, looks }, slice) {
    const { normal, right, down } = this.plane;
    volumes.forEach((volume, i) => {
      const coarse = dataset.coarse.get(volume);
      if (!coarse) return;
      const { shape, factors, values } = coarse;
      const strides = [shape[1] * shape[2], shape[2], 1];
      const raster = makeRaster({ r0: 0, r1: shape[right], d0: 0, d1: shape[down] });
      const start = Math.min(shape[normal] - 1, Math.floor(slice / factors[normal])) * strides[normal];
      paintRect(
        raster,
        { r0: 0, r1: shape[right], d0: 0, d1: shape[down] },
        values,
        start,
        strides[right],
        strides[down],
        looks[i],
        false,
      );
      if (i > 0) context.globalCompositeOperation = "lighter";
      context.save();
      const { x0, y0, px, py } = this.frame;
      context.beginPath();
      context.rect(x0, y0, dataset.shape[right] * px, dataset.shape[down] * py);
      context.clip();
      this.place(context, raster, factors[right], factors[down], !looks[i].labels);
      context.restore();
    });
    context.globalCompositeOperation = "source-over";
  }

  /**
   * Put a raster where its voxels are.
   * @param {CanvasRenderingContext2D} context
   * @param {Raster} raster
   * @param {number} right voxels a pixel
   * @param {number} down
   * @param {boolean} smooth
   */
  place(context, raster, right, down, smooth) {
    const { scratch } = this;
    if (scratch.width !== raster.columns || scratch.height !== raster.rows)
      [scratch.width, scratch.height] = [raster.columns, raster.rows];
    const image = new ImageData(
      new Uint8ClampedArray(/** @type {ArrayBuffer} */ (raster.pixels.buffer)),
      raster.columns,
      raster.rows,
    );
    contextOf(scratch).putImageData(image, 0, 0);
    const { x0, y0, px, py } = this.frame;
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = right * px < 1 ? "high" : "low"; // Only what is made smaller needs more.
    const [wide, high] = [raster.columns * right * px, raster.rows * down * py];
    const [wider, higher] = [wide, high].map((size) => Math.max(0, NARROWEST - size));
    const [x, y] = [x0 + raster.r0 * px - wider / 2, y0 + raster.d0 * py - higher / 2];
    context.drawImage(scratch, x, y, wide + wider, high + higher);
  }

  /**
   * Draw the leaves that the slice goes through, coloured by their error.
   * @param {CanvasRenderingContext2D} context
   * @param {number} slice
   */
  drawLeaves(context, slice) {
    const { first } = this.viewer;
    const leaves = first?.leaves.get(this.viewer.volume);
    if (!leaves) return;
    const { normal, right, down } = this.plane;
    const { x0, y0, px, py } = this.frame;
    const { width, height } = this.size;
    const worst = worstError(leaves);
    const table = tableOf("inferno");
    context.lineWidth = 1;
    for (let at = 0; at < leaves.length; at += LEAF_COLUMNS) {
      if (slice < leaves[at + normal] || slice >= leaves[at + 3 + normal]) continue;
      const [left, top] = [x0 + leaves[at + right] * px, y0 + leaves[at + down] * py];
      const [wide, high] = [
        (leaves[at + 3 + right] - leaves[at + right]) * px,
        (leaves[at + 3 + down] - leaves[at + down]) * py,
      ];
      if (left > width || top > height || left + wide < 0 || top + high < 0) continue;
      const rmse = leaves[at + 9];
      const color = table[Number.isNaN(rmse) || !worst ? 150 : 60 + Math.round((195 * rmse) / worst)];
      if (!Number.isNaN(rmse)) {
        context.fillStyle = cssColor(color, 0.2);
        context.fillRect(left, top, wide, high);
      }
      context.strokeStyle = cssColor(color, 0.9);
      context.strokeRect(left + 0.5, top + 0.5, wide - 1, high - 1);
    }
  }

  /**
   * Draw the other two planes as lines.
   * @param {CanvasRenderingContext2D} context
   */
  drawCrosshair(context) {
    const { at } = this.viewer;
    const { right, down } = this.plane;
    const { x0, y0, px, py } = this.frame;
    const { width, height } = this.size;
    const [x, y] = [x0 + (at[right] + 0.5) * px, y0 + (at[down] + 0.5) * py];
    const gap = Math.max(8, px / 2 + 2);
    const lines = /** @type {[number, number[]][]} */ ([
      [right, [x, 0, x, y - gap]],
      [right, [x, y + gap, x, height]],
      [down, [0, y, x - gap, y]],
      [down, [x + gap, y, width, y]],
    ]);
    context.lineWidth = 1;
    context.globalAlpha = this.viewer.plane === this.number ? 0.95 : 0.6;
    for (const [axis, [fromX, fromY, toX, toY]] of lines) {
      context.strokeStyle = AXIS_COLORS[axis];
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /**
   * Write at the edges where a body's left, front and so on are.
   * @param {CanvasRenderingContext2D} context
   */
  drawDirections(context) {
    const { directions } = this.viewer;
    if (!directions) return;
    const { width, height } = this.size;
    const [left, right] = directions[this.plane.right];
    const [top, bottom] = directions[this.plane.down];
    context.font = "600 13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.strokeStyle = "rgb(0 0 0 / 70%)";
    context.fillStyle = "#fff";
    const places = /** @type {[string, number, number][]} */ ([
      [left, 12, height / 2 - 14],
      [right, width - 12, height / 2 - 14],
      [top, width / 2 + 14, 12],
      [bottom, width / 2 + 14, height - 12],
    ]);
    for (const [letter, x, y] of places) {
      context.strokeText(letter, x, y);
      context.fillText(letter, x, y);
    }
    context.textAlign = "start";
  }

  /**
   * Draw the curtain with the names of both sides.
   * @param {CanvasRenderingContext2D} context
   * @param {Side[]} sides
   */
  drawCurtain(context, sides) {
    const { width, height } = this.size;
    const cut = Math.round(this.viewer.curtain * width);
    context.fillStyle = "rgb(0 0 0 / 55%)";
    context.fillRect(cut - 2, 0, 4, height);
    context.fillStyle = "#fff";
    context.fillRect(cut - 1, 0, 2, height);
    context.beginPath();
    context.roundRect(cut - 5, height / 2 - 18, 10, 36, 5);
    context.fill();
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "top";
    sides.forEach(({ dataset }, i) => {
      const most = (i ? width - cut : cut) - 16;
      if (most < 40) return;
      let text = dataset.name;
      while (text.length > 3 && context.measureText(text).width > most - 12) text = `${text.slice(0, -2)}…`;
      const wide = context.measureText(text).width;
      const x = i ? cut + 8 : cut - 20 - wide;
      context.fillStyle = "rgb(0 0 0 / 60%)";
      context.beginPath();
      context.roundRect(x, 8, wide + 12, 20, 4);
      context.fill();
      context.fillStyle = "#fff";
      context.fillText(text, x + 6, 12);
    });
  }
}
