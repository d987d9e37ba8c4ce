"""The job of compressing a volume: what to compress, how, and what can be resumed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..control import Control
from ..format.chunks import Chunk
from ..storage.checkpoint import Journal
from ..training.task import Settings
from .regions.importance import Importance
from .sources import VolumeSource
from .survey import Survey


@dataclass(frozen=True, slots=True, eq=False)
class EncodingJob:
    """What to compress and how.

    Attributes
    ----------
    source : the volume.
    facts : what the file says about the volume, but for its octree and its value range.
    extra : ancillary chunks for the file.
    settings : how to compress.
    control : cancels or stops the job.
    edge : voxels along a block at most; None for what suits size and ratio.
    journal : keeps what is done until all is, so that the job can be resumed.
    scheduler : address of a dask.distributed scheduler, or its Client; None for this process.
    value_range : smallest and largest value that the file states; None for those of the source.
    labels : whether values are labels, which have no means.
    importance : weights of the squared errors; None for equal ones.
    surveys : results of passes over all voxels, by the number of blocks and the edge of the overview's cells.
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
    value_range: tuple[float, float] | None = None
    importance: Importance | None = None
    surveys: dict[tuple[int, int], Survey] = field(default_factory=dict)

    def exact_settings(self, bound: float) -> Settings:
        """Return the settings for blocks without networks, within a bound."""
        return replace(self.settings, bound=bound)
