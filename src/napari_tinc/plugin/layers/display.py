"""A volume as napari looks at it: what it looks at again is decoded once, and what is damaged does not stop it.

Knows nothing of layers, viewers or Qt.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...control import Check
from ...decoding.block_contents import BlockContents
from ...decoding.bounded_box import SKETCH_LEVEL, BoundedBox
from ...decoding.boxes import Boxes, Part
from ...decoding.cache import LeastRecentlyUsed
from ...decoding.lazy_array import LazyArray, levels_of
from ...decoding.network_box import NetworkBox
from ...decoding.values import THIN, TILE, VoxelDecoder, cell_centres
from ...decoding.volume import TincVolume
from ...errors import TincError
from ...networks.values import rounded
from .damaged_blocks import TolerantContents
from .refining import Piece, Ranges

OVERVIEW_VOXELS = 2**22  # of the coarsest level: napari's thumbnail and 3D view take it
LIMIT_BLOCKS = 8  # whose value ranges say how bright a channel is
AT_ONCE_SECONDS = 0.03  # What is estimated to take longer is left to threads, and shown coarsely meanwhile.
SECONDS_PER_VOXEL = 2e-8  # A voxel of a block that is decoded takes this long to be copied, or averaged.
SECONDS_PER_POINT = 1e-6  # A point of networks is taken to need this long until it has been measured.
SECONDS_PER_LEAF = 2e-4  # A leaf of networks needs this long beside its points.
SKETCH_POINTS = 2**12  # A coarse view of networks evaluates at most so many points.
BRICK = 32  # Cells along the pieces of a view of more than a few slices.


class TimedDecoder(VoxelDecoder):
    """A decoder that knows how long it takes.

    Attributes
    ----------
    seconds_per_point : about, as of late.
    """

    seconds_per_point = SECONDS_PER_POINT

    def each_box(
        self, volume: int, axes: list[NDArray[np.float64]],
        put: Callable[[tuple[slice, ...], Part | None, list[NDArray[np.float64]], int], None],
    ) -> None:  # fmt: skip
        began = time.perf_counter()
        super().each_box(volume, axes, put)
        points = math.prod(len(axis) for axis in axes)
        if points >= SKETCH_POINTS:
            took = (time.perf_counter() - began) / points
            self.seconds_per_point += (took - self.seconds_per_point) / 4


class DisplayVolume:
    """A volume with a cache of its own, which keeps the coarsest level once 3D has asked for all of it.

    Attributes
    ----------
    of : the volume itself, which is strict about damage.
    parts : its boxes, tolerant of damage.
    levels : finest first.
    shown_levels : those of them that napari gets; the last has at most :data:`OVERVIEW_VOXELS` voxels at a time.
    """

    def __init__(self, volume: TincVolume, cache_bytes: int, tell: Callable[[str], None]) -> None:
        self.of = volume
        parts = volume.parts
        self.parts: Boxes = TolerantContents(parts, tell) if isinstance(parts, BlockContents) else parts
        self.levels = levels_of(self, self.parts.leading, self.parts.header.shape)
        large = [math.prod(level.shape[-3:]) > OVERVIEW_VOXELS for level in self.levels]
        self.shown_levels: list[LazyArray] = self.levels[: sum(large) + 1]
        self._cache = LeastRecentlyUsed(cache_bytes)

    def __deepcopy__(self, memo: dict[int, Any]) -> DisplayVolume:
        return self  # Copies of a layer, which napari makes deeply, share what has been decoded.

    def __repr__(self) -> str:
        return repr(self.of)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As napari shows it: masks as integers."""
        return self.parts.header.dtype

    @cached_property
    def _decoder(self) -> TimedDecoder:
        return TimedDecoder(self.parts, self._cache, dtype=self.dtype, labels=self.of.labels)

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        before = self._n_lost
        values = self._decoded(factor, ranges)
        if self._n_lost != before:
            self._cache.clear()  # of what was shown in place of it, to be tried again
        return values

    @property
    def _n_lost(self) -> int:
        return self.parts.n_lost if isinstance(self.parts, TolerantContents) else 0

    def _decoded(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        coarsest = self.shown_levels[-1]
        if factor != coarsest.factor or factor == 1 or any(len(axis) != 1 for axis in ranges[:-3]):
            return self._decoder.decode(factor, ranges)
        place = tuple(axis[0] for axis in ranges[:-3])
        whole = self._cache.get(("whole", place))
        if whole is None and min(len(axis) for axis in ranges[-3:]) == 1:
            return self._thumbnail(place, ranges)
        if whole is None:
            if any(len(axis) < n for axis, n in zip(ranges[-3:], coarsest.shape[-3:], strict=True)):
                return self._decoder.decode(factor, ranges)
            whole = self._decoder.decode(factor, ranges)
            self._cache.put(("whole", place), whole, min(whole.nbytes, self._cache.most))
        index = tuple(slice(axis.start, axis.stop, axis.step) for axis in ranges[-3:])
        return whole[(slice(None),) * (whole.ndim - 3) + index].copy()

    state = 0  # See :class:`~.refining.Refinable`: values do not change.

    @property
    def losses(self) -> int:
        """See :class:`~.refining.Refinable`: how often a connection failed, or a disk."""
        return self._n_lost

    def at_hand(self, factor: int, ranges: Ranges) -> NDArray[Any] | None:
        """See :class:`~.refining.Refinable`."""
        if not all(self._is_at_hand(place, factor, ranges[-3:]) for place in self._places(ranges)):
            return None
        return self._decode(factor, ranges)

    def quick(self, factor: int, ranges: Ranges) -> NDArray[Any]:
        """See :class:`~.refining.Refinable`: blocks that are decoded, around them the overview or few points."""
        out = np.empty([len(axis) for axis in ranges], self.dtype)
        for at, place in zip(np.ndindex(out.shape[:-3]), self._places(ranges), strict=True):
            out[at] = self._coarsely(place, factor, ranges[-3:], self._has_quick_networks(place, factor, ranges[-3:]))
        return out

    def sketches(self, factor: int, ranges: Ranges) -> list[Piece]:
        """See :class:`~.refining.Refinable`."""
        if self.parts.edge:
            numbers = map(self._number, self._places(ranges))
            return [Piece(ranges)] if any(self.parts.overview_at_hand(number) is None for number in numbers) else []
        if all(self._has_quick_networks(place, factor, ranges[-3:]) for place in self._places(ranges)):
            return []
        return self._cut(factor, ranges, 2 * TILE if _is_thin(ranges[-3:]) else BRICK)

    def sketch(self, factor: int, ranges: Ranges, check: Check) -> NDArray[Any]:
        """See :class:`~.refining.Refinable`."""
        out = np.empty([len(axis) for axis in ranges], self.dtype)
        for at, place in zip(np.ndindex(out.shape[:-3]), self._places(ranges), strict=True):
            number = self._number(place)
            if self.parts.edge:
                self.parts.overview(number)
            elif isinstance(self.parts, TolerantContents):
                self.parts.check = check
                for box, _ in self._decoder.boxes_met(self._centres(factor, ranges[-3:])):
                    check()
                    self.parts.sketch(number, box)
            elif isinstance(tree := self.parts.part(number, 0), NetworkBox):
                _ = tree.network
            out[at] = self._coarsely(place, factor, ranges[-3:], not self.parts.edge)
        return out

    def pieces(self, factor: int, ranges: Ranges) -> list[Piece]:
        """See :class:`~.refining.Refinable`."""
        return self._cut(factor, ranges, TILE if _is_thin(ranges[-3:]) else BRICK)

    def refined(self, factor: int, piece: Piece, check: Check) -> NDArray[Any]:
        """See :class:`~.refining.Refinable`."""
        if isinstance(self.parts, TolerantContents):
            self.parts.check = check
        return self._decode(factor, piece.ranges)

    def keep(self, factor: int, ranges: Ranges, values: NDArray[Any]) -> None:
        """See :class:`~.refining.Refinable`: all of the coarsest level is kept for 3D."""
        coarsest = self.shown_levels[-1]
        if factor == coarsest.factor != 1 and values.shape[-3:] == coarsest.shape[-3:] and _count(ranges[:-3]) == 1:
            place = next(self._places(ranges))
            self._cache.put(("whole", place), values.copy(), min(values.nbytes, self._cache.most))

    def _places(self, ranges: Sequence[range]) -> Iterator[tuple[int, ...]]:
        """The channels and points in time of a view."""
        return itertools.product(*ranges[:-3])

    def _number(self, place: tuple[int, ...]) -> int:
        return int(np.ravel_multi_index(place, self.parts.leading)) if place else 0

    def _is_at_hand(self, place: tuple[int, ...], factor: int, ranges: Ranges) -> bool:
        if factor == self.shown_levels[-1].factor and self._cache.get(("whole", place)) is not None:
            return True
        if _is_thin(ranges):
            edges, spans = self._decoder.tile_spans(factor, ranges)
            keys = ((self._number(place), factor, *edges, *tile) for tile in itertools.product(*spans))
            if all(self._cache.get(key) is not None for key in keys):
                return True
        if not self.parts.regions.at_hand(self._number(place), self._centres(factor, ranges)):
            return False
        points, seconds = _count(ranges) * self._decoder.points_per_axis(factor) ** 3, 0.0
        for part in self._parts_of(self._number(place), factor, ranges):
            if part is None or not _is_ready(part):
                return False
            seconds = max(seconds, points * self._seconds(part))
        return seconds < AT_ONCE_SECONDS

    def _parts_of(self, volume: int, factor: int, ranges: Ranges) -> list[Part | None]:
        """What the values of a view come from, as far as it is at hand."""
        if self.parts.edge and factor >= self.parts.edge:
            return [self.parts.overview_at_hand(volume)]
        return [self.parts.at_hand(volume, box) for box, _ in self._decoder.boxes_met(self._centres(factor, ranges))]

    def _seconds(self, part: Part) -> float:
        """What a point of a part takes, about."""
        return SECONDS_PER_VOXEL if isinstance(part, BoundedBox) else self._decoder.seconds_per_point

    def _needs(self, factor: int, ranges: Ranges, parts: Sequence[Ranges]) -> list[frozenset[Hashable]]:
        """Blocks that have to be decoded as a whole for each part of a view."""
        if self.parts.header.error_bound is None or factor >= self.parts.edge > 0:
            return [frozenset()] * len(parts)
        met = [box for box, _ in self._decoder.boxes_met(self._centres(factor, ranges[-3:]))]
        first = np.array([[axis[0] for axis in part[-3:]] for part in parts]) * factor
        last = np.array([[axis[-1] + 1 for axis in part[-3:]] for part in parts]) * factor
        meets = ((self.parts.start[met] < last[:, None]) & (self.parts.stop[met] > first[:, None])).all(axis=-1)
        undecoded = {
            volume: np.array([not self._is_decoded(volume, box) for box in met])
            for volume in map(self._number, self._places(ranges))
        }
        return [
            frozenset(
                (id(self), volume, met[at])
                for volume in map(self._number, self._places(part))
                for at in np.flatnonzero(of_part & undecoded[volume]).tolist()
            )
            for part, of_part in zip(parts, np.asarray(meets), strict=True)
        ]

    def _is_decoded(self, volume: int, box: int) -> bool:
        part = self.parts.at_hand(volume, box)
        return part is not None and _is_ready(part)

    def _centres(self, factor: int, ranges: Ranges) -> list[NDArray[np.float64]]:
        return cell_centres(ranges, factor, self.parts.header.shape)

    def _coarsely(self, place: tuple[int, ...], factor: int, ranges: Ranges, networks: bool) -> NDArray[Any]:
        """Values from what has been read: decoded blocks, else the overview, few points of networks, or sketches."""
        volume, axes = self._number(place), self._centres(factor, ranges)
        middle = rounded(np.array(sum(self.parts.header.value_range) / 2), self.dtype)
        out = np.full([len(axis) for axis in axes], middle)
        overview = self.parts.overview_at_hand(volume)
        if isinstance(overview, BoundedBox) and overview.decoded:
            voxels = [np.arange(n, dtype=np.float64) for n in overview.shape]
            known = rounded(overview.floats(voxels), self.dtype)  # few, and many points are taken from them
            out[:] = known[np.ix_(*((axis / self.parts.edge).astype(np.int64) for axis in axes))]
        elif isinstance(overview, NetworkBox) and _is_ready(overview):
            out[:] = self._on_lattice(lambda axes: overview.floats([a / self.parts.edge for a in axes], 1), axes)
        elif networks and self._are_ready(volume, axes):
            out[:] = self._on_lattice(lambda axes: self._decoder.floats(volume, 1, axes), axes)
        for box, where in self._decoder.boxes_met(axes):
            part = self.parts.at_hand(volume, box)
            if not isinstance(part, BoundedBox):
                continue
            corner = self.parts.start[box]
            local = [axis[along] - low for axis, along, low in zip(axes, where, corner, strict=True)]
            if part.decoded:
                out[where] = part.values(local)
            elif part.sketch is not None and overview is None:
                out[where] = part.sketch[np.ix_(*(axis.astype(np.int64) >> SKETCH_LEVEL for axis in local))]
        return out

    def _are_ready(self, volume: int, axes: list[NDArray[np.float64]]) -> bool:
        parts = [self.parts.at_hand(volume, box) for box, _ in self._decoder.boxes_met(axes)]
        return all(isinstance(part, NetworkBox) and _is_ready(part) for part in parts)

    def _on_lattice(
        self, evaluate: Callable[[list[NDArray[np.float64]]], NDArray[np.float64]], axes: list[NDArray[np.float64]]
    ) -> NDArray[Any]:
        """Values at every n-th point of a grid, each shown for the points around it."""
        step = 1
        while math.prod(-(-len(axis) // step) for axis in axes) > SKETCH_POINTS:
            step += 1
        index = [np.arange(len(axis)) // step for axis in axes]
        middles = [axis[np.minimum(np.arange(0, len(axis), step) + step // 2, len(axis) - 1)] for axis in axes]
        return rounded(evaluate(middles), self.dtype)[np.ix_(*index)]

    def _has_quick_networks(self, place: tuple[int, ...], factor: int, ranges: Ranges) -> bool:
        """Whether a coarse look at the networks of a view takes no longer than a step may take."""
        seconds = 0.0
        for box, _ in self._decoder.boxes_met(self._centres(factor, ranges)):
            part = self.parts.at_hand(self._number(place), box)
            if not isinstance(part, NetworkBox) or not _is_ready(part):
                return False
            seconds += len(part.header.tree.leaves) * SECONDS_PER_LEAF
        return seconds < 2 * AT_ONCE_SECONDS

    def _cut(self, factor: int, ranges: Ranges, edge: int) -> list[Piece]:
        """Pieces of at most ``edge`` cells along z, y, x, which end where those of other views do."""
        if any(axis.step != 1 for axis in ranges[-3:]):
            return [Piece(ranges)]
        spans = [[range(at, at + 1) for at in axis] for axis in ranges[:-3]]
        for axis in ranges[-3:]:
            ends = [axis.start, *range(axis.start - axis.start % edge + edge, axis.stop, edge), axis.stop]
            spans.append([range(a, b) for a, b in itertools.pairwise(ends)])
        parts = list(itertools.product(*spans))
        return [Piece(part, needs) for part, needs in zip(parts, self._needs(factor, ranges, parts), strict=True)]

    def _thumbnail(self, place: tuple[int, ...], ranges: Sequence[range]) -> NDArray[Any]:
        """A slice of the coarsest level from the middle of each cell, an eighth of the work of their means.

        napari asks for it, for its thumbnail, along with every slice in view, and shows 32 x 32 pixels of it. It
        shows more only where it draws all of the volume smaller than that.
        """
        key = ("thumbnail", place, *ranges[-3:])
        found = self._cache.get(key)
        if found is None:
            volume = int(np.ravel_multi_index(place, self.parts.leading)) if place else 0
            factor = self.shown_levels[-1].factor
            middles = cell_centres(ranges[-3:], factor, self.parts.header.shape)
            found = rounded(self._decoder.floats(volume, factor, middles), self.dtype)
            self._cache.put(key, found, found.nbytes)
        return found.reshape([len(axis) for axis in ranges]).copy()


def _is_ready(part: Part) -> bool:
    """Whether values of a part can be had without decoding all of it first."""
    return part.decoded


def _is_thin(ranges: Ranges) -> bool:
    return min(len(axis) for axis in ranges) <= THIN and all(axis.step == 1 for axis in ranges)


def _count(ranges: Sequence[range]) -> int:
    return math.prod(len(axis) for axis in ranges)


def brightness(volume: TincVolume) -> tuple[float, float]:
    """Smallest and largest value, about, of one channel of a file, from the ranges of some of its blocks.

    The file's own range is that of all its channels, in which one of them may be dark.
    """
    parts = volume.parts
    n_volumes, n_boxes = math.prod(volume.shape[:-3]), len(parts.start)
    # Blocks without networks do not say their range, but a coarse look is cheap where there are many.
    coarsely = volume.error_bound is not None
    ranges = []
    for number in _some(n_volumes if coarsely else n_volumes * n_boxes):
        try:
            part = parts.overview(number) if coarsely else parts.part(*divmod(number, n_boxes))
            known = part.array[np.isfinite(part.array)] if isinstance(part, BoundedBox) and coarsely else np.empty(0)
        except (TincError, OSError):
            continue  # it is told where it is looked at
        if isinstance(part, NetworkBox):
            ranges.append(part.header.value_range)
        elif known.size:
            ranges.append((known.min(), known.max()))
    low, high = min((low for low, _ in ranges), default=0), max((high for _, high in ranges), default=0)
    return (float(low), float(high)) if low < high else (float(volume.value_range[0]), float(volume.value_range[1]))


def _some(count: int) -> list[int]:
    """Numbers below ``count``, evenly spread."""
    found: list[int] = np.unique(np.linspace(0, count - 1, LIMIT_BLOCKS).round().astype(int)).tolist()
    return found
