"""A compression block by block: source, options, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..control import Control
from ..format.chunks import Chunk
from ..storage.checkpoint import Journal
from ..training.task import Settings
from .sources import VolumeSource
from .survey import Survey


@dataclass(frozen=True, slots=True, eq=False)
class EncodingJob:
    """What is to be compressed block by block, and how.

    Attributes
    ----------
    facts : what the file says; its tree and value range are still to be found.
    extra : ancillary chunks to put into the file.
    edge : voxels along a block at most, None for what suits size and ratio.
    journal : keeps what is done until all is, so that a job can be resumed.
    scheduler : address of a dask.distributed scheduler, or its Client; None for this process.
    names : values are labels, which have no means.
    surveys : what a pass over all voxels has told, by the number of blocks and the edge of the overview's cells.
    """

    source: VolumeSource
    facts: dict[str, Any]
    extra: list[Chunk]
    settings: Settings
    control: Control = field(default_factory=Control)
    edge: int | None = None
    journal: Journal = field(default_factory=Journal)
    scheduler: Any = None
    labels: bool = False
    surveys: dict[tuple[int, int], Survey] = field(default_factory=dict)

    def exact_settings(self, bound: float) -> Settings:
        """The same for blocks without networks."""
        return replace(self.settings, bound=bound)
