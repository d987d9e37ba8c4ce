"""A run of layers at the points of a grid, compiled: interpolation of what the run before has summed up, and layers.

All arrays of floats are flat. Points are columns, as in path.py; a tile is some rows of a plane of the grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES, compiled
from .lattice import HALF_TAPS
from .line_code import combine_1_sines, combine_4, combine_4_sines, copy_floats, double_lines, fill_vectors
from .vector_code import multiply, multiply_sines

Numbers = NDArray[np.float32]
Table = NDArray[np.int64]


@compiled
def evaluate_run(
    out: Numbers, size: Table, weights: Numbers, layers: Table, axes: Table, z_positions: Numbers, positions: Numbers,
    sums: Numbers, lattice: Table, z_weights: Numbers, z_ends: Table, y_weights: Numbers, y_ends: Table,
    x_weights: Numbers, x_blocks: Table, x_first: int, tile_rows: int, work: Numbers, places: Table,
) -> None:  # fmt: skip
    """Evaluate a run at a grid in the box of each head.

    The axes of the grid are called z, y and x here, whichever axes of the volume they are.

    Parameters
    ----------
    out : overwritten; (heads, z, outputs, y, x), and a vector more.
    size : of ``out``.
    weights : of each head, or once for all, and of each layer, (inputs, outputs).
    layers : int64 (n_layers, 4): place of the weights, inputs, outputs, and in whose box it takes positions: the number
        of a node, -1 for none.
    axes : which axes of the volume z, y and x are.
    z_positions : (heads, nodes, z).
    positions : along y, then x: (heads, nodes, y + x).
    sums : (heads, planes, sums, rows, columns) of the lattice, and a vector more; empty if there is none.
    lattice : planes, sums, rows and columns of ``sums``, and the plane that is the first of ``z_ends``; zeros for none.
    z_weights, z_ends : (points, planes), and the first plane that has a weight and one past the last, (points, 2).
    y_weights, y_ends : likewise, of rows.
    x_weights : (columns, points filled up to whole vectors).
    x_blocks : (blocks, 3): the first point of each vector, the first column that it needs, and one past the last.
    x_first : where every second point is a column, the column of the first; below 0 elsewhere. ``x_weights`` are then
        those of the points between, as :func:`~.line_code.double_lines` takes them, and there are no ``x_blocks``.
    tile_rows : rows of a tile.
    work, places : overwritten, and its parts: two for layers, one for what is interpolated along z, one along z and x.
    """
    n_heads, n_z, n_outputs, n_y, n_x = size
    n_out, n_lattice = n_z * n_outputs * n_y * n_x, lattice[0] * lattice[1] * lattice[2] * lattice[3]
    n_nodes, n_weights = len(positions) // (max(1, n_heads) * (n_y + n_x)), 0
    for layer in range(len(layers)):
        n_weights += layers[layer, 1] * layers[layer, 2]
    n_weights *= len(weights) > n_weights
    for head in range(n_heads):
        _evaluate_head(
            out, head * n_out, size, weights, head * n_weights, layers, axes, z_positions, positions, head * n_nodes,
            sums, head * n_lattice, lattice, z_weights, z_ends, y_weights, y_ends, x_weights, x_blocks, x_first,
            tile_rows, work, places,
        )  # fmt: skip


@compiled
def _evaluate_head(
    out: Numbers, out_at: int, size: Table, weights: Numbers, weights_at: int, layers: Table, axes: Table,
    z_positions: Numbers, positions: Numbers, first_node: int, sums: Numbers, sums_at: int, lattice: Table,
    z_weights: Numbers, z_ends: Table, y_weights: Numbers, y_ends: Table, x_weights: Numbers, x_blocks: Table,
    x_first: int, tile_rows: int, work: Numbers, places: Table,
) -> None:  # fmt: skip
    """Evaluate a run at a grid in the box of a head, whose numbers are at some places of the arrays."""
    _, n_z, n_outputs, n_y, n_x = size
    step = max(n_x, LANES)  # the distance of rows
    n_sums, n_layers = lattice[1], len(layers)
    for z in range(n_z):
        for y in range(0, n_y, tile_rows):
            n_rows = min(tile_rows, n_y - y)
            count = ((n_rows - 1) * step + LANES - 1) // LANES * LANES + (step + LANES - 1) // LANES * LANES
            row = count // LANES // 2 * 2 * LANES + LANES  # an odd number of vectors: all rows fit into a cache
            x, n = places[0], n_sums
            if n_sums:
                _interpolate(
                    sums, sums_at, lattice, z_weights, z_ends, z, y_weights, y_ends, y, n_rows, x_weights, x_blocks,
                    x_first, n_x, work, places, row, n_layers > 0,
                )  # fmt: skip
            for layer in range(n_layers):
                at, n_inputs, width, node = layers[layer]
                end = x + n * row
                if node >= 0:
                    _add_positions(
                        work, end, row, count, step, size, axes, z_positions, positions, first_node + node, z, y,
                        n_rows,
                    )  # fmt: skip
                    end += 3 * row
                fill_vectors(count, work, end, np.float32(1))
                into = places[(layer + 1) % 2]
                if layer < n_layers - 1:
                    multiply_sines(
                        width, count, n_inputs, work, into, row, weights, weights_at + at, 1, width, work, x, row
                    )
                else:
                    multiply(width, count, n_inputs, work, into, row, weights, weights_at + at, 1, width, work, x, row)
                x, n = into, width
            for f in range(n_outputs):
                for r in range(n_rows):
                    to = out_at + ((z * n_outputs + f) * n_y + y + r) * n_x
                    copy_floats(n_x, out, to, work, x + f * row + r * step)


@compiled
def _interpolate(
    sums: Numbers, sums_at: int, lattice: Table, z_weights: Numbers, z_ends: Table, z: int, y_weights: Numbers,
    y_ends: Table, y: int, n_rows: int, x_weights: Numbers, x_blocks: Table, x_first: int, n_x: int, work: Numbers,
    places: Table, row: int, sines: bool,
) -> None:  # fmt: skip
    """Interpolate a tile along z, x and y, and take the sines: (sums, points).

    All of it is done for one of the sums after the other: what is between stays in the nearest cache.
    """
    _, n_sums, n_places, n_columns, first_plane = lattice
    low, high = y_ends[y, 0], y_ends[y, 1]
    for r in range(y, y + n_rows):
        low, high = min(low, y_ends[r, 0]), max(high, y_ends[r, 1])
    first_z, n_z = first_plane + z_ends[z, 0], z_ends[z, 1] - z_ends[z, 0]
    weight_z, plane = z * (len(z_weights) // len(z_ends)) + z_ends[z, 0], n_sums * n_places * n_columns
    step = max(n_x, LANES)
    count, whole = (high - low) * n_columns, (step + LANES - 1) // LANES * LANES
    for f in range(n_sums):
        lines, at = sums, sums_at + first_z * plane + (f * n_places + low) * n_columns
        if n_z == 4:
            combine_4(count, work, places[2], z_weights, weight_z, sums, at, plane)
        elif n_z != 1:
            vectors = (count + LANES - 1) // LANES * LANES
            multiply(1, vectors, n_z, work, places[2], 0, z_weights, weight_z, 0, 1, sums, at, plane)
        if n_z != 1:
            lines, at = work, places[2]
        if x_first >= 0:
            double_lines(
                high - low, n_x, work, places[3], whole, lines, at + x_first, n_columns, x_weights,
                len(x_weights) // HALF_TAPS,
            )  # fmt: skip
        for block in range(len(x_blocks)):
            start, first, last = x_blocks[block]
            multiply(
                high - low, LANES, last - first, work, places[3] + start, whole, lines, at + first, n_columns, 1,
                x_weights, first * (len(x_weights) // n_columns) + start, len(x_weights) // n_columns,
            )  # fmt: skip
        for r in range(n_rows):  # What whole vectors write behind a row is written anew with the next.
            first, n = y_ends[y + r, 0], y_ends[y + r, 1] - y_ends[y + r, 0]
            to, start = places[0] + f * row + r * step, places[3] + (first - low) * whole
            weight_y = (y + r) * n_places + first
            if sines and n == 4:
                combine_4_sines(step, work, to, y_weights, weight_y, work, start, whole)
            elif sines and n == 1:
                combine_1_sines(step, work, to, y_weights, weight_y, work, start, whole)
            elif sines:
                multiply_sines(1, whole, n, work, to, 0, y_weights, weight_y, 0, 1, work, start, whole)
            else:
                multiply(1, whole, n, work, to, 0, y_weights, weight_y, 0, 1, work, start, whole)


@compiled
def _add_positions(
    work: Numbers, at: int, row: int, count: int, step: int, size: Table, axes: Table, z_positions: Numbers,
    positions: Numbers, node: int, z: int, y: int, n_rows: int,
) -> None:  # fmt: skip
    """Put the positions in the box of a node behind the features of a tile."""
    n_z, n_y, n_x = size[1], size[3], size[4]
    along_y = node * (n_y + n_x)
    fill_vectors(count, work, at + axes[0] * row, z_positions[node * n_z + z])
    for r in range(n_rows):
        fill_vectors(step, work, at + axes[1] * row + r * step, positions[along_y + y + r])
    for r in range(n_rows):
        copy_floats(n_x, work, at + axes[2] * row + r * step, positions, along_y + n_y)


@compiled
def finish(
    values: NDArray[np.float64], outputs: Numbers, gain: float, offset: float, mean: float, std: float, low: float,
    high: float, is_whole: bool,
) -> None:  # fmt: skip
    """Turn outputs, times a gain and plus an offset, into values, as :class:`~.values.Scale` does."""
    for i in range(len(values)):
        value = float(np.float32(outputs[i] * gain + offset)) * std + mean
        value = high if value > high else value if value >= low else low  # NaN, too
        values[i] = np.rint(value) if is_whole else value
