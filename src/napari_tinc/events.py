"""What a job tells while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from .decoding.volume import TincVolume
from .metrics import Quality
from .storage.checkpoint import State


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """The first event of every compression: what will be done.

    Attributes
    ----------
    n_blocks : in all channels and points in time; 1 for a single tree of networks.
    block_shape : voxels along z, y, x of the largest.
    memory, disk : bytes of main memory, and of the disk for what is kept and the file, needed at most, about.
    kept : files in the job's folder that it goes on from.
    others : files there that are the work of other jobs.
    method : "networks" or "predictive"; "auto" where both will be tried.
    """

    n_blocks: int
    block_shape: tuple[int, int, int]
    memory: int
    disk: int = 0
    kept: int = 0
    others: int = 0
    method: str = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The last event of a fit.

    Attributes
    ----------
    volume : the compressed volume.
    quality : as measured on all voxels.
    seconds : that all of it took.
    reason : why that method, where another was tried or considered: "networks were 1.3 dB behind". Else empty.
    """

    volume: TincVolume
    quality: Quality
    seconds: float
    reason: str = ""

    @property
    def method(self) -> str:
        """What the file is made of: "networks" or "predictive"."""
        return self.volume.method

    def state(self) -> State:
        return {"data": self.volume.parts.data(), "quality": asdict(self.quality), "seconds": self.seconds}

    @classmethod
    def restored(cls, state: State) -> Finished:
        return cls(TincVolume(state["data"]), Quality(**state["quality"]), state["seconds"])


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """What has been learnt so far, coarsely; where ``Control.look`` asked for it.

    Attributes
    ----------
    values : of the volume's dtype, at the centres of cells.
    factor : edge of a cell in voxels.
    """

    values: NDArray[Any]
    factor: int


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a running fit.

    Attributes
    ----------
    phase : "training", then "packing".
    step, steps : optimiser steps done and planned.
    seconds, seconds_left : since the fit began, and expected until its end; nan where that cannot be said yet.
    loss : mean squared error over recent batches, in units of the volume's variance.
    psnr : dB, from ``loss``.
    nbytes : expected size of the weights; None before rounding begins.
    attempt : which fit this is, from 1; more than one where a PSNR is wanted.
    """

    phase: str
    step: int
    steps: int
    seconds: float
    seconds_left: float
    loss: float
    psnr: float
    nbytes: int | None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a fit has come at fixed shares of its work: what decisions are made on.

    A :class:`Progress` comes when the clock says so, and would have a slower machine decide otherwise.

    Attributes
    ----------
    done : share of the work.
    psnr : dB.
    """

    done: float
    psnr: float
