"""Decide which boxes below a network become scalars: split or stop, by the distortion and the bits that each costs.

A pilot fit estimates the squared error that the network will leave in each box. With J in units of squared error and a
price for a bit, a box may be

    left to the network     J = N + price * bits      N: the network's expected squared error there
    one scalar              J = V + price * bits      V: squared deviation from the box's mean
    split                   J = price * bits + the sum over its children

The least J is taken, from the smallest boxes up to the networks' own (as Sullivan and Baker 1994 do for quadtrees).
If squared error falls as 1 / bits, its total S makes a bit worth S / bits. A network could do better elsewhere if it
need not learn a scalar's box. This is not counted: counting N twice lost up to 1 dB (docs/benchmarks/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..format.limits import MAX_TREE
from ..format.widths import INHERITS, SCALAR
from ..octree import MAX_DEPTH, Octree, child_offsets, split_counts

LEAST_VOXELS = 64  # Boxes are not cut into smaller ones.
SPLIT_BITS = 1.0  # Bits for the split flag of a node.
FLAG_BITS = 1.0  # Bits for the scalar flag of a leaf.
VALUE_BITS = 3.0  # Bits for the value of a scalar.
LEAST_IMPORTANCE = 1e-6  # A voxel of less importance counts as if it had this much.
LEAST_GAIN = 0.02  # A partition that gains a smaller share of the total squared error is not made.


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """A tree whose networks share boxes with scalars.

    Attributes
    ----------
    octree : the octree; a network that has no box left is gone.
    widths : width of every node, or SCALAR or INHERITS, int64 (n_nodes,).
    values : values of the scalar leaves, in node order, in units of the normalised volume.
    squares : sum of the squared deviations of these leaves from their values.
    """

    octree: Octree
    widths: NDArray[np.int64]
    values: NDArray[np.float64]
    squares: float


def partition(
    volume: NDArray[np.float32], errors: NDArray[np.float32], stride: int, octree: Octree, widths: NDArray[np.int64],
    network_bits: float, bits: float, importance: NDArray[np.float32] | None = None,
) -> Partition | None:  # fmt: skip
    """Find the cheapest partition below the leaves of a full octree; None if none is worth it.

    Parameters
    ----------
    volume : normalised, (z, y, x); NaN where the background is, which costs nothing in any way.
    errors : squared errors expected of the network at every ``stride``-th voxel of each axis, from 0.
    octree, widths : networks on all nodes of a full octree.
    network_bits, bits : of the network of one leaf, and of the whole file.
    importance : weights of all squared errors, of the volume's shape; None for equal ones.
    """
    counts = split_counts(octree.shape, MAX_DEPTH)
    finest = octree.depth
    while finest < MAX_DEPTH and (counts[finest + 1] > counts[finest]).any():
        if np.prod(np.array(octree.shape) / 2.0 ** counts[finest + 1]) < LEAST_VOXELS:
            break
        finest += 1
    unknown = np.isnan(volume)
    if unknown.any():
        importance = np.where(unknown, 0, np.float32(1) if importance is None else importance).astype(np.float32)
        volume = np.where(unknown, 0, volume)
    n, total, squares = _moments_of_cells(volume, counts[finest], importance)
    known = np.ones_like(errors)
    if importance is not None:
        known = np.maximum(importance[::stride, ::stride, ::stride], LEAST_IMPORTANCE)
    network = _sums_of_cells(errors * known, octree.shape, counts[finest], stride)
    network *= n / _sums_of_cells(known, octree.shape, counts[finest], stride)
    price = float(network.sum()) / bits
    scalars: list[NDArray[np.bool_]] = []
    splits: list[NDArray[np.bool_]] = []
    means: list[NDArray[np.float64]] = []
    deviations: list[NDArray[np.float64]] = []
    cost: NDArray[np.float64] | None = None
    for level in range(finest, octree.depth - 1, -1):
        if cost is not None:
            n, total, squares, network, cost = (
                _sum_over_children(values, counts[level + 1] - counts[level])
                for values in (n, total, squares, network, cost)
            )
        mean = total / n
        deviation = np.maximum(squares - total * mean, 0)
        # A scalar at the networks' level saves a network; all other boxes of that level have to pay for it.
        is_network_level = level == octree.depth
        inherit = network + price * (network_bits if is_network_level else SPLIT_BITS + FLAG_BITS)
        scalar = deviation + price * (SPLIT_BITS + FLAG_BITS + VALUE_BITS)
        split = (
            np.full(n.shape, np.inf) if cost is None else cost + price * (SPLIT_BITS + network_bits * is_network_level)
        )
        cost = np.minimum(np.minimum(inherit, scalar), split)
        splits.insert(0, (split < inherit) & (split < scalar))
        scalars.insert(0, (scalar < inherit) & ~splits[0])
        means.insert(0, mean)
        deviations.insert(0, deviation)
    assert cost is not None
    gain = float(network.sum()) + price * network_bits * network.size - float(cost.sum())
    if gain < LEAST_GAIN * float(network.sum()):
        return None
    return _grow_tree(octree, widths, counts, splits, scalars, means, deviations)


def _grow_tree(
    octree: Octree, widths: NDArray[np.int64], counts: NDArray[np.int64], splits: list[NDArray[np.bool_]],
    scalars: list[NDArray[np.bool_]], means: list[NDArray[np.float64]], deviations: list[NDArray[np.float64]],
) -> Partition | None:  # fmt: skip
    """Build the tree of the boxes that were chosen on the lattices of the levels, from that of the networks down."""
    cells = octree.cell[octree.leaves]
    flags = [np.ones(octree.leaves[0], bool)]
    for depth, split in enumerate(splits):
        level, here = octree.depth + depth, split[tuple(cells.T)]
        offsets = child_offsets(counts, level) if here.any() else np.zeros((0, 3), np.int64)
        if sum(map(len, flags)) + len(here) + int(here.sum()) * len(offsets) > MAX_TREE:
            here[:] = False  # a file cannot have more nodes
        flags.append(here)
        if not here.any():
            break
        cells = ((cells[here] << counts[level + 1] - counts[level])[:, None] + offsets).reshape(-1, 3)
    tree = Octree.from_splits(octree.shape, np.concatenate(flags))
    out = np.full(len(tree.split), INHERITS, np.int64)
    first_leaf = octree.leaves[0]  # of a full tree, so that all nodes above keep their numbers
    out[: len(widths)] = widths
    values, squares = [], 0.0
    for leaf in tree.leaves[tree.leaves >= first_leaf].tolist():
        depth, cell = int(tree.level[leaf]) - octree.depth, tuple(tree.cell[leaf])
        if scalars[depth][cell]:
            out[leaf] = SCALAR
            values.append(means[depth][cell])
            squares += float(deviations[depth][cell])
    # Networks whose leaves are all scalars are dropped, and so are those that then have no network below.
    used = np.zeros(len(tree.split), bool)
    used[tree.leaves[out[tree.leaves] != SCALAR]] = True
    for level in range(tree.depth, 0, -1):
        used[tree.parent[(tree.level == level) & used]] = True
    if not used[0]:
        return None
    out[(out > 0) & ~used] = INHERITS
    return Partition(tree, out, np.array(values), squares)


def _first_voxels(length: int, cuts: int) -> NDArray[np.int64]:
    """Return the first voxels of the cells of a lattice along an axis."""
    return np.arange(2**cuts) * length >> cuts


def _sums_of_cells(
    values: NDArray[np.floating[Any]], shape: tuple[int, ...], cuts: NDArray[np.int64], stride: int
) -> NDArray[np.float64]:
    """Sum over the cells of a lattice values that are known at every ``stride``-th voxel."""
    out: NDArray[np.float64] = values.astype(np.float64)
    for axis, (length, cut) in enumerate(zip(shape, cuts.tolist(), strict=True)):
        out = np.add.reduceat(out, -(-_first_voxels(length, cut) // stride), axis=axis)
    return out


def _moments_of_cells(
    volume: NDArray[np.float32], cuts: NDArray[np.int64], importance: NDArray[np.float32] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return voxels, sums and sums of squares of the cells of a lattice, each voxel as often as it has importance.

    Slab by slab, as float64 takes memory.
    """
    z_edges = np.append(_first_voxels(volume.shape[0], int(cuts[0])), volume.shape[0])
    flat = cuts.copy()
    flat[0] = 0
    parts: list[list[NDArray[np.float64]]] = [[], [], []]
    for low, high in zip(z_edges[:-1].tolist(), z_edges[1:].tolist(), strict=True):
        slab = volume[low:high].astype(np.float64)
        weights = 1.0 if importance is None else np.maximum(importance[low:high], LEAST_IMPORTANCE).astype(np.float64)
        moments = [slab * weights, slab * slab * weights]
        if importance is not None:
            moments.append(np.broadcast_to(weights, slab.shape))
        for part, values in zip(parts, moments, strict=False):
            part.append(_sums_of_cells(values, slab.shape, flat, 1))
    sizes = [np.diff(np.append(_first_voxels(n, c), n)) for n, c in zip(volume.shape, cuts.tolist(), strict=True)]
    n = sizes[0][:, None, None] * sizes[1][:, None] * sizes[2].astype(np.float64)
    if importance is not None:
        n = np.concatenate(parts[2])
    return n, np.concatenate(parts[0]), np.concatenate(parts[1])


def _sum_over_children(values: NDArray[np.float64], halved: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum over the children of every cell of the lattice above."""
    for axis, cut in enumerate(halved.tolist()):
        if cut:
            shape = (*values.shape[:axis], -1, 2, *values.shape[axis + 1 :])
            values = values.reshape(shape).sum(axis=axis + 1)
    return values
