"""A compression as a job that yields events, in terms of layers. No Qt here: worker.py runs jobs in a thread."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ..training import Control, Progress
from .layers import Geometry, to_layer

T = TypeVar("T")


class JobError(Exception):
    """A job failed; the text is one line for the user.

    Never a RuntimeError, which is what torch raises and what superqt's generator workers swallow without a signal.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What to compress, and how. ``data`` may be lazy; it is read by the job."""

    name: str
    data: ArrayLike
    geometry: Geometry
    ratio: float
    preset: str
    device: str


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A compressed volume, how good it is, and the ``data`` and ``arguments`` of the image layer that shows it."""

    volume: Any
    quality: Any
    seconds: float
    data: Any
    arguments: dict[str, Any]


def compress_layer(request: Request, control: Control, eager_voxels: int) -> Iterator[Progress | Result]:
    """Compress; yields :class:`Progress`, several a second, and at last, unless cancelled, a :class:`Result`.

    Raises
    ------
    JobError
        Whatever went wrong.
    """
    from ..codec import fit
    from ..pipeline import Finished

    try:
        geometry = request.geometry
        events = fit(
            np.asarray(request.data), ratio=request.ratio, preset=request.preset, device=request.device,
            spacing=geometry.spacing, units=geometry.units, axis_labels=geometry.axis_labels, control=control,
        )  # fmt: skip
        with contextlib.closing(events):  # type: ignore[type-var]
            for event in events:
                if not isinstance(event, Finished):
                    yield event
                    continue
                data, arguments = to_layer(event.volume, f"{request.name} (tinc)", eager_voxels)
                yield Result(event.volume, event.quality, event.seconds, data, arguments)
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # they hold the job's arrays for as long as napari keeps the error
        raise JobError(one_line(error)) from error
    finally:
        free_memory()


def one_result(work: Callable[[], T]) -> Iterator[T]:
    """A piece of work as a job: yields what it returns.

    Raises
    ------
    JobError
        Whatever went wrong.
    """
    try:
        yield work()
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # see compress_layer
        raise JobError(one_line(error)) from error


def find_devices() -> list[str]:
    """What a job can run on: "auto", "cpu" and the accelerators that torch finds. Imports torch, for seconds."""
    try:
        import torch
    except Exception as error:
        raise JobError(f"PyTorch cannot be imported: {one_line(error)}") from error
    found = ["auto", "cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def one_line(error: Exception) -> str:
    """The first line of an error's text, with the error's name where the text alone says little."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, ValueError | TypeError | OSError | JobError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def free_memory() -> None:
    """Give the memory of a finished job back to the GPU."""
    if torch := sys.modules.get("torch"):
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()
