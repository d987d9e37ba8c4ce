/** Keys. They act on the plane in use, unless a field has the focus. */

import { VIEW_PLANES } from "./geometry.js";

/** @typedef {import('./viewer.js').Viewer} Viewer */

const SHIFT_SLICES = 10; // Slices of a step with Shift.

/**
 * Act on a key. Tell whether it means anything.
 * @param {Viewer} viewer
 * @param {KeyboardEvent} event
 * @param {Record<string, () => void>} acts  of the page, by key
 */
export function pressKey(viewer, event, acts) {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const inField = target instanceof HTMLInputElement && !["checkbox", "button"].includes(target.type);
  if (
    target instanceof HTMLSelectElement ||
    (inField && (target.type !== "range" || /^(Arrow|Page|Home|End)/.test(key)))
  )
    return false;
  if (document.querySelector("dialog[open]")) return false;
  if (Object.hasOwn(acts, key)) {
    acts[key]();
    return true;
  }
  if (!viewer.first) return false;
  const { normal, right, down } = VIEW_PLANES[viewer.plane];
  const by = event.shiftKey ? SHIFT_SLICES : 1;
  const solo = (/** @type {number} */ plane) => () =>
    viewer.set(plane < 3 ? { solo: viewer.solo === plane ? -1 : plane, plane } : { solo: viewer.solo === 3 ? -1 : 3 });
  const axis = viewer.first.meta.leading.findIndex(
    (n, i) => n > 1 && (i !== viewer.channelAxis || viewer.first?.meta.leading.length === 1),
  );
  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => viewer.step(right, -by),
    ArrowRight: () => viewer.step(right, by),
    ArrowUp: () => viewer.step(down, -by),
    ArrowDown: () => viewer.step(down, by),
    PageUp: () => viewer.step(normal, -by),
    PageDown: () => viewer.step(normal, by),
    Home: () => viewer.step(normal, -viewer.at[normal]),
    End: () => viewer.step(normal, viewer.first?.shape[normal] ?? 0),
    "+": () => viewer.zoom(viewer.plane, 1.25),
    "=": () => viewer.zoom(viewer.plane, 1.25),
    "-": () => viewer.zoom(viewer.plane, 0.8),
    0: () => viewer.fit(),
    1: solo(0),
    2: solo(1),
    3: solo(2),
    4: solo(3),
    "[": () => viewer.setIndex(axis, viewer.index[axis] - 1),
    "]": () => viewer.setIndex(axis, viewer.index[axis] + 1),
    v: () => viewer.set({ tool: "cross" }),
    h: () => viewer.set({ tool: "pan" }),
    w: () => viewer.set({ tool: "window" }),
    a: () => viewer.autoWindow(),
    l: () => viewer.set({ leaves: !viewer.leaves && viewer.first?.meta.flavour === "tinc" }),
    c: () => viewer.set({ calibrated: !viewer.calibrated || !viewer.first?.meta.calibrated }),
    s: () => viewer.set({ smooth: !viewer.smooth }),
  };
  if (!Object.hasOwn(keys, key) || (axis < 0 && /[[\]]/.test(key))) return false;
  keys[key]();
  return true;
}
