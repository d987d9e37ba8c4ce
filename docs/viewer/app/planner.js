/** Decides what is decoded next: the coarse look, then what is on the screen, then what is near it. */

import { cellsBetween } from "./geometry.js";

/**
 * @typedef {import('./dataset.js').Dataset} Dataset
 * @typedef {import('./geometry.js').Plane} Plane
 * @typedef {import('./workers.js').Job} Job
 * @typedef {{ plane: Plane, slice: number, rect: import('./paint.js').Rect }} Seen  a slice on the screen
 * @typedef {{ sets: { dataset: Dataset, volumes: number[], calibrated: boolean }[], seen: Seen[], at: number[],
 *   volume: number, leaves: boolean }} Scene  the plane in use comes first, and the first file; the leaves of
 *   `volume` are wanted
 */

const KEPT_SHARE = 0.8; // Volumes, or slices, of a larger share of the cache would push each other out.
const SLICES_AHEAD = 2; // Slices before and behind the one on the screen that are decoded where not all can be kept.

/**
 * The job to do now, or null.
 * @param {Scene} scene
 * @param {Set<string>} running  keys of jobs that workers are at
 * @returns {Job | null}
 */
export function nextJob(scene, running) {
  const free = (/** @type {Dataset} */ dataset, /** @type {string} */ key) =>
    !running.has(key) && !dataset.failed.has(key);
  const first = coarseJob(scene, 0, free);
  if (first) return first;
  if (scene.leaves) {
    const [{ dataset }] = scene.sets;
    const volume = scene.volume;
    const key = `${dataset.id}/leaves/${volume}`;
    if (!dataset.leaves.has(volume) && free(dataset, key)) {
      return {
        key,
        id: dataset.id,
        task: dataset.eager ? "allLeaves" : "leaves",
        volume,
        done: (leaves) => dataset.leaves.set(volume, leaves),
      };
    }
  }
  const total = scene.sets.reduce((sum, { dataset, volumes }) => sum + dataset.bytes * volumes.length, 0);
  const fits = total <= KEPT_SHARE * scene.sets[0].dataset.cache.budget;
  return seenJob(scene, scene.seen, fits, free) ?? coarseJob(scene, 1, free) ?? backgroundJob(scene, fits, free);
}

/**
 * A coarse look at a volume, if it is quick.
 * @param {Scene} scene
 * @param {number} stage 0 for the first look, 1 for a better one
 * @param {(dataset: Dataset, key: string) => boolean} free
 * @returns {Job | null}
 */
function coarseJob(scene, stage, free) {
  for (const { dataset, volumes } of scene.sets) {
    const factor = dataset.coarseFactors[stage];
    const quick = dataset.eager || scene.seen.length > 1; // One slice alone of a server's file comes soon enough.
    if (!factor || !dataset.hasCoarse || !quick) continue;
    for (const volume of volumes) {
      const key = `${dataset.id}/coarse${factor}/${volume}`;
      if (dataset.hasLook(volume, factor) || dataset.isWhole(volume, true) || !free(dataset, key)) continue;
      const done = (/** @type {any} */ result) => dataset.keepCoarse(volume, factor, result);
      return { key, id: dataset.id, task: "coarse", volume, factor, done };
    }
  }
  return null;
}

/**
 * Bytes of all values on the screen of one slice.
 * @param {Scene} scene
 * @param {Seen["rect"]} rect
 */
function screenBytes(scene, { r0, r1, d0, d1 }) {
  const pixels = (r1 - r0) * (d1 - d0);
  return scene.sets.reduce(
    (sum, { dataset, volumes }) => sum + (pixels * volumes.length * dataset.bytes) / dataset.voxels,
    0,
  );
}

/**
 * The tile on the screen that is missing and closest to the crosshair.
 * @param {Scene} scene
 * @param {Seen[]} seen
 * @param {boolean} fits  whether all can be kept
 * @param {(dataset: Dataset, key: string) => boolean} free
 * @returns {Job | null}
 */
function seenJob(scene, seen, fits, free) {
  let best = /** @type {Job | null} */ (null);
  let kept = 0;
  for (const { plane, slice, rect } of seen) {
    kept += screenBytes(scene, rect);
    if (kept > KEPT_SHARE * scene.sets[0].dataset.cache.budget) break;
    let closest = Number.POSITIVE_INFINITY;
    for (const { dataset, volumes, calibrated } of scene.sets) {
      const [across, along] = [dataset.tiles.edges[plane.right], dataset.tiles.edges[plane.down]];
      for (const down of cellsBetween(along, rect.d0, rect.d1)) {
        for (const right of cellsBetween(across, rect.r0, rect.r1)) {
          const away = Math.hypot(
            (across[right] + across[right + 1]) / 2 - scene.at[plane.right],
            (along[down] + along[down + 1]) / 2 - scene.at[plane.down],
          );
          if (away >= closest) continue;
          for (const volume of volumes) {
            const prefix = dataset.prefix(volume, calibrated);
            if (dataset.hasTile(prefix, plane, slice, right, down)) continue;
            const job =
              fits && dataset.meta.whole
                ? brickOfTile(dataset, volume, calibrated, plane, slice, right, down, free)
                : tileJob(dataset, volume, calibrated, plane, slice, right, down, free);
            if (!job) continue;
            best = job;
            closest = away;
            break;
          }
        }
      }
    }
    if (best) return best;
  }
  return null;
}

/**
 * @param {Dataset} dataset
 * @param {number} volume
 * @param {boolean} calibrated
 * @param {Plane} plane
 * @param {number} slice
 * @param {number} right
 * @param {number} down
 * @param {(dataset: Dataset, key: string) => boolean} free
 * @returns {Job | null}
 */
function tileJob(dataset, volume, calibrated, plane, slice, right, down, free) {
  const key = dataset.tileKey(dataset.prefix(volume, calibrated), plane, slice, right, down);
  if (!free(dataset, key)) return null;
  const box = dataset.tileBox(plane, slice, right, down);
  return {
    key,
    id: dataset.id,
    task: "decode",
    volume,
    box,
    calibration: calibrated,
    done: (values) => dataset.keepTile(key, values),
  };
}

/**
 * @param {Dataset} dataset
 * @param {number} volume
 * @param {boolean} calibrated
 * @param {Plane} plane
 * @param {number} slice
 * @param {number} right
 * @param {number} down
 * @param {(dataset: Dataset, key: string) => boolean} free
 * @returns {Job | null}
 */
function brickOfTile(dataset, volume, calibrated, plane, slice, right, down, free) {
  for (const [z, y, x] of dataset.bricksOf(plane, slice, right, down)) {
    const job = brickJob(dataset, volume, calibrated, z, y, x, free);
    if (job) return job;
  }
  return null;
}

/**
 * @param {Dataset} dataset
 * @param {number} volume
 * @param {boolean} calibrated
 * @param {number} z
 * @param {number} y
 * @param {number} x
 * @param {(dataset: Dataset, key: string) => boolean} free
 * @returns {Job | null}
 */
function brickJob(dataset, volume, calibrated, z, y, x, free) {
  const prefix = dataset.prefix(volume, calibrated);
  const key = `${prefix}${z},${y},${x}`;
  if (dataset.cache.has(key) || !free(dataset, key)) return null;
  const box = dataset.brickBox(z, y, x);
  const done = (/** @type {any} */ values) => dataset.keepBrick(prefix, volume, box, key, values);
  return { key, id: dataset.id, task: "decode", volume, box, calibration: calibrated, done };
}

/**
 * What is not on the screen: where it can be kept whole, the brick closest to the slices on the screen, those of the
 * plane in use before others; else the slices next to that of the plane in use.
 * @param {Scene} scene
 * @param {boolean} fits
 * @param {(dataset: Dataset, key: string) => boolean} free
 * @returns {Job | null}
 */
function backgroundJob(scene, fits, free) {
  for (const set of scene.sets) {
    const { dataset, volumes, calibrated } = set;
    if (!dataset.eager || !scene.seen.length) continue;
    if (!fits) {
      const [{ plane, slice, rect }] = scene.seen;
      const kept =
        scene.seen.reduce((sum, other) => sum + screenBytes(scene, other.rect), 0) +
        2 * SLICES_AHEAD * screenBytes(scene, rect);
      if (kept > KEPT_SHARE * dataset.cache.budget) continue;
      for (let ahead = 1; ahead <= SLICES_AHEAD; ahead++) {
        for (const other of [slice + ahead, slice - ahead]) {
          if (other < 0 || other >= dataset.shape[plane.normal]) continue;
          const job = seenJob({ ...scene, sets: [set] }, [{ plane, slice: other, rect }], fits, free);
          if (job) return job;
        }
      }
      continue;
    }
    const [{ plane }] = scene.seen;
    const centers = dataset.grid.edges.map((edges, axis) =>
      edges.slice(1).map((edge, cell) => ((edge + edges[cell]) / 2 - scene.at[axis]) * (axis === plane.normal ? 3 : 1)),
    );
    for (const volume of volumes) {
      if (dataset.isWhole(volume, calibrated)) continue;
      const prefix = dataset.prefix(volume, calibrated);
      let [closest, found] = [Number.POSITIVE_INFINITY, /** @type {number[] | null} */ (null)];
      let missing = false;
      centers[0].forEach((dz, z) => {
        centers[1].forEach((dy, y) => {
          centers[2].forEach((dx, x) => {
            const away = dz * dz + dy * dy + dx * dx;
            const key = `${prefix}${z},${y},${x}`;
            if ((missing && away >= closest) || dataset.cache.has(key)) return;
            missing = true;
            if (away < closest && free(dataset, key)) [closest, found] = [away, [z, y, x]];
          });
        });
      });
      if (!missing) dataset.setWhole(volume, calibrated);
      if (found) return brickJob(dataset, volume, calibrated, found[0], found[1], found[2], free);
    }
  }
  return null;
}
