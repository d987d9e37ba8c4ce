"""The contents of a file of either kind: boxes of voxels, each read and parsed when it is first needed.

A file is a single tree of networks (SingleTree), or has blocks (BlockContents) for channels, points in time and boxes.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..format import blocks_file, chunks
from ..format.chunks import Ancillary, Chunk
from ..format.head import Feature, read_head
from ..storage.stores import Store
from .block_contents import BlockContents
from .boxes import Contents
from .cache import LatticePlanes, LeastRecentlyUsed
from .network_box import NetworkBox
from .regions import Regions


class SingleTree:
    """The contents of a file of a single tree of networks: one box, the whole volume."""

    leading: tuple[int, ...] = ()
    edge = 0
    has_networks = True
    filter = None
    regions = Regions.none()

    def __init__(self, tree: NetworkBox, *, ancillary: list[Chunk] | None = None, calibrated: bool = True) -> None:
        self._tree, self._ancillary, self.shows_calibration = tree, ancillary, calibrated
        self.header = tree.header
        self.start, self.stop = np.zeros((1, 3), np.int64), np.array([tree.shape])

    def prepare(self, volume: int, boxes: Sequence[int]) -> None:
        pass

    def part(self, volume: int, box: int) -> NetworkBox:
        return self._tree

    def overview(self, volume: int) -> None:
        return None

    def at_hand(self, volume: int, box: int) -> NetworkBox:
        return self._tree

    def overview_at_hand(self, volume: int) -> None:
        return None

    def leaves(self, volume: int, box: int, value_range: tuple[float, float]) -> NDArray[Any]:
        return self._tree.leaves(value_range)

    def ancillary(self, role: Ancillary | None = None) -> list[Chunk]:
        chunks = self._tree.chunks if self._ancillary is None else self._ancillary
        return [chunk for chunk in chunks if chunk.ancillary and role in (None, chunk.role)]

    def uncalibrated(self, ancillary: Sequence[Chunk]) -> SingleTree:
        kept = [chunk for chunk in ancillary if chunk.role is not Ancillary.QUALITY]
        return SingleTree(self._tree.uncalibrated, ancillary=kept, calibrated=False)

    def entries(self) -> Sequence[Chunk]:
        return self._tree.chunks

    def levels_above(self) -> NDArray[np.int64]:
        return np.zeros(1, np.int64)

    def nbytes(self) -> int:
        return len(self._tree.data)

    def check(self) -> None:
        chunks.verify(self._tree.chunks)

    def data(self) -> bytes:
        self.check()
        return self._tree.data if self._ancillary is None else self.rewritten(self._ancillary)

    def rewritten(self, ancillary: Sequence[Chunk], **facts: Any) -> bytes:
        if self._tree.n_missing:
            raise TincError("a part of the file is missing: it was cut off, and cannot be written again")
        return self._tree.pack(ancillary, **facts)


def read_contents(store: Store, cache: LeastRecentlyUsed, *, partial: bool) -> Contents:
    """Read the head of a file; all of it only if it is a single tree of networks.

    Raises
    ------
    TincError
        If the file is damaged, or cut off and ``partial`` is not set.
    """
    features, head = read_head(store.read, store.size)
    if features & Feature.BLOCKS:
        contents = BlockContents(
            store, *blocks_file.parse(features, head, store.size, partial=partial), cache, zlib.crc32(head)
        )
        _ = contents.filter  # A file whose filter cannot be read is refused now, not when it is looked at.
        return contents
    planes = LatticePlanes(cache.most).of("tree")
    return SingleTree(NetworkBox(store.read(0, store.size), partial=partial, planes=planes))
