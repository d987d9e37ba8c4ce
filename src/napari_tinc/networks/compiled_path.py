"""Evaluate the layers from the root to some heads by compiled code, in a third of the time of NumPy's calls.

The arithmetic is that of path.py, but for the order of sums: values differ in their last bits.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiled import LANES
from .architecture import Array
from .lattice import HALF_TAPS, TAPS, Stencil, lattice_coordinates, lattice_points, stencil
from .path import LONGEST, Axes, Path, Tile, cut_slice
from .values import Scale

TILE_POINTS = 1024  # A tile has about so many points; with half as many more rows of lattices are interpolated twice.
SLAB = 2**22  # About so many sums of a lattice are held at a time, unless a plane has more,
SLAB_POINTS = 2**18  # and so many points are evaluated between two checks for an end.
# A grid whose points are further from each other than those of the lattice is evaluated in patches of so many points
# along an axis: each may need TAPS of the lattice, where two that are beside each other need one.
SPARSE_EDGE = 64
TILE_VALUES = 2**15  # So many outputs are turned into values at a time.
MOST_KEPT = 16  # So many runs and patches keep what they are evaluated with.
AHEAD = 2  # Who looks at slice after slice has so many planes of a lattice evaluated with one that is needed.
NO_FLOATS, NO_TABLE, NO_LATTICE = np.zeros(0, np.float32), np.zeros((0, 3), np.int64), np.zeros(5, np.int64)


class Memory(threading.local):
    """Arrays that a thread evaluates leaf after leaf in: new memory for each would cost a tenth of the time."""

    def __init__(self) -> None:
        self._floats: dict[int, NDArray[np.float32]] = {}

    def __call__(self, slot: int, size: int) -> NDArray[np.float32]:
        """Return so many floats, and a vector more, in a slot; they hold what was there before."""
        if slot not in self._floats or len(self._floats[slot]) < size + LANES:
            floats = np.zeros(size + 2 * LANES, np.float32)  # of which those from a cache line on are used
            self._floats[slot] = floats[-floats.ctypes.data // 4 % LANES :]
        return self._floats[slot][: size + LANES]


MEMORY = Memory()


class CompiledPath(Path):
    """The layers from the root to some heads. See :class:`~.path.Path`."""

    @cached_property
    def _axes(self) -> NDArray[np.int64]:
        """The axes of planes, rows and columns."""
        return np.array(self._order)

    @cached_property
    def _kept(self) -> dict[Any, Prepared]:
        """What runs at some rows and columns are evaluated with, whatever the planes."""
        return {}

    def _patches(self, axes: Axes) -> Iterator[Tile]:
        """Cut a grid into patches, smaller ones where its points need many of a lattice."""
        edges = [SPARSE_EDGE if len(self._runs) > 1 and self._is_sparse(along) else LONGEST for along in axes]
        yield from itertools.product(*map(cut_slice, [slice(0, len(along)) for along in axes], edges))

    def _tiles(self, index: int, axes: Axes) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        """Evaluate the last run at a grid; yield tiles and their outputs, (heads, z, y, x), valid until the next."""
        n_planes = len(axes[self._order[0]])
        plane_points = len(self._start) * math.prod(map(len, axes)) // n_planes
        n_slabs = -(-n_planes * plane_points // SLAB_POINTS)
        if index:
            before = self._runs[index - 1]
            counts = [
                min(lattice_points(n, before.stride), TAPS * len(along))
                for n, along in zip(self._size, axes, strict=True)
            ]
            n_slabs = max(n_slabs, -(-self._n_sums(before) * math.prod(counts) // SLAB))
        planes, rows, columns = (axes[axis] for axis in self._order)
        to_volume = [0, *(1 + self._order.index(axis) for axis in range(3))]
        for slab in cut_slice(slice(0, n_planes), -(-n_planes // min(n_slabs, n_planes))):
            values = self._run(index, [planes[slab], rows, columns])[:, :, 0]
            for part in cut_slice(slab, max(1, TILE_VALUES // plane_points)):
                tile = [part if axis == self._order[0] else slice(0, len(axes[axis])) for axis in range(3)]
                yield tuple(tile), values[:, part.start - slab.start : part.stop - slab.start].transpose(to_volume)

    @staticmethod
    def finished(outputs: NDArray[np.float32], gain: Array, offset: Array, scale: Scale | None) -> NDArray[Any]:
        """Return the values of outputs, (heads, z, y, x), times the gains and plus the offsets of the heads."""
        if scale is None:
            return Path.finished(outputs, gain, offset, scale)
        from .run_kernel import finish

        values = np.empty(outputs.shape)
        for head, into in enumerate(values):
            finish(into.reshape(-1), outputs[head].reshape(-1), float(gain[head]), float(offset[head]), *scale)
        return values

    def _run(self, index: int, axes: Axes) -> Array:
        """Evaluate a run at a grid of planes, rows and columns: (heads, planes, outputs, rows, columns).

        It lies in memory that the next evaluation of the run overwrites, with a vector more behind it.
        """
        from .run_kernel import evaluate_run

        planes, rows, columns = axes
        shape = len(self._start), len(planes), self._layers[self._runs[index].last].shape[1], len(rows), len(columns)
        plan, numbers = self._prepared(index, rows, columns)
        across, lattice, sums = (NO_FLOATS, NO_TABLE), NO_LATTICE, NO_FLOATS
        if index:
            between = stencil(planes, self._size[self._order[0]], self._runs[index - 1].stride)
            across = between.matrix.reshape(-1), between.ends
            sums, n_kept, first = self._lattice(index - 1, between.places, plan.points)
            n_sums = self._layers[self._runs[index].first].shape[1]
            lattice = np.array([n_kept, n_sums, *map(len, plan.points), first])
        z_positions = ((planes + numbers.corners) * numbers.scale).astype(np.float32).reshape(-1)
        size = math.prod(shape)
        out = MEMORY(index, size)
        evaluate_run(
            out, np.array(shape), numbers.weights, plan.layers, self._axes, z_positions, numbers.positions, sums,
            lattice, *across, *plan.rows, *plan.columns, plan.x_first, plan.tile_rows, MEMORY(-1, plan.n_work),
            plan.places,
        )  # fmt: skip
        return out[:size].reshape(shape)

    def _prepared(self, index: int, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Prepared:
        """Return the plan of a run at rows and columns, and its numbers. They are kept for other planes."""
        key = index, rows.tobytes(), columns.tobytes()
        if key in self._kept:
            return self._kept[key]
        run, levels = self._runs[index], self._levels(index)
        layers = self._layers[run.first + (index > 0) : run.last + 1]
        places = range(run.last + 1 - len(layers), run.last + 1)
        nodes = [list(levels).index(at) if at in levels else -1 for at in places]
        sizes = tuple([(*layer.shape[1:], node) for layer, node in zip(layers, nodes, strict=True)])
        stride, n_sums = (self._runs[index - 1].stride, self._layers[run.first].shape[1]) if index else (0, 0)
        plan = _plan(*key[1:], (self._size[self._order[1]], self._size[self._order[2]]), stride, n_sums, sizes)
        corners, scale = self._corners(levels)
        positions = [
            (along + corners[:, :, axis, None]) * scale
            for along, axis in zip((rows, columns), self._order[1:], strict=True)
        ]
        numbers = Numbers(
            _flat([layer.swapaxes(1, 2) for layer in layers]),
            np.concatenate(positions, axis=2).astype(np.float32).reshape(-1),
            corners[:, :, self._order[0], None],
            scale,
        )
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[key] = plan, numbers
        return plan, numbers

    def _lattice(
        self, index: int, places: NDArray[np.int64], points: list[Array]
    ) -> tuple[NDArray[np.float32], int, int]:
        """Return sums at planes of the lattice of a run, how many they are, and which of them is the first asked for.

        Planes that follow each other are kept for the next request, and :data:`AHEAD` more once it has moved on.
        """
        stride, first, end = self._runs[index].stride, int(places[0]), int(places[-1]) + 1

        def evaluate(planes: NDArray[np.int64]) -> Array:
            return self._run(index, [lattice_coordinates(planes, stride), *points])

        if self._planes is None or len(places) < end - first:
            return MEMORY(index, evaluate(places).size), len(places), 0
        finest = index == len(self._runs) - 2
        key = index, self._order[0], self._nodes[-1].tobytes(), *[along.tobytes() for along in points]
        kept: Window | None = self._planes.get(finest, key)
        if kept is None or not kept.first <= first <= end <= kept.end:
            low, high = first, end
            if kept and kept.first < end and first < kept.end:
                most = lattice_points(self._size[self._order[0]], stride)
                low, high = (max(0, first - AHEAD), end) if first < kept.first else (first, min(end + AHEAD, most))
            kept = Window.moved(kept, low, high, evaluate)
            self._planes.put(finest, key, kept, kept.flat.nbytes)
        return kept.flat, kept.end - kept.first, first - kept.first


class Numbers(NamedTuple):
    """The numbers that the layers of a run have at some rows and columns.

    Attributes
    ----------
    weights, positions : as the compiled code takes them; the positions are those of rows and columns.
    corners, scale : give the positions of planes: what is added to a coordinate, (heads, nodes, 1), and then the factor
        of each node, (nodes, 1).
    """

    weights: NDArray[np.float32]
    positions: NDArray[np.float32]
    corners: NDArray[np.float64]
    scale: NDArray[np.float64]


class Window(NamedTuple):
    """Planes of a lattice that follow each other.

    Attributes
    ----------
    first, end : the first, and one past the last.
    flat : (heads, planes, sums, rows, columns), and a vector more.
    n_heads : heads.
    """

    first: int
    end: int
    flat: NDArray[np.float32]
    n_heads: int

    @property
    def planes(self) -> Array:
        """The planes, (heads, planes, numbers)."""
        return self.flat[:-LANES].reshape(self.n_heads, self.end - self.first, -1)

    @staticmethod
    def moved(kept: Window | None, first: int, end: int, evaluate: Callable[[NDArray[np.int64]], Array]) -> Window:
        """Return other planes: copied where they are in ``kept``, else evaluated."""
        wanted = np.arange(first, end)
        known = (wanted >= kept.first) & (wanted < kept.end) if kept else np.zeros(len(wanted), bool)
        new = evaluate(wanted[~known])
        n_heads, n_new = new.shape[:2]
        window = Window(first, end, np.zeros(new.size // n_new * len(wanted) + LANES, np.float32), n_heads)
        window.planes[:, ~known] = new.reshape(n_heads, n_new, -1)
        if kept:
            window.planes[:, known] = kept.planes[:, wanted[known] - kept.first]
        return window


def load() -> None:
    """Load the compiled code, or compile it."""
    from .run_kernel import evaluate_run, finish

    floats, table, sizes = NO_FLOATS, NO_TABLE, np.array([0, 1, 1, 1, 1])
    evaluate_run(  # of no heads
        floats, sizes, floats, table, sizes, floats, floats, floats, sizes, floats, table, floats, table, floats, table,
        -1, 1, floats, sizes,
    )  # fmt: skip
    finish(np.empty(0), floats, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, True)


def _flat(parts: list[Array]) -> NDArray[np.float32]:
    """Return the numbers of some arrays, head after head. An array that is the same for all heads has one."""
    n_heads = max(map(len, parts), default=0)
    rows = [np.broadcast_to(part, (n_heads, *part.shape[1:])).reshape(n_heads, -1) for part in parts]
    return np.concatenate(rows, axis=1).reshape(-1) if rows else NO_FLOATS


class Plan(NamedTuple):
    """What rows and columns in boxes of a size are evaluated with, whatever the weights, the boxes and the planes.

    Attributes
    ----------
    points : rows and columns of the grid at which the run before is evaluated.
    layers, tile_rows, places : as the compiled code takes them.
    rows : the weights and ends of rows, as the compiled code takes them.
    columns, x_first : the weights and blocks of columns, and the first column, likewise.
    n_work : floats of the work.
    """

    points: list[Array]
    layers: NDArray[np.int64]
    tile_rows: int
    places: NDArray[np.int64]
    rows: tuple[NDArray[np.float32], NDArray[np.int64]]
    columns: tuple[NDArray[np.float32], NDArray[np.int64]]
    x_first: int
    n_work: int


Prepared = tuple[Plan, Numbers]


@lru_cache(maxsize=256)
def _plan(
    rows: bytes, columns: bytes, box: tuple[int, int], stride: int, n_sums: int, sizes: tuple[tuple[int, int, int], ...]
) -> Plan:
    """Plan a run at rows and columns.

    Parameters
    ----------
    rows, columns : coordinates of the grid, float64, counted from the corner of the box.
    box : voxels along rows and columns.
    stride, n_sums : of the lattice of the run before; 0 for the first run.
    sizes : outputs and inputs of each layer, and in which node's box it takes positions, -1 for none.
    """
    y, x = (np.frombuffer(along) for along in (rows, columns))
    step = max(len(x), LANES)
    tile_rows = min(len(y), max(1, TILE_POINTS // step))
    lines, n_columns = 0, 0
    points: list[Array] = []
    of_rows, of_columns, x_first = (NO_FLOATS, NO_TABLE), (NO_FLOATS, NO_TABLE), -1
    if stride:
        along_y, along_x = (stencil(along, size, stride) for along, size in zip((y, x), box, strict=True))
        points = [lattice_coordinates(along.places, stride) for along in (along_y, along_x)]
        n_columns = len(along_x.places)
        of_rows = along_y.matrix.reshape(-1), along_y.ends
        x_first = int(along_x.ends[0, 0])
        between = _between_columns(along_x, x_first)
        if between is None:
            of_columns, x_first = _in_vectors(along_x), -1
        else:
            of_columns = between, NO_TABLE
        tiles = [along_y.ends[at : at + tile_rows] for at in range(0, len(y), tile_rows)]
        lines = max(int(ends[:, 1].max() - ends[:, 0].min()) for ends in tiles)
    layers, weight = [], 0
    for outputs, inputs, node in sizes:
        layers.append((weight, inputs, outputs, node))
        weight += inputs * outputs
    widest = max([n_sums, *(max(size[:2]) for size in sizes)])
    layer = widest * (tile_rows * step + 3 * LANES)
    work = layer, layer, lines * n_columns, lines * (step + LANES)
    # Parts begin with a cache line; the last vectors may end behind.
    places = np.cumsum([0, *(-(-size // LANES) * LANES + 2 * LANES for size in work)])
    return Plan(
        points, np.array(layers, np.int64).reshape(-1, 4), tile_rows, places, of_rows, of_columns, x_first,
        int(places[-1]),
    )  # fmt: skip


def _between_columns(along: Stencil, first: int) -> NDArray[np.float32] | None:
    """Return what :func:`~.line_code.double_lines` takes: the weights of the points that are each between two columns.

    Every second point is a column, from the first on; if not, None is returned.
    """
    n_points, n_columns = along.matrix.shape
    n_between = n_points // 2
    if first + (n_points + 1) // 2 > n_columns:
        return None
    point, tap = np.divmod(np.arange(n_between * HALF_TAPS), HALF_TAPS)
    column = first + point + tap + 1 - HALF_TAPS // 2
    inside = (column >= 0) & (column < n_columns)
    point, tap, column = point[inside], tap[inside], column[inside]
    weights = np.zeros((HALF_TAPS, -(-n_points // (2 * LANES)) * LANES), np.float32)
    weights[tap, point] = along.matrix[2 * point + 1, column]
    covered = np.zeros_like(along.matrix)
    covered[2 * point + 1, column] = weights[tap, point]
    evens = np.arange(n_points - n_between)
    covered[2 * evens, first + evens] = 1
    return weights.reshape(-1) if (covered == along.matrix).all() else None


def _in_vectors(along: Stencil) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the weights of columns, and the vectors that cover the points, the last of which ends with them."""
    n = len(along.matrix)
    weights = np.zeros((along.matrix.shape[1], max(n, LANES)), np.float32)
    weights[:, :n] = along.matrix.T
    starts = sorted({*range(0, n - LANES + 1, LANES), max(0, n - LANES)})
    ends = [along.ends[at : at + LANES] for at in starts]
    blocks = [(at, of[:, 0].min(), of[:, 1].max()) for at, of in zip(starts, ends, strict=True)]
    return weights.reshape(-1), np.array(blocks, np.int64)
