"""VoxelDecoder: values of voxels, and of larger cells, from the boxes of a file."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices import cpu_count
from ..errors import TincError
from ..format.fill import is_fill
from ..networks.compiled_code import COMPILED_CODE
from ..networks.values import rounded
from .boxes import Boxes, Part
from .cache import LeastRecentlyUsed
from .network_box import NetworkBox

MAX_EAGER_VOXELS = 2**30  # A larger request is refused: ask for a part, or for a coarser level.
THIN = 4  # A view of at most so many cells along an axis counts as a slice, and is cached.
TILE = 64  # Slices are cached in tiles of this edge.
POINTS = 2**22  # A coarse level is evaluated at so many points at a time.
MOST_POINTS = 128  # A cell is averaged over at most so many points along an edge, whatever a file declares.
AT_ONCE = 64  # So many blocks are parsed, then evaluated: one by one, the two would evict each other from the cache.
# With larger spacings a coarse level falls a dB behind the averaged full decode (benchmarks/quality/levels.py).
SPACING = 4 / 3  # The points over which a cell is averaged lie at least so many voxels apart,
SPACING_PER_WEIGHT = 0.39  # and at least so many times the edge of the cube of voxels that share one weight.
BITS_PER_WEIGHT = 5  # The number of weights is estimated from the file's size with so many bits each.


def check_eager(n_voxels: int) -> None:
    """Refuse to decode more than :data:`MAX_EAGER_VOXELS` at once."""
    if n_voxels > MAX_EAGER_VOXELS:
        raise TincError(f"{n_voxels} voxels asked for at once, expected at most {MAX_EAGER_VOXELS}: ask for a part")


def cell_centres(ranges: Sequence[range], factor: int, shape: Sequence[int]) -> list[NDArray[np.float64]]:
    """Return the centres of cells of ``factor`` voxels along each axis, in voxels, moved inside the volume."""
    return [
        np.minimum((np.array(axis, np.float64) + 0.5) * factor, n - 0.5) for axis, n in zip(ranges, shape, strict=True)
    ]


def slices_of_alike(cells: range, most: int, n_full: int) -> list[slice]:
    """Cut cells into slices of at most ``most``, with the last cell of the axis alone if it is cut by the border."""
    full = len(cells) - (cells[-1] >= n_full)
    ends = [*range(0, full, most), full]
    return [slice(a, b) for a, b in itertools.pairwise(ends)] + [slice(full, None)] * (full < len(cells))


def spread_points(cells: range, factor: int, n: int, k: int) -> NDArray[np.float64]:
    """Spread ``k`` coordinates over each cell of ``factor`` voxels of an axis of ``n``, evenly."""
    low = np.array(cells, np.float64) * factor
    size = np.minimum(low + factor, n) - low
    return (low[:, None] + size[:, None] * ((np.arange(k) + 0.5) / k)).reshape(-1)


def places_within(inner: Sequence[range], outer: Sequence[range]) -> tuple[slice, ...]:
    """Return the slices of larger ranges in which ranges lie."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))


class VoxelDecoder:
    """Decodes views of a volume: any part of it, at any sampling. Any number of threads may use it.

    Parameters
    ----------
    contents : the boxes of the file.
    cache : keeps the tiles of slices that were decoded.
    dtype : of the values.
    labels : whether values are labels, which have no mean.
    fill : values that are no measurements, and no part of a mean.
    """

    def __init__(
        self, contents: Boxes, cache: LeastRecentlyUsed, *, dtype: np.dtype[Any], labels: bool,
        fill: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        self._contents, self._cache = contents, cache
        self._dtype, self._labels, self._fill = dtype, labels, fill
        self._shape, self._value_range = contents.header.shape, contents.header.value_range

    def decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        """Decode an ascending range along every axis; z, y, x count in cells of ``factor`` voxels.

        Raises
        ------
        TincError
            If there are more than :data:`MAX_EAGER_VOXELS`, or one of them cannot be read.
        """
        n_voxels = math.prod(len(axis) for axis in ranges)
        check_eager(n_voxels)
        leading, space = ranges[:-3], ranges[-3:]
        if n_voxels and not leading:
            return np.ascontiguousarray(self._decode(0, factor, space))
        out = np.empty([len(axis) for axis in ranges], self._dtype)
        if not n_voxels:
            return out
        for place in itertools.product(*(range(len(axis)) for axis in leading)):
            index = [axis[at] for axis, at in zip(leading, place, strict=True)]
            volume = int(np.ravel_multi_index(index, self._contents.leading))
            out[place] = self._decode(volume, factor, space)
        return out

    def _decode(self, volume: int, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        """Decode a view of a channel or point in time."""
        thin = min(len(axis) for axis in ranges) <= THIN and all(axis.step == 1 for axis in ranges)
        return self._tiled(volume, factor, ranges) if thin else self._cells(volume, factor, ranges)

    def _tiled(self, volume: int, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        """Decode a slice or a few, in tiles that are cached: looking again at them is free."""
        edges, spans = self.tile_spans(factor, ranges)
        tiles = list(itertools.product(*spans))
        by_tile = {tile: self._cache.get((volume, factor, *edges, *tile)) for tile in tiles}
        missing = np.array([tile for tile in tiles if by_tile[tile] is None])
        if len(missing):
            ends = list(zip(missing.min(axis=0).tolist(), missing.max(axis=0).tolist(), strict=True))
            box = [range(span[low].start, span[high].stop) for span, (low, high) in zip(spans, ends, strict=True)]
            values = self._cells(volume, factor, box)
            places = [
                {at: slice(cells.start - along.start, cells.stop - along.start) for at, cells in span.items()}
                for span, along in zip(spans, box, strict=True)
            ]
            for tile in itertools.product(*(range(low, high + 1) for low, high in ends)):
                part = values[tuple(place[at] for place, at in zip(places, tile, strict=True))].copy()
                by_tile[tile] = part
                self._cache.put((volume, factor, *edges, *tile), part, part.nbytes)
            if len(missing) == len(tiles):
                return values[places_within(ranges, box)]
        out = np.empty([len(axis) for axis in ranges], self._dtype)
        for tile in tiles:
            where = [span[at] for span, at in zip(spans, tile, strict=True)]
            both = [
                range(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(where, ranges, strict=True)
            ]  # fmt: skip
            out[places_within(both, ranges)] = by_tile[tile][places_within(both, where)]
        return out

    def tile_spans(self, factor: int, ranges: Sequence[range]) -> tuple[list[int], list[dict[int, range]]]:
        """Return the edges of the tiles of a slice, and along each axis the cells of every tile that it meets."""
        edges = [1 if len(axis) <= THIN else TILE for axis in ranges]
        spans = [
            {at: range(at * edge, min((at + 1) * edge, -(-n // factor)))
             for at in range(axis.start // edge, (axis.stop - 1) // edge + 1)}
            for axis, edge, n in zip(ranges, edges, self._shape, strict=True)
        ]  # fmt: skip
        return edges, spans

    def _cells(self, volume: int, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        """Decode cells of ``factor`` voxels: means over a cell, or for labels the voxel in its middle."""
        if factor == 1:
            return self.values(volume, ranges)
        if self._labels:
            return rounded(self.floats(volume, factor, cell_centres(ranges, factor, self._shape)), self._dtype)
        out = np.empty([len(axis) for axis in ranges], self._dtype)
        k = min(self.points_per_axis(factor), MOST_POINTS)
        unit = 2.0**-24 if max(map(abs, self._value_range)) > 2.0**990 else 1.0  # so that sums are finite
        most, edges = POINTS // math.prod(min(k, n) for n in self._shape), [0, 0, 0]
        for along in (2, 1, 0):
            edges[along] = min(len(ranges[along]), max(1, most))
            most //= max(1, edges[along])
        pieces = [
            slices_of_alike(axis, edge, n // factor) for axis, edge, n in zip(ranges, edges, self._shape, strict=True)
        ]
        for where in itertools.product(*pieces):
            part = [axis[along] for axis, along in zip(ranges, where, strict=True)]
            z, y, x = (len(axis) for axis in part)
            kz, ky, kx = (min(k, n - axis[0] * factor) for axis, n in zip(part, self._shape, strict=True))
            points = self.floats(volume, factor, [
                spread_points(axis, factor, n, count)
                for axis, n, count in zip(part, self._shape, (kz, ky, kx), strict=True)
            ], factor / k)  # fmt: skip
            with np.errstate(over="ignore", invalid="ignore"):  # of infinite values, and of such as are no numbers
                means = self._means(points.reshape(z, kz, y, ky, x, kx), unit)
            out[where] = rounded(means, self._dtype)
        return out

    def _means(self, points: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
        """Return the means over cells, (z, kz, y, ky, x, kx); where half or more is no measurement, its value."""
        within = (1, 3, 5)
        hidden = is_fill(points.astype(self._dtype), self._fill) if self._fill else None
        if hidden is None or not hidden.any():
            return np.multiply(points, unit, out=points).mean(axis=within) / unit
        known = (~hidden).sum(axis=within)
        means = np.where(hidden, 0, points * unit).sum(axis=within) / np.maximum(known, 1) / unit
        values = np.where(hidden, points, -np.inf).max(axis=within)
        n_points = points.size // means.size
        return np.where(2 * known <= n_points, values, means)

    def points_per_axis(self, factor: int) -> int:
        """Return at how many points along its edge a cell of ``factor`` voxels is evaluated."""
        if self._contents.edge and factor >= self._contents.edge:
            return factor // self._contents.edge  # all that the overview has
        if self._contents.header.error_bound is not None:
            return factor  # all voxels, which are decoded anyway
        return min(factor, math.ceil(factor / self._spacing))

    @cached_property
    def _spacing(self) -> float:
        """Voxels between two points of a cell that is averaged."""
        weights = 8 * self._contents.nbytes() / BITS_PER_WEIGHT
        n_voxels = math.prod((*self._contents.leading, *self._shape))
        return max(SPACING, SPACING_PER_WEIGHT * (n_voxels / weights) ** (1 / 3))

    def values(self, volume: int, ranges: Sequence[range]) -> NDArray[Any]:
        """Decode voxels of a channel or point in time."""
        axes = [np.array(axis, np.float64) + 0.5 for axis in ranges]
        out = np.empty([len(axis) for axis in ranges], self._dtype)

        def put(place: tuple[slice, ...], part: Part | None, local: list[NDArray[np.float64]], threads: int) -> None:
            if part is None:
                out[place] = rounded(self._coarser(volume, local), self._dtype)
            else:
                out[place] = part.values(local, threads)

        self.each_box(volume, axes, put)
        self._contents.regions.put(volume, axes, out)
        return out

    def floats(
        self, volume: int, factor: int, axes: list[NDArray[np.float64]], spacing: float = math.inf
    ) -> NDArray[np.float64]:
        """Evaluate at any coordinates. Where cells of ``factor`` voxels are as coarse as the overview, that is used.

        Points that are ``spacing`` voxels from each other are evaluated without a lattice whose points lie closer.
        """
        if self._contents.edge and factor >= self._contents.edge:
            return self._coarser(volume, axes, spacing)
        out = np.empty([len(axis) for axis in axes])

        def put(place: tuple[slice, ...], part: Part | None, local: list[NDArray[np.float64]], threads: int) -> None:
            if part is None:
                out[place] = self._coarser(volume, local, spacing)
            else:
                out[place] = part.floats(local, threads, spacing)

        self.each_box(volume, axes, put)
        self._contents.regions.put(volume, axes, out)
        return out

    def _coarser(self, volume: int, axes: list[NDArray[np.float64]], spacing: float = math.inf) -> NDArray[np.float64]:
        """Evaluate the overview; without one, return the middle of the value range."""
        overview = self._contents.overview(volume)
        if overview is None:
            return np.full([len(axis) for axis in axes], sum(self._value_range) / 2)
        edge = self._contents.edge
        return overview.floats([axis / edge for axis in axes], spacing=spacing / edge)

    def boxes_met(self, axes: Sequence[NDArray[np.float64]]) -> list[tuple[int, tuple[slice, ...]]]:
        """Find the boxes that a grid of coordinates meets, and the part of the grid that lies in each."""
        start, stop = self._contents.start.T, self._contents.stop.T
        first = np.array([axis.searchsorted(along) for axis, along in zip(axes, start, strict=True)]).T
        last = np.array([axis.searchsorted(along) for axis, along in zip(axes, stop, strict=True)]).T
        met = np.flatnonzero((last > first).all(axis=1))
        ends = zip(first[met].tolist(), last[met].tolist(), strict=True)
        places = [tuple(map(slice, low, high)) for low, high in ends]
        return list(zip(met.tolist(), places, strict=True))

    def each_box(
        self, volume: int, axes: list[NDArray[np.float64]],
        put: Callable[[tuple[slice, ...], Part | None, list[NDArray[np.float64]], int], None],
    ) -> None:  # fmt: skip
        """Call ``put`` for each box that a grid of coordinates meets, with its part of the grid, from threads.

        Coordinates count from the corner of the box where it has a tree, else from that of the volume.
        """
        contents, jobs = self._contents, self.boxes_met(axes)
        threads = cpu_count() if len(jobs) < cpu_count() else 1

        def work(job: tuple[int, tuple[slice, ...]]) -> None:
            box, place = job
            part = contents.part(volume, box)
            corner = np.zeros(3) if part is None else contents.start[box]
            put(place, part, [axis[along] - low for axis, along, low in zip(axes, place, corner, strict=True)], threads)

        if threads > 1 or len(jobs) == 1:
            for job in jobs:
                work(job)
            return
        from concurrent.futures import ThreadPoolExecutor  # not needed for a slice of a small file, and slow to import

        is_quick = COMPILED_CODE.is_used and min(map(len, axes)) <= THIN
        with ThreadPoolExecutor(cpu_count()) as pool:
            for at in range(0, len(jobs), AT_ONCE):
                group = jobs[at : at + AT_ONCE]
                contents.prepare(volume, [box for box, _ in group])
                # A slice of networks is quick by compiled code: threads would wait for each other rather than work.
                quick = [is_quick and isinstance(contents.at_hand(volume, box), NetworkBox) for box, _ in group]
                others = pool.map(work, itertools.compress(group, map(operator.not_, quick)))
                for job in itertools.compress(group, quick):
                    work(job)
                list(others)
