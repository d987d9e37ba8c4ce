"""Draw the voxels of a batch, and note their errors, compiled. sampling.py says how they are chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


@compiled
def draw_voxels(
    random: Doubles, regions: Integers, counts: Integers, begins: Integers, shard: int, shards: int,
    mass_before: Doubles, voxels_per_mass: Doubles, boxes: NDArray[np.int32],
    values: Floats, lines: int, columns: int, importance: Floats, scale: Floats,
    coordinates: Floats, intensity: Floats, weight: Floats, counted: Floats, blocks: NDArray[np.int32],
    places: Integers,
) -> None:  # fmt: skip
    """Draw one voxel in each stratum of each region.

    Parameters
    ----------
    random : (n_points,), uniform in [0, 1); overwritten.
    regions, counts, begins : of each run of points, its region, points, and first column in ``coordinates``.
    shard, shards : number of this share, and of all.
    mass_before, voxels_per_mass, boxes : of the blocks, see :class:`~.sampling.Sampler`.
    values, lines, columns : of the volume, flat, and its last two sides.
    importance : of the volume, flat; empty for equal importance.
    scale : of each run, factor of the weights.
    coordinates, intensity, weight : overwritten; float32 (3, n_columns), and (n_points,) each.
    blocks, places : overwritten; the block of each point, and its place in the flat volume.
    counted : the importance of each point, (n_points,); overwritten unless importance is equal.
    """
    _choose_blocks(random, regions, counts, shard, shards, mass_before, blocks)
    point = 0
    for run in range(len(regions)):
        for column in range(begins[run], begins[run] + counts[run]):
            block = blocks[point]
            z, y, x, depth, height, width = boxes[block]
            inside = min(int(random[point] * voxels_per_mass[block]), depth * height * width - 1)
            line = inside // width
            plane = line // height
            z, y, x = z + plane, y + line - plane * height, x + inside - line * width
            coordinates[0, column], coordinates[1, column], coordinates[2, column] = z, y, x
            places[point] = (z * lines + y) * columns + x
            weight[point] = np.float32(voxels_per_mass[block]) * scale[run]
            point += 1
    for i in range(point):  # a loop of few instructions, so that a core waits for many voxels at once
        intensity[i] = values[places[i]]
    if len(importance):
        for i in range(point):
            counted[i] = importance[places[i]]
            weight[i] *= counted[i]


@compiled
def _choose_blocks(
    random: Doubles, regions: Integers, counts: Integers, shard: int, shards: int, mass_before: Doubles,
    blocks: NDArray[np.int32],
) -> None:  # fmt: skip
    """Find the block of every point, and replace its random number by the mass of the block before the point."""
    point = 0
    for run in range(len(regions)):
        region, strata = regions[run], counts[run] * shards
        block = np.searchsorted(mass_before, region, side="right") - 1
        for i in range(counts[run]):
            place = region + (i * shards + shard + random[point]) / strata
            while block + 1 < len(mass_before) and mass_before[block + 1] <= place:
                block += 1
            blocks[point], random[point] = block, place - mass_before[block]
            point += 1


@compiled
def note_errors(squares: Floats, counted: Floats, blocks: NDArray[np.int32], errors: Doubles, draws: Doubles) -> None:
    """Add the squared errors of points, times their importance, and their number to those of their blocks."""
    for i in range(len(squares)):
        errors[blocks[i]] += squares[i] * counted[i]
        draws[blocks[i]] += 1
