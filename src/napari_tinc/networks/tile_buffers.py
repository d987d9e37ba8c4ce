"""The buffers that the layers of a tile are evaluated in, and the sizes of their matrix products."""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .architecture import Array

LEAST_BLOCK = 48  # One matrix product has at least this many points,
BLOCK = 256  # at most this many,
# and at most this many multiplications: larger ones run on threads of OpenBLAS, which wait longer for each other than
# they work (measured: 4 times as long from one of our threads, 40 times from two).
BLOCK_PRODUCTS = 2**18
MOST_STEPS = 64  # A thread remembers the views for this many kinds of tiles.
VECTOR = 8  # Points that a processor multiplies at once.


class LayerStep(NamedTuple):
    """The views of :class:`TileBuffers` that a layer is evaluated with.

    Attributes
    ----------
    next_input : what the next layer takes: (grids, parts, outputs and what follows them, points).
    outputs : (outputs, grids, parts, points).
    on_grid : the same without what fills the last part: (outputs x grids, z, y, x).
    pieces : rows of the layer's matrix, and the view that takes their products.
    positions : z, y, x that the node below takes, each (grids, z, y, x); empty if none is below.
    ones : factors of the next layer's bias.
    """

    next_input: Array
    outputs: Array
    on_grid: Array
    pieces: list[tuple[slice, Array]]
    positions: list[Array]
    ones: Array


class TileBuffers(threading.local):
    """Arrays that a thread evaluates layers in. They live from one evaluation to the next, and all values are finite.

    New memory for each evaluation would cost a fifth of the arithmetic.
    """

    def __init__(self) -> None:
        self._flat = [np.zeros(0, np.float32) for _ in range(4)]
        self._steps: dict[Any, list[LayerStep]] = {}

    def __call__(self, slot: int, *shape: int) -> Array:
        """Return an array of a shape in a slot. What it held before is kept, as far as it goes."""
        size = math.prod(shape)
        if len(self._flat[slot]) < size:
            self._flat[slot] = np.zeros(size, np.float32)
        return self._flat[slot][:size].reshape(shape)

    def steps(self, sizes: tuple[tuple[int, int, bool], ...], shape: tuple[int, ...]) -> list[LayerStep]:
        """Return the views for each layer at the points of some grids.

        Parameters
        ----------
        sizes : outputs and inputs of each layer, and whether another node is below it.
        shape : grids, and points along z, y, x.
        """
        if (sizes, shape) in self._steps:
            return self._steps[sizes, shape]
        n_grids, count = shape[0], math.prod(shape[1:])
        block = points_at_once(count, max(rows * columns for rows, columns, _ in sizes))
        steps = []
        for index, (rows, columns, below) in enumerate(sizes):
            array = self(index % 2, rows + (4 if below else 1), n_grids, -(-count // block), block)
            next_input, most = array.transpose(1, 2, 0, 3), rows_at_once(rows, columns, block)
            cuts = [slice(at, min(at + most, rows)) for at in range(0, rows, most)]
            grids = array.reshape(len(array), n_grids, -1)[..., :count].reshape(-1, *shape)
            on_grid = grids[:rows].reshape(-1, *shape[1:])
            pieces = [(cut, next_input[..., cut, :]) for cut in cuts]
            steps.append(LayerStep(next_input, array[:rows], on_grid, pieces, list(grids[rows:-1]), array[-1]))
        if len(self._steps) >= MOST_STEPS:
            self._steps.clear()
        self._steps[sizes, shape] = steps
        return steps


BUFFERS = TileBuffers()


@lru_cache(maxsize=256)
def points_at_once(count: int, products: int) -> int:
    """Return the points of one matrix product: whole vectors, and about ``count`` in few products.

    ``products`` are the multiplications of the largest layer for each point. A product of matrices takes about as long
    as one more vector of points.
    """
    most = min(BLOCK, max(LEAST_BLOCK, BLOCK_PRODUCTS // products)) // VECTOR
    fewest = -(-count // (most * VECTOR))
    blocks = (-(-count // (parts * VECTOR)) * VECTOR for parts in range(fewest, 2 * fewest + 1))
    return min(blocks, key=lambda block: -(-count // block) * (block + VECTOR))


@lru_cache(maxsize=256)
def rows_at_once(rows: int, columns: int, points: int) -> int:
    """Return how many rows of a matrix one product takes, so that the products are few and about equal."""
    return -(-rows // -(-rows * columns * points // BLOCK_PRODUCTS))


@lru_cache(maxsize=256)
def equal_parts(count: int, products: int) -> int:
    """Return the least number of equal parts of a matrix whose ``count`` rows have ``products`` multiplications each.

    Each part has at most :data:`BLOCK_PRODUCTS`, or is a row.
    """
    return next(
        n for n in range(1, count + 1) if count % n == 0 and (count // n * products <= BLOCK_PRODUCTS or n == count)
    )
