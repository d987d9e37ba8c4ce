"""Show a file of blocks in spite of damage: a damaged block counts as missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...control import Check, never
from ...decoding.block_contents import BlockContents
from ...decoding.bounded_box import BoundedBox
from ...decoding.boxes import Part
from ...decoding.network_box import NetworkBox
from ...decoding.regions import Regions
from ...errors import TincError
from ...format.head import VolumeFacts


class TolerantRegions(Regions):
    """The regions of a file. One that cannot be read is shown as the blocks have it."""

    def __init__(self, regions: Regions, report_damage: Callable[[str], None]) -> None:
        """Read ``regions``. ``report_damage`` is called with the reason for each that cannot be read."""
        super().__init__(*regions.arguments)
        self._report_damage, self._damaged = report_damage, set[int]()

    def decoded(self, number: int) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """See :meth:`~napari_tinc.decoding.regions.Regions.decoded`."""
        if number not in self._damaged:
            try:
                return super().decoded(number)
            except TincError as error:
                self._damaged.add(number)
                self._report_damage(str(error))
            except OSError as error:  # A connection may come back.
                self._report_damage(str(error))
        return self.nothing(number)


class TolerantContents:
    """Read the blocks of a file. One that cannot be read counts as missing, so that the overview is shown there.

    Attributes
    ----------
    n_lost : how often a connection or a disk failed. Such a block is tried again, a damaged one is not.
    """

    def __init__(self, blocks: BlockContents, report_damage: Callable[[str], None]) -> None:
        """Read ``blocks``. ``report_damage`` is called with the reason, for the first block that cannot be read."""
        self._blocks = blocks
        self.header: VolumeFacts = blocks.header
        self.leading, self.edge = blocks.leading, blocks.edge
        self.start, self.stop = blocks.start, blocks.stop
        self.regions = TolerantRegions(blocks.regions, self._report_once)
        self._report_damage, self._reported = report_damage, False
        self._damaged: set[tuple[int, int]] = set()
        self.n_lost = 0
        self.check: Check = never

    def prepare(self, volume: int, boxes: Sequence[int]) -> None:
        """See :meth:`~napari_tinc.decoding.block_contents.BlockContents.prepare`."""
        with suppress(TincError, OSError):  # Each block is tried by itself later.
            self._blocks.prepare(volume, boxes)

    def part(self, volume: int, box: int) -> Part | None:
        """Return a block; None if it cannot be read."""
        return self._read_or_none((volume, box), self._blocks.part)

    def overview(self, volume: int) -> Part | None:
        """Return the overview of a volume; None if there is none, or it cannot be read."""
        return self._read_or_none((volume, -1), lambda volume, _: self._blocks.overview(volume))

    def at_hand(self, volume: int, box: int) -> Part | None:
        """Return a block if it has been read already."""
        return self._blocks.at_hand(volume, box)

    def overview_at_hand(self, volume: int) -> Part | None:
        """Return the overview of a volume if it has been read already."""
        return self._blocks.overview_at_hand(volume)

    def nbytes(self) -> int:
        """Return how many bytes the blocks in memory take."""
        return self._blocks.nbytes()

    def sketch(self, volume: int, box: int) -> None:
        """Prepare a coarse view of a block. Damage is reported when the whole block is decoded."""
        with suppress(TincError, OSError):
            part = self._blocks.part(volume, box)
            if isinstance(part, BoundedBox):
                part.make_sketch(self.check)
            elif part is not None:
                _ = part.network

    def _read_or_none(self, volume_and_box: tuple[int, int], read: Callable[[int, int], Part | None]) -> Part | None:
        """Read and decode a part; None if that fails, which is reported the first time."""
        if volume_and_box in self._damaged:
            return None
        try:
            part = read(*volume_and_box)
            if part is not None:
                _ = (
                    part.network if isinstance(part, NetworkBox) else part.decode(self.check)
                )  # there may be damage, too
        except (TincError, OSError) as error:
            if isinstance(error, TincError):
                self._damaged.add(volume_and_box)
            else:
                self.n_lost += 1  # A connection may come back.
            self._report_once(str(error))
            return None
        return part

    def _report_once(self, reason: str) -> None:
        """Report the first damage only."""
        if not self._reported:
            self._reported = True
            self._report_damage(reason)
