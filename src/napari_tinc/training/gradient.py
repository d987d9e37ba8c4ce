"""The gradient of a share of a batch, compiled: tile by tile, all levels forth and then back.

layout.py says where everything is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES, compiled
from ..networks.vector_code import add_product, multiply
from .products import Numbers, apply_slopes, fill, sines

Table = NDArray[np.int64]


@compiled
def gradient_of_share(
    weights: Numbers, gradient: Numbers, work: Numbers, row: int, layers: int, tiles: Table, segments: Table,
    nodes: Table, shifts: NDArray[np.float32], places: Table, free: Table, coordinates: NDArray[np.float32],
    wanted: Numbers, weight: Numbers, low: float, high: float, squares: Numbers,
) -> float:  # fmt: skip
    """Compute the gradient of the weighted mean squared error, and the squared error of every point.

    Parameters
    ----------
    weights : as the layout says.
    gradient, squares : overwritten; a gradient, and float32 (n_points,).
    work, row, tiles, segments, nodes, shifts, places, free : of the layout.
    layers : sine layers of each node.
    coordinates : float32 (3, n_columns), of voxels.
    wanted, weight : float32 (n_points,); NaN where nothing is wanted.
    low, high : outputs beyond them are clipped by decoders.

    Returns
    -------
    The weighted sum of the squared errors.
    """
    fill(gradient, 0, len(gradient), 0.0)
    loss = 0.0
    for tile in range(len(tiles)):
        begin, _, first, last = tiles[tile]
        for s in range(first, last):
            number, start, columns, first_point, points = segments[s]
            node = nodes[number]
            _place_points(work, row, node, shifts[number], places, coordinates, begin, start, columns)
            _evaluate(weights, work, row, layers, node, places, start, columns)
            if node[5]:
                loss += _train_head(
                    weights, gradient, work, row, layers, node, places, free, start, columns, first_point, points,
                    wanted, weight, low, high, squares,
                )  # fmt: skip
        for s in range(last - 1, first - 1, -1):
            number, start, columns, _, _ = segments[s]
            _backpropagate(weights, gradient, work, row, layers, nodes[number], places, free, start, columns)
    return loss


@compiled
def _place_points(
    work: Numbers, row: int, node: Table, shift: Numbers, places: Table, coordinates: NDArray[np.float32],
    begin: int, start: int, columns: int,
) -> None:  # fmt: skip
    """Put the positions in a node's box after the features that its parent has left there."""
    at = places[node[0], 0] + node[1] * row + start
    for axis in range(3):
        for c in range(columns):
            work[at + axis * row + c] = (coordinates[axis, begin + start + c] + shift[axis]) * shift[3]
    fill(work, at + 3 * row, columns, 1.0)


@compiled
def _evaluate(
    weights: Numbers, work: Numbers, row: int, layers: int, node: Table, places: Table, start: int, columns: int
) -> None:
    """Compute the features of a node, and their slopes."""
    level, v, w, at = node[0], node[1], node[2], node[3]
    n, x = v + 4, places[level, 0] + start
    slope = places[level, 3] + start
    for layer in range(layers):
        out = (places[level, 1] + layer * places[level, 2] if layer < layers - 1 else places[level + 1, 0]) + start
        multiply(w, columns, n, work, out, row, weights, at, 1, w, work, x, row)
        sines(w, columns, work, out, work, slope, row)
        fill(work, out + w * row, columns, 1.0)
        at, n, x, slope = at + n * w, w + 1, out, slope + places[level, 4]


@compiled
def _train_head(
    weights: Numbers, gradient: Numbers, work: Numbers, row: int, layers: int, node: Table, places: Table, free: Table,
    start: int, columns: int, first_point: int, points: int, wanted: Numbers, weight: Numbers, low: float, high: float,
    squares: Numbers,
) -> float:  # fmt: skip
    """Compute the outputs of a head, their errors, and the gradient of its weights and of its features."""
    level, v, w = node[0], node[1], node[2]
    at = node[3] + (v + 4) * w + (layers - 1) * (w + 1) * w
    x, turned, y = places[level + 1, 0] + start, free[2], free[3] + start
    multiply(1, columns, w + 1, work, y, row, weights, at, 1, 1, work, x, row)
    fill(work, turned, columns * LANES, 0.0)
    loss = 0.0
    for i in range(points):
        value, error = wanted[first_point + i], work[y + i] - wanted[first_point + i]
        if (value <= low and error < 0) or (value >= high and error > 0) or np.isnan(error):
            error = np.float32(0)
        squares[first_point + i] = error * error
        loss += squares[first_point + i] * weight[first_point + i]
        work[y + i] = work[turned + i * LANES] = error * weight[first_point + i] * np.float32(2 / len(wanted))
    fill(work, y + points, columns - points, 0.0)  # points that only fill vectors
    into = node[4] + (v + 4 + (layers - 1) * (w + 1)) * -(-w // LANES) * LANES
    add_product(w + 1, LANES, columns, gradient, into, LANES, work, x, row, 1, work, turned, LANES)
    multiply(w, columns, 1, work, places[level, 5] + start, row, weights, at, 1, 1, work, y, row)
    return loss


@compiled
def _backpropagate(
    weights: Numbers, gradient: Numbers, work: Numbers, row: int, layers: int, node: Table, places: Table, free: Table,
    start: int, columns: int,
) -> None:  # fmt: skip
    """Add to the gradient of a node's weights, and compute that of its parent's features."""
    level, v, w = node[0], node[1], node[2]
    step = -(-w // LANES) * LANES
    at, into = node[3] + (v + 4 + (layers - 1) * (w + 1)) * w, node[4] + (v + 4 + (layers - 1) * (w + 1)) * step
    d = places[level, 5] + start
    for layer in range(layers - 1, -1, -1):
        n = w + 1 if layer else v + 4
        x = (places[level, 1] + (layer - 1) * places[level, 2] if layer else places[level, 0]) + start
        at, into = at - n * w, into - n * step
        slope = places[level, 3] + layer * places[level, 4] + start
        apply_slopes(w, columns, work, d, work, slope, row, work, free[2], step)
        add_product(n, step, columns, gradient, into, step, work, x, row, 1, work, free[2], step)
        if layer:
            below = free[layer % 2] + start
            multiply(w, columns, w, work, below, row, weights, at, w, 1, work, d, row)
            d = below
        elif v:
            multiply(v, columns, w, work, places[level - 1, 5] + start, row, weights, at, w, 1, work, d, row)
