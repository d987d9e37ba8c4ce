/** Mouse, pen and touch on a plane. */

import { VIEW_PLANES } from "./geometry.js";

/**
 * @typedef {import('./viewer.js').Viewer} Viewer
 * @typedef {import('./plane-view.js').PlaneView} PlaneView
 */

const GRIP = 12; // Pixels beside the curtain in which a drag takes it; twice as many for a finger.
const WINDOW_DRAG = 300; // Pixels of a drag across that widen the window e times.
const WHEEL_ZOOM = 0.0015; // Of an unaccelerated wheel, one notch (100) zooms by 1.16.
const WHEEL_SLICE = 60; // Pixels of the wheel for a slice.

/**
 * Let a plane's canvas take pointers and the wheel.
 * @param {Viewer} viewer
 * @param {PlaneView} view
 * @param {(at: number[] | null) => void} hover
 */
export function attachPointer(viewer, view, hover) {
  const { canvas, number } = view;
  /** @type {Map<number, { x: number, y: number }>} */
  const fingers = new Map();
  let act = "";
  let wheeled = 0;

  /** @param {PointerEvent | WheelEvent} event */
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  /**
   * @param {PointerEvent} event
   * @param {number} x
   */
  const atCurtain = (event, x) => {
    const grip = event.pointerType === "touch" ? 2 * GRIP : GRIP;
    return viewer.second !== null && Math.abs(x - viewer.curtain * view.size.width) < grip;
  };

  /**
   * @param {PointerEvent} event
   * @param {number} x
   */
  const actOf = (event, x) => {
    if (atCurtain(event, x)) return "curtain";
    if (event.button === 2) return "window";
    return event.button === 1 || event.shiftKey ? "pan" : viewer.tool;
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!viewer.first) return;
    const { x, y } = place(event);
    fingers.set(event.pointerId, { x, y });
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    if (viewer.plane !== number) viewer.set({ plane: number });
    act = fingers.size > 1 ? "pinch" : actOf(event, x);
    if (act === "cross") viewer.moveTo(view.positionOf(x, y));
  });

  canvas.addEventListener("pointermove", (event) => {
    const { x, y } = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      hover(viewer.first ? view.positionOf(x, y) : null);
      canvas.classList.toggle("grip", atCurtain(event, x));
      return;
    }
    const [dx, dy] = [x - before.x, y - before.y];
    if (act === "pinch") {
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const ratio =
          Math.hypot(x - other.x, y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
        viewer.pan(number, dx / 2, dy / 2);
        viewer.zoom(number, ratio, (x + other.x - view.size.width) / 2, (y + other.y - view.size.height) / 2);
      }
    } else if (act === "curtain") viewer.setCurtain(x / view.size.width);
    else if (act === "pan") viewer.pan(number, dx, dy);
    else if (act === "window") viewer.dragWindow(dx / WINDOW_DRAG, dy / WINDOW_DRAG);
    else if (act === "cross") viewer.moveTo(view.positionOf(x, y));
    fingers.set(event.pointerId, { x, y });
  });

  /** @param {PointerEvent} event */
  const lift = (event) => {
    fingers.delete(event.pointerId);
    act = "";
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => viewer.set({ solo: viewer.solo === number ? -1 : number }));
  canvas.addEventListener("focus", () => {
    if (viewer.plane !== number) viewer.set({ plane: number });
  });

  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!viewer.first) return;
      event.preventDefault();
      const amount = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? 30 : 1);
      if (event.shiftKey) {
        wheeled += amount;
        const slices = Math.trunc(wheeled / WHEEL_SLICE);
        wheeled -= slices * WHEEL_SLICE;
        viewer.step(VIEW_PLANES[number].normal, slices);
        return;
      }
      const { x, y } = place(event);
      const gain = event.ctrlKey ? 8 * WHEEL_ZOOM : WHEEL_ZOOM;
      viewer.zoom(number, Math.exp(-amount * gain), x - view.size.width / 2, y - view.size.height / 2);
    },
    { passive: false },
  );
}
