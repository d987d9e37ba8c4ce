"""A run of layers at the points of a grid, compiled: interpolation of what the run before has summed up, and layers.

All arrays of floats are flat. Points are columns, as in path.py; a tile is some rows of a plane of the grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES, compiled
from .line_code import combine_1_sines, combine_4, combine_4_sines, copy_floats, fill_vectors
from .vector_code import multiply, multiply_sines

Numbers = NDArray[np.float32]
Table = NDArray[np.int64]


@compiled
def evaluate_run(
    out: Numbers, size: Table, weights: Numbers, layers: Table, axes: Table, z_positions: Numbers, positions: Numbers,
    sums: Numbers, lattice: Table, z_weights: Numbers, z_ends: Table, y_weights: Numbers, y_ends: Table,
    x_weights: Numbers, x_blocks: Table, tile_rows: int, group_rows: int, work: Numbers, places: Table,
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
    tile_rows, group_rows : rows of a tile, and of the tiles that share what is interpolated along z and x.
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
            sums, head * n_lattice, lattice, z_weights, z_ends, y_weights, y_ends, x_weights, x_blocks, tile_rows,
            group_rows, work, places,
        )  # fmt: skip


@compiled
def _evaluate_head(
    out: Numbers, out_at: int, size: Table, weights: Numbers, weights_at: int, layers: Table, axes: Table,
    z_positions: Numbers, positions: Numbers, first_node: int, sums: Numbers, sums_at: int, lattice: Table,
    z_weights: Numbers, z_ends: Table, y_weights: Numbers, y_ends: Table, x_weights: Numbers, x_blocks: Table,
    tile_rows: int, group_rows: int, work: Numbers, places: Table,
) -> None:  # fmt: skip
    """Evaluate a run at a grid in the box of a head, whose numbers are at some places of the arrays."""
    _, n_z, n_outputs, n_y, n_x = size
    step = max(n_x, LANES)  # the distance of rows
    n_sums, n_columns = lattice[1], lattice[3]
    n_layers = len(layers)
    for group in range(0, n_y, group_rows):
        group_end = min(group + group_rows, n_y)
        low = high = 0
        if n_sums:
            low, high = y_ends[group, 0], y_ends[group, 1]
            for y in range(group, group_end):
                low, high = min(low, y_ends[y, 0]), max(high, y_ends[y, 1])
        for z in range(n_z):
            if n_sums:
                _mix_planes(sums, sums_at, lattice, z_weights, z_ends, z, low, high, work, places[2])
                for block in range(len(x_blocks)):
                    at, first, last = x_blocks[block]
                    multiply(
                        n_sums * (high - low), LANES, last - first, work, places[3] + at, step,
                        work, places[2] + first, n_columns, 1, x_weights, first * (len(x_weights) // n_columns) + at,
                        len(x_weights) // n_columns,
                    )  # fmt: skip
            for y in range(group, group_end, tile_rows):
                n_rows = min(tile_rows, group_end - y)
                count = ((n_rows - 1) * step + LANES - 1) // LANES * LANES + (step + LANES - 1) // LANES * LANES
                row = count // LANES // 2 * 2 * LANES + LANES  # an odd number of vectors: all rows fit into a cache
                x, n = places[0], n_sums
                if n_sums:
                    _mix_rows(
                        work, places[3], high - low, low, step, n_sums, y_weights, y_ends, y, n_rows, lattice[2],
                        x, row, n_layers > 0,
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
                        multiply(
                            width, count, n_inputs, work, into, row, weights, weights_at + at, 1, width, work, x, row
                        )
                    x, n = into, width
                for f in range(n_outputs):
                    for r in range(n_rows):
                        to = out_at + ((z * n_outputs + f) * n_y + y + r) * n_x
                        copy_floats(n_x, out, to, work, x + f * row + r * step)


@compiled
def _mix_planes(
    sums: Numbers, sums_at: int, lattice: Table, weights: Numbers, ends: Table, z: int, low: int, high: int,
    work: Numbers, into: int,
) -> None:  # fmt: skip
    """Interpolate some rows of a lattice along z: (sums, rows, columns)."""
    _, n_sums, n_rows, n_columns, first_plane = lattice
    count, plane = (high - low) * n_columns, n_sums * n_rows * n_columns
    first, n = ends[z, 0], ends[z, 1] - ends[z, 0]
    source = sums_at + (first_plane + first) * plane + low * n_columns
    weight = z * (len(weights) // len(ends)) + first
    if n == 4:  # What whole vectors write behind a block is written anew with the next.
        combine_4(n_sums, count, work, into, count, weights, weight, sums, source, plane, n_rows * n_columns)
        return
    whole = (count + LANES - 1) // LANES * LANES
    for f in range(n_sums):
        to, at = into + f * count, source + f * n_rows * n_columns
        if n == 1:
            copy_floats(count, work, to, sums, at)
        else:
            multiply(1, whole, n, work, to, 0, weights, weight, 0, 1, sums, at, plane)


@compiled
def _mix_rows(
    work: Numbers, source: int, n_lines: int, low: int, step: int, n_sums: int, weights: Numbers, ends: Table, y: int,
    n_rows: int, n_places: int, into: int, row: int, sines: bool,
) -> None:  # fmt: skip
    """Interpolate rows of a tile, and take their sines: (sums, points)."""
    whole, block = (step + LANES - 1) // LANES * LANES, n_lines * step
    for r in range(n_rows):  # What whole vectors write behind a row is written anew with the next.
        first, n = ends[y + r, 0], ends[y + r, 1] - ends[y + r, 0]
        to, at, weight = into + r * step, source + (first - low) * step, (y + r) * n_places + first
        if sines and n == 4:
            combine_4_sines(n_sums, step, work, to, row, weights, weight, work, at, step, block)
        elif sines and n == 1:
            combine_1_sines(n_sums, step, work, to, row, weights, weight, work, at, step, block)
        else:
            for f in range(n_sums):
                if sines:
                    multiply_sines(
                        1, whole, n, work, to + f * row, 0, weights, weight, 0, 1, work, at + f * block, step
                    )
                else:
                    multiply(1, whole, n, work, to + f * row, 0, weights, weight, 0, 1, work, at + f * block, step)


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
def correct(values: Numbers, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
    """Multiply values of each head with its gain and add its offset, in place, with a single rounding to float32."""
    count = len(values) // len(gain)
    for head in range(len(gain)):
        for i in range(head * count, (head + 1) * count):
            values[i] = np.float32(values[i] * gain[head] + offset[head])
