"""The events that a job yields while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from .decoding.volume import TincVolume
from .metrics import Quality
from .storage.checkpoint import State


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """The first event of every compression: the plan of the job.

    Attributes
    ----------
    n_blocks : blocks in all channels and points in time; 1 for a single tree of networks.
    block_shape : voxels of the largest block along z, y, x.
    memory : bytes of main memory that the job takes at most, estimated.
    disk : bytes on the disk for the file and for what can be resumed, estimated.
    kept : files in the job's folder that an earlier run of this job has left; the job resumes from them.
    others : files in that folder that belong to other jobs.
    method : "networks" or "predictive"; "auto" if both will be tried.
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
    """The last event of a fit: the compressed volume.

    Attributes
    ----------
    volume : the compressed volume.
    quality : errors measured on all voxels, and the ratio.
    seconds : duration of the whole fit.
    reason : why this method was chosen, if another was tried or considered: "networks were 1.3 dB behind". Else empty.
    """

    volume: TincVolume
    quality: Quality
    seconds: float
    reason: str = ""

    @property
    def method(self) -> str:
        """Method that made the file: "networks" or "predictive"."""
        return self.volume.method

    def state(self) -> State:
        """Return what a journal keeps of a finished fit."""
        return {"data": self.volume.parts.data(), "quality": asdict(self.quality), "seconds": self.seconds}

    @classmethod
    def restored(cls, state: State) -> Finished:
        """Make the event again from what :meth:`state` returned."""
        return cls(TincVolume(state["data"]), Quality(**state["quality"]), state["seconds"])


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """A coarse picture of what has been learnt so far, sent after :attr:`.Control.look` was set.

    Attributes
    ----------
    values : values at the centres of the cells, (z, y, x), in the volume's dtype.
    factor : edge of a cell in voxels.
    """

    values: NDArray[Any]
    factor: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a running fit, sent a few times a second.

    Attributes
    ----------
    phase : name of the stage, such as "training" or "packing". "preparing" is the first, while code is compiled that no
        earlier job has left on this computer.
    step, steps : optimiser steps (or blocks, or boxes) done and planned.
    seconds : seconds since the fit began.
    seconds_left : expected seconds until its end; nan while that is not known.
    loss : mean squared error of recent batches, in units of the volume's variance.
    psnr : PSNR in dB that follows from ``loss``.
    nbytes : expected bytes of the weights; None before rounding begins, and while its steps are far too fine.
    attempt : number of the fit, from 1. A search for a PSNR makes several.
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
    """The quality at a fixed share of a fit's work, on which decisions are based.

    A :class:`Progress` comes when the clock says so; decisions based on it would depend on the speed of the machine.

    Attributes
    ----------
    done : share of the work, 0 to 1.
    psnr : PSNR in dB.
    """

    done: float
    psnr: float
