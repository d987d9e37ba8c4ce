"""Memory that is used again for every tile of an evaluation, and how large a tile is."""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .architecture import Array

# Points of one matrix product, and its most multiplications: OpenBLAS runs what is larger on threads of its own, which
# wait for each other longer than they work (measured: 4 times as long from one of our threads, 40 times from two).
LEAST_BLOCK, BLOCK, BLOCK_PRODUCTS = 48, 256, 2**18
MOST_STEPS = 64  # kinds of tiles that a thread remembers
VECTOR = 8  # points that a processor multiplies at once


class LayerStep(NamedTuple):
    """Where a layer's outputs go; views of :class:`TileBuffers`.

    Attributes
    ----------
    whole : (parts, outputs and what follows them, points), what the next layer takes.
    outputs : (outputs, parts, points).
    pieces : rows of the matrix, and what is to hold their products.
    positions : z, y, x that the node below takes, each of the grid's shape; empty where none is below.
    ones : that the next layer's bias is for.
    """

    next_input: Array
    outputs: Array
    pieces: list[tuple[slice, Array]]
    positions: list[Array]
    ones: Array


class TileBuffers(threading.local):
    """Arrays of each thread that layers are evaluated between. What is in them is finite.

    They live from one evaluation to the next: new memory would cost a fifth of the arithmetic.
    """

    def __init__(self) -> None:
        self._flat = [np.zeros(0, np.float32) for _ in range(4)]
        self._steps: dict[Any, list[LayerStep]] = {}

    def __call__(self, slot: int, *shape: int) -> Array:
        size = math.prod(shape)
        if len(self._flat[slot]) < size:
            self._flat[slot] = np.zeros(size, np.float32)
        return self._flat[slot][:size].reshape(shape)

    def steps(self, sizes: tuple[tuple[int, int, bool], ...], shape: tuple[int, ...]) -> list[LayerStep]:
        """For layers of (outputs, inputs, whether another node is below), at the points of a grid."""
        if (sizes, shape) in self._steps:
            return self._steps[sizes, shape]
        count = math.prod(shape)
        block = points_at_once(count, max(rows * columns for rows, columns, _ in sizes))
        steps = []
        for index, (rows, columns, below) in enumerate(sizes):
            array = self(index % 2, rows + (4 if below else 1), -(-count // block), block)
            next_input, most = array.swapaxes(0, 1), rows_at_once(rows, columns, block)
            cuts = [slice(at, min(at + most, rows)) for at in range(0, rows, most)]
            positions = [row.reshape(-1)[:count].reshape(shape) for row in array[rows:-1]]
            steps.append(
                LayerStep(next_input, array[:rows], [(cut, next_input[:, cut]) for cut in cuts], positions, array[-1])
            )
        if len(self._steps) >= MOST_STEPS:
            self._steps.clear()
        self._steps[sizes, shape] = steps
        return steps


BUFFERS = TileBuffers()


@lru_cache(maxsize=256)
def points_at_once(count: int, products: int) -> int:
    """Points of one matrix product, whole vectors, so that ``count`` are cut into few and hardly any are added.

    ``products`` is how many the largest layer takes a point. A product takes about as long as a vector of points more.
    """
    most = min(BLOCK, max(LEAST_BLOCK, BLOCK_PRODUCTS // products)) // VECTOR
    fewest = -(-count // (most * VECTOR))
    blocks = (-(-count // (parts * VECTOR)) * VECTOR for parts in range(fewest, 2 * fewest + 1))
    return min(blocks, key=lambda block: -(-count // block) * (block + VECTOR))


@lru_cache(maxsize=256)
def rows_at_once(rows: int, columns: int, points: int) -> int:
    """Rows of a matrix that one product takes, so that these are few and about equal."""
    return -(-rows // -(-rows * columns * points // BLOCK_PRODUCTS))
