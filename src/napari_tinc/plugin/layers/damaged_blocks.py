"""Blocks of a file that can be looked at in spite of damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from ...control import Check, never
from ...decoding.bounded_box import BoundedBox
from ...decoding.contents import BlockContents, Part
from ...decoding.network_box import NetworkBox
from ...errors import TincError
from ...format.head import VolumeFacts


class TolerantContents:
    """Blocks of which one that cannot be read counts as missing, so that what is coarser is shown there.

    Attributes
    ----------
    n_lost : how often a connection failed, or a disk.
    """

    def __init__(self, blocks: BlockContents, tell: Callable[[str], None]) -> None:
        self._blocks = blocks
        self.header: VolumeFacts = blocks.header
        self.leading, self.edge = blocks.leading, blocks.edge
        self.start, self.stop = blocks.start, blocks.stop
        self._tell, self._told = tell, False
        self._damaged: set[tuple[int, int]] = set()
        self.n_lost = 0
        self.check: Check = never

    def prepare(self, volume: int, boxes: Sequence[int]) -> None:
        with suppress(TincError, OSError):  # each part will be tried by itself
            self._blocks.prepare(volume, boxes)

    def part(self, volume: int, box: int) -> Part | None:
        return self._tried((volume, box), self._blocks.part)

    def overview(self, volume: int) -> Part | None:
        return self._tried((volume, -1), lambda volume, _: self._blocks.overview(volume))

    def at_hand(self, volume: int, box: int) -> Part | None:
        return self._blocks.at_hand(volume, box)

    def overview_at_hand(self, volume: int) -> Part | None:
        return self._blocks.overview_at_hand(volume)

    def nbytes(self) -> int:
        return self._blocks.nbytes()

    def sketch(self, volume: int, box: int) -> None:
        """Make a coarse look at a block possible. What is damaged is reported when all of it is decoded."""
        with suppress(TincError, OSError):
            part = self._blocks.part(volume, box)
            if isinstance(part, BoundedBox):
                part.make_sketch(self.check)
            elif part is not None:
                _ = part.network

    def _tried(self, place: tuple[int, int], read: Callable[[int, int], Part | None]) -> Part | None:
        if place in self._damaged:
            return None
        try:
            part = read(*place)
            if part is not None:
                _ = (
                    part.network if isinstance(part, NetworkBox) else part.decode(self.check)
                )  # there may be damage, too
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
