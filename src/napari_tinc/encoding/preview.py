"""The preview of a job that compresses block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..decoding.values import cell_centres
from ..events import Preview
from ..training.fit_tree import preview_factor
from .block import Block, BlockTask
from .sources import VolumeSource


class Canvas:
    """A coarse picture of the volume, with the blocks that are finished.

    Only the first channel and point in time is shown.
    """

    def __init__(self, source: VolumeSource) -> None:
        self.source = source
        self.factor = preview_factor(source.shape)
        ranges = [range(-(-n // self.factor)) for n in source.shape]
        self.centres = cell_centres(ranges, self.factor, source.shape)
        self.values = np.zeros([len(cells) for cells in ranges], source.dtype)
        self.painted: set[int] = set()

    def preview(self, done: Sequence[tuple[BlockTask, Block]]) -> Preview:
        """Add blocks that are new, and return the picture."""
        for number, (task, block) in enumerate(done):
            if number in self.painted or task.volume:
                continue
            self.painted.add(number)
            cells, local = [], []
            for centre, part in zip(self.centres, task.box, strict=True):
                inside = np.flatnonzero((centre >= part.start) & (centre < part.stop))
                cells.append(inside)
                local.append(centre[inside] - part.start)
            self.values[np.ix_(*cells)] = block.decoder(task.shape, self.source.dtype).values(local)
        return Preview(self.values.copy(), self.factor)
