"""A volume as napari looks at it: what it looks at again is decoded once, and what is damaged does not stop it.

Knows nothing of layers, viewers or Qt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact import Exact
from ..framing import TincError
from ..lazy import LazyArray
from ..lru import LeastRecentlyUsed
from ..parts import Blocks, Part, Parts
from ..tree import Tree, rounded
from ..volume import TincVolume, cell_centres

OVERVIEW_VOXELS = 2**22  # of the coarsest level: napari's thumbnail and 3D view take it
LIMIT_BLOCKS = 8  # whose value ranges say how bright a channel is


class Tolerant(Blocks):
    """Blocks of which one that cannot be read counts as missing, so that what is coarser is shown there.

    Attributes
    ----------
    n_lost : how often a connection failed, or a disk.
    """

    def __init__(self, blocks: Blocks, tell: Callable[[str], None]) -> None:
        vars(self).update(vars(blocks))
        self._tell, self._told = tell, False
        self._damaged: set[tuple[int, int]] = set()
        self.n_lost = 0

    def prepare(self, volume: int, boxes: Sequence[int]) -> None:
        with suppress(TincError, OSError):  # each part will be tried by itself
            super().prepare(volume, boxes)

    def part(self, volume: int, box: int) -> Part | None:
        return self._tried((volume, box), super().part)

    def overview(self, volume: int) -> Part | None:
        return self._tried((volume, -1), lambda volume, _: super(Tolerant, self).overview(volume))

    def _tried(self, place: tuple[int, int], read: Callable[[int, int], Part | None]) -> Part | None:
        if place in self._damaged:
            return None
        try:
            part = read(*place)
            if part is not None:
                _ = part.network if isinstance(part, Tree) else part.array  # where there may be damage too
        except (TincError, OSError) as error:
            if isinstance(error, TincError):
                self._damaged.add(place)
            else:
                self.n_lost += 1  # a connection may come back
            if not self._told:
                self._told = True
                self._tell(str(error))
            return None
        return part


class Seen(TincVolume):
    """A volume with a cache of its own, which keeps the coarsest level once 3D has asked for all of it.

    Attributes
    ----------
    of : the volume itself, which is strict about damage.
    shown_levels : finest first; the last has at most :data:`OVERVIEW_VOXELS` voxels at a time.
    """

    def __init__(self, volume: TincVolume, cache_bytes: int, tell: Callable[[str], None]) -> None:
        self.of = volume
        self._cache = LeastRecentlyUsed(cache_bytes)
        self._parts: Parts = Tolerant(volume.parts, tell) if isinstance(volume.parts, Blocks) else volume.parts
        large = [math.prod(level.shape[-3:]) > OVERVIEW_VOXELS for level in self.levels]
        self.shown_levels: list[LazyArray] = self.levels[: sum(large) + 1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As napari shows it: masks as integers."""
        return self.header.dtype

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        before = self._n_lost
        values = self._decoded(factor, ranges)
        if self._n_lost != before:
            self._cache.clear()  # of what was shown in place of it, to be tried again
        return values

    @property
    def _n_lost(self) -> int:
        return self._parts.n_lost if isinstance(self._parts, Tolerant) else 0

    def _decoded(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        coarsest = self.shown_levels[-1]
        if factor != coarsest.factor or factor == 1 or any(len(axis) != 1 for axis in ranges[:-3]):
            return super()._decode(factor, ranges)
        place = tuple(axis[0] for axis in ranges[:-3])
        whole = self._cache.get(("whole", place))
        if whole is None and min(len(axis) for axis in ranges[-3:]) == 1:
            return self._thumbnail(place, ranges)
        if whole is None:
            if any(len(axis) < n for axis, n in zip(ranges[-3:], coarsest.shape[-3:], strict=True)):
                return super()._decode(factor, ranges)
            whole = super()._decode(factor, ranges)
            self._cache.put(("whole", place), whole, min(whole.nbytes, self._cache.most))
        index = tuple(slice(axis.start, axis.stop, axis.step) for axis in ranges[-3:])
        return whole[(slice(None),) * (whole.ndim - 3) + index].copy()

    def _thumbnail(self, place: tuple[int, ...], ranges: Sequence[range]) -> NDArray[Any]:
        """A slice of the coarsest level from the middle of each cell, an eighth of the work of their means.

        napari asks for it, for its thumbnail, along with every slice in view, and shows 32 x 32 pixels of it. It
        shows more only where it draws all of the volume smaller than that.
        """
        key = ("thumbnail", place, *ranges[-3:])
        found = self._cache.get(key)
        if found is None:
            volume = int(np.ravel_multi_index(place, self._parts.leading)) if place else 0
            factor = self.shown_levels[-1].factor
            middles = cell_centres(ranges[-3:], factor, self.header.shape)
            found = rounded(self._floats(volume, factor, middles), self.dtype)
            self._cache.put(key, found, found.nbytes)
        return found.reshape([len(axis) for axis in ranges]).copy()


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
            known = part.array[np.isfinite(part.array)] if isinstance(part, Exact) and coarsely else np.empty(0)
        except (TincError, OSError):
            continue  # it is told where it is looked at
        if isinstance(part, Tree):
            ranges.append(part.header.value_range)
        elif known.size:
            ranges.append((known.min(), known.max()))
    low, high = min((low for low, _ in ranges), default=0), max((high for _, high in ranges), default=0)
    return (float(low), float(high)) if low < high else (float(volume.value_range[0]), float(volume.value_range[1]))


def _some(count: int) -> list[int]:
    """Numbers below ``count``, evenly spread."""
    found: list[int] = np.unique(np.linspace(0, count - 1, LIMIT_BLOCKS).round().astype(int)).tolist()
    return found
