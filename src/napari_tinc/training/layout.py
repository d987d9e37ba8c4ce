"""Where the compiled gradient finds things in memory: points, weights, gradients and the work of a tile.

Points are columns. They stand in depth-first order, so that those of a node are next to each other at every level, and
a head's are filled up to whole vectors. A tile is a run of columns; all levels are computed for a tile before the next,
so that its features stay in a core's cache. Inside a tile, a segment is the part of one node.

The weights of a node stand together, layer after layer, each with its biases as further rows (inputs, outputs)::

    feature and position (fan_in + 4, width), hidden and bias (width + 1, width) ..., head and its bias (width + 1, 1)

In a gradient, rows are filled up to whole vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES
from ..networks.architecture import Architecture

MOST_COLUMNS = 512  # Larger tiles save nothing.
LEAST_COLUMNS = 64  # Smaller tiles spend more time on sums than on products.
CACHE_FLOATS = 2**17  # A tile takes about this many floats, half of a core's second cache.


def whole_vectors(count: int) -> int:
    """Round up to whole vectors."""
    return -(-count // LANES) * LANES


def depth_first(architecture: Architecture) -> NDArray[np.float64]:
    """Return the place of every node in depth-first order, as a share of all; a parent's is that of its first child."""
    octree = architecture.octree
    place, share = np.zeros(len(octree.split)), 1.0
    for level in range(1, octree.depth + 1):
        children = octree.children_per_node(level - 1)
        nodes = np.flatnonzero(octree.level == level)
        share /= children
        place[nodes] = place[octree.parent[nodes]] + np.arange(len(nodes)) % children * share
    return place


def points_per_head(architecture: Architecture, batch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the heads in the order of their points, as indices of ``architecture.heads``, and the points of each.

    A node has as many points as all cells of the finest level below it, were it full.
    """
    siblings = {group.level: len(group.siblings) for group in architecture.groups}
    below = [math.prod(siblings[finer] for finer in siblings if finer > level) for level in siblings]
    points = np.array([max(1, batch // below[0]) * cells for cells in below])
    heads = architecture.heads
    order = np.argsort(depth_first(architecture)[heads], kind="stable")
    return order, points[architecture.octree.level[heads[order]]]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The tables that a compiled gradient reads.

    Attributes
    ----------
    order, counts : heads in the order of their points, and points of each.
    begins : first column of each of these heads.
    n_columns : columns of all heads.
    row : columns of a tile, which is the distance of rows in the work of a tile.
    tiles : int64 (n_tiles, 4): first column, columns, first segment, and the segment after the last.
    segments : int64 (n_segments, 5): node, first column in the tile, columns, first point, points.
    nodes : int64 (n_networks, 6): level, fan_in, width, places of weights and of gradients, whether there is a head.
    shifts : float32 (n_networks, 4): what is added to a voxel's coordinates, and the factor after that.
    places : int64 (n_levels + 1, 6): where a tile has a level's inputs, outputs of layers but the last and their
        distance, slopes and their distance, and the gradient of the outputs.
    free : where the rest of the work begins.
    n_work, n_weights, n_gradient : lengths of the arrays.
    tensors : int64 (n_parts, 6): places of each node's tensors in the vector of parameters, in the weights and in a
        gradient; rows, columns, and distance of rows in a gradient.
    """

    order: NDArray[np.int64]
    counts: NDArray[np.int64]
    begins: NDArray[np.int64]
    n_columns: int
    row: int
    tiles: NDArray[np.int64]
    segments: NDArray[np.int64]
    nodes: NDArray[np.int64]
    shifts: NDArray[np.float32]
    places: NDArray[np.int64]
    free: NDArray[np.int64]
    n_work: int
    n_weights: int
    n_gradient: int
    tensors: NDArray[np.int64]

    @classmethod
    def of(cls, architecture: Architecture, batch: int) -> Layout:
        """Lay out a share of ``batch`` points."""
        order, counts = points_per_head(architecture, batch)
        begins = np.cumsum([0, *(whole_vectors(int(count)) for count in counts)])
        nodes, tensors, n_weights, n_gradient = _lay_out_weights(architecture)
        row, places, free, n_work = _lay_out_work(architecture, int(begins[-1]))
        tiles, segments = _cut_into_tiles(architecture, order, counts, begins, row)
        networks = np.concatenate([group.nodes for group in architecture.groups])
        scale = np.array(architecture.scale)[architecture.octree.level[networks], None]
        shifts = np.concatenate([0.5 - architecture.centre(networks), scale], axis=1).astype(np.float32)
        return cls(
            order, counts, begins[:-1], int(begins[-1]), row, tiles, segments, nodes, shifts, places, free, n_work,
            n_weights, n_gradient, tensors,
        )  # fmt: skip


def _lay_out_weights(architecture: Architecture) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Return the tables of nodes and of tensors, and the lengths of the weights and of a gradient."""
    nodes, tensors = [], []
    weights = gradient = 0
    for index, group in enumerate(architecture.groups):
        offset = {tensor.kind: tensor.offset for tensor in architecture.tensors if tensor.group == index}
        v, w = group.fan_in, group.width
        kinds = {"feature": (v, w), "position": (4, w)}
        for layer in range(1, architecture.layers):
            kinds |= {f"hidden{layer}": (w, w), f"bias{layer}": (1, w)}
        for row in range(len(group.nodes)):
            head = int(np.searchsorted(group.head_rows, row))
            has_head = head < len(group.head_rows) and group.head_rows[head] == row
            nodes.append((group.level, v, w, weights, gradient, has_head))
            for kind, (rows, columns) in (kinds | ({"head": (w, 1), "head_bias": (1, 1)} if has_head else {})).items():
                if not rows:
                    continue
                size, number, step = rows * columns, head if kind.startswith("head") else row, whole_vectors(columns)
                tensors.append((offset[kind] + number * size, weights, gradient, rows, columns, step))
                weights, gradient = weights + size, gradient + rows * step
    return np.array(nodes, np.int64), np.array(tensors, np.int64), weights, gradient


def _lay_out_work(architecture: Architecture, n_columns: int) -> tuple[int, NDArray[np.int64], NDArray[np.int64], int]:
    """Return the columns of a tile, the places of all levels and of the rest, and the length of the work."""
    levels = sorted({group.level for group in architecture.groups})
    widest = [max(group.width for group in architecture.groups if group.level == level) for level in levels]
    further = architecture.layers - 1
    rows: list[tuple[int, ...]] = []  # of each level: inputs, outputs of a layer, slopes of a layer, gradient
    for level in range(len(levels) + 1):
        width = widest[level] if level < len(levels) else 0
        rows.append(((widest[level - 1] if level else 0) + 4, width + 1, whole_vectors(width), whole_vectors(width)))
    most = whole_vectors(max(widest))
    n_rows = sum(a + b * further + c * architecture.layers + d for a, b, c, d in rows) + 3 * most + 1
    row = min(n_columns, MOST_COLUMNS, max(LEAST_COLUMNS, CACHE_FLOATS // n_rows // LANES * LANES))
    places, at = [], 0
    for inputs, outputs, slopes, above in rows:
        starts = np.cumsum([at, inputs * row, outputs * row * further, slopes * row * architecture.layers, above * row])
        places.append((starts[0], starts[1], outputs * row, starts[2], slopes * row, starts[3]))
        at = int(starts[4])
    # Two gradients of layers, one with rows and columns exchanged, the outputs of a head.
    free = np.cumsum([at, most * row, most * row, most * row])
    return row, np.array(places, np.int64), free, int(free[-1]) + row


def _cut_into_tiles(
    architecture: Architecture, order: NDArray[np.int64], counts: NDArray[np.int64], begins: NDArray[np.int64], row: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tables of tiles and of segments, those of a tile from the root on."""
    octree, first_point = architecture.octree, np.cumsum([0, *counts])
    number_of = np.full(len(octree.split), -1)
    networks = np.concatenate([group.nodes for group in architecture.groups])
    number_of[networks] = np.arange(len(networks))
    paths = [octree.path(node) for node in architecture.heads[order].tolist()]
    tiles: list[tuple[int, ...]] = []
    segments: list[tuple[int, ...]] = []
    n_columns, head = int(begins[-1]), 0
    for begin in range(0, n_columns, row):
        end = min(begin + row, n_columns)
        while begins[head + 1] <= begin:
            head += 1
        inside: dict[int, tuple[int, ...]] = {}  # of each node, its segment
        here = head
        while here < len(order) and begins[here] < end:
            low, high = max(begin, int(begins[here])), min(end, int(begins[here + 1]))
            for node in paths[here]:
                start = inside[node][1] if node in inside else low - begin
                inside[node] = (number_of[node], start, high - begin - start, 0, 0)
            skipped = min(low - int(begins[here]), int(counts[here]))  # points in tiles before
            known = min(int(counts[here]), high - int(begins[here])) - skipped
            inside[paths[here][-1]] = (*inside[paths[here][-1]][:3], int(first_point[here]) + skipped, known)
            here += 1
        ordered = sorted(inside, key=lambda node: (octree.level[node], inside[node][1]))
        tiles.append((begin, end - begin, len(segments), len(segments) + len(ordered)))
        segments += [inside[node] for node in ordered]
    return np.array(tiles, np.int64), np.array(segments, np.int64)
