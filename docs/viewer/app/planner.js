/** Decides what is decoded next: the coarse look, then what is on the screen, then what is near it. */

import { KEPT_SHARE } from "./dataset.js";

/**
 * @typedef {import('./dataset.js').Dataset} Dataset
 * @typedef {import('./geometry.js').Plane} Plane
 * @typedef {import('./workers.js').Job} Job
 * @typedef {{ plane: Plane, slice: number, rect: import('./paint.js').Rect, step: number }} Seen  a slice on the screen, of
 *   which every `step`-th voxel is seen
 * @typedef {import('./dataset.js').Tile} Tile
 * @typedef {{ dataset: Dataset, volumes: number[], calibrated: boolean }} Shown  volumes of a file that are seen
 * @typedef {{ sets: Shown[], seen: Seen[], at: number[],
 *   volume: number, leaves: boolean }} Scene  the plane in use comes first, and the first file; the leaves of
 *   `volume` are wanted
 */

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
 * @param {Seen} seen
 */
function screenBytes(scene, { rect, step }) {
  const pixels = (rect.r1 - rect.r0) * (rect.d1 - rect.d0);
  return scene.sets.reduce((sum, { dataset, volumes, calibrated }) => {
    const level = dataset.levelFor(step, calibrated);
    return sum + (pixels * volumes.length * dataset.bytes) / dataset.voxels / level ** 2;
  }, 0);
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
  for (const one of seen) {
    const { plane, slice } = one;
    kept += screenBytes(scene, one);
    if (kept > KEPT_SHARE * scene.sets[0].dataset.cache.budget) break;
    let closest = Number.POSITIVE_INFINITY;
    for (const set of scene.sets) {
      const { rights, downs, step, grid } = set.dataset.tilesOn(one, set.calibrated);
      const [across, along] = [grid.edges[plane.right], grid.edges[plane.down]];
      for (const down of downs) {
        for (const right of rights) {
          const away = Math.hypot(
            (across[right] + across[right + 1]) / 2 - scene.at[plane.right],
            (along[down] + along[down + 1]) / 2 - scene.at[plane.down],
          );
          if (away >= closest) continue;
          const job = tileJob(set, { plane, slice, right, down, step }, fits, free);
          if (job) [best, closest] = [job, away];
        }
      }
    }
    if (best) return best;
  }
  return null;
}

/**
 * What is missing of a tile in any of the volumes: a brick where it has to be decoded whole anyway, else the tile.
 * @param {Shown} shown
 * @param {Tile} tile
 * @param {boolean} fits
 * @param {(dataset: Dataset, key: string) => boolean} free
 * @returns {Job | null}
 */
function tileJob({ dataset, volumes, calibrated }, tile, fits, free) {
  for (const volume of volumes) {
    const prefix = dataset.prefix(volume, calibrated);
    if (dataset.hasTile(prefix, tile)) continue;
    if (fits && dataset.meta.whole) {
      for (const [z, y, x] of dataset.bricksOf(tile)) {
        const job = brickJob(dataset, volume, calibrated, z, y, x, free);
        if (job) return job;
      }
      continue;
    }
    const key = dataset.tileKey(prefix, tile);
    if (!free(dataset, key)) continue;
    const common = { key, id: dataset.id, volume, box: dataset.tileBox(tile) };
    if (tile.step > 1) {
      const done = (/** @type {any} */ result) => dataset.keepTile(key, result.values);
      return { ...common, task: "coarse", factor: tile.step, done };
    }
    const done = (/** @type {any} */ values) => dataset.keepTile(key, values);
    return { ...common, task: "decode", calibration: calibrated, done };
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
    if (!fits || !dataset.wantsAll) {
      const [first] = scene.seen;
      const { plane, slice } = first;
      const kept =
        scene.seen.reduce((sum, other) => sum + screenBytes(scene, other), 0) +
        2 * SLICES_AHEAD * screenBytes(scene, first);
      if (kept > KEPT_SHARE * dataset.cache.budget) continue;
      const level = dataset.levelFor(first.step, calibrated);
      for (let ahead = level; ahead <= SLICES_AHEAD * level; ahead += level) {
        for (const other of [slice + ahead, slice - ahead]) {
          if (other < 0 || other >= dataset.shape[plane.normal]) continue;
          const job = seenJob({ ...scene, sets: [set] }, [{ ...first, slice: other }], fits, free);
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
