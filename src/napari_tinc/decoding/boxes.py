"""Boxes of voxels, each of networks or within a bound, and the contents of a file that has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..format.chunks import Ancillary, Chunk, ChunkEntry
from ..format.head import VolumeFacts
from .bounded_box import BoundedBox
from .network_box import NetworkBox
from .regions import Regions

if TYPE_CHECKING:
    from ..filtering.filter import Filter

Part = NetworkBox | BoundedBox


class Boxes(Protocol):
    """Boxes of voxels that tile z, y, x, in the same way for every channel and point in time (a ``volume``)."""

    @property
    def header(self) -> VolumeFacts:
        """What the file states about the volume."""

    @property
    def leading(self) -> tuple[int, ...]:
        """Sizes of the axes before z, y, x: channels, points in time."""

    @property
    def edge(self) -> int:
        """Edge, in voxels, of a cell of the overviews; 0 if there are none."""

    @property
    def start(self) -> NDArray[np.int64]:
        """First voxel of every box, (n, 3)."""

    @property
    def stop(self) -> NDArray[np.int64]:
        """One past the last voxel of every box, (n, 3)."""

    @property
    def regions(self) -> Regions:
        """The regions that are kept exactly, or within a bound of their own, whatever the boxes give there."""

    def prepare(self, volume: int, boxes: Sequence[int]) -> None:
        """Read and parse the networks of several boxes. Damage is reported later, by :meth:`part`."""

    def part(self, volume: int, box: int) -> Part | None:
        """Return what a box holds; None if the file was cut off before it."""

    def overview(self, volume: int) -> Part | None:
        """Return the overview of a volume: all of it, at a coarser sampling; None if there is none."""

    def at_hand(self, volume: int, box: int) -> Part | None:
        """Return what a box holds if it is in the cache, else None. Never reads the file."""

    def overview_at_hand(self, volume: int) -> Part | None:
        """Return the overview if it is in the cache, else None. Never reads the file."""

    def nbytes(self) -> int:
        """Return the size of the file."""


class Contents(Boxes, Protocol):
    """All contents of a file: its boxes, and its other chunks."""

    @property
    def has_networks(self) -> bool:
        """Whether any box is a tree of networks."""

    @property
    def filter(self) -> Filter | None:
        """The filter that rounded blocks pass while calibration is shown; None if the file has none."""

    @property
    def shows_calibration(self) -> bool:
        """Whether gains and offsets, and the filter, are applied, where the file has any."""

    def uncalibrated(self, ancillary: Sequence[Chunk]) -> Contents:
        """The same without gains, offsets and filter, with other ancillary chunks; the file is not read or written."""

    def leaves(self, volume: int, box: int, value_range: tuple[float, float]) -> NDArray[Any] | None:
        """Return the rows of :attr:`TincVolume.leaves` of a box, counted from its corner; None if it was cut off."""

    def ancillary(self, role: Ancillary | None = None) -> list[Chunk]:
        """Return the chunks that a reader may skip: all of them, or those of a ``role``."""

    def entries(self) -> Sequence[Chunk | ChunkEntry]:
        """Return all chunks, or their entries in the table of chunks."""

    def levels_above(self) -> NDArray[np.int64]:
        """Return how many levels of the octree are above each box, int64 (n,)."""

    def check(self) -> None:
        """Compare the CRC-32 of every chunk; :class:`TincError` names the first that differs."""

    def data(self) -> bytes:
        """Return all bytes of the file; :class:`TincError` if it is damaged, or was changed since it was opened."""

    def rewritten(self, ancillary: Sequence[Chunk], **facts: Any) -> bytes:
        """Return the bytes of a file with other facts and ancillary chunks."""
