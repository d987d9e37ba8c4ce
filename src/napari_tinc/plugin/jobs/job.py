"""Compress a layer's data as a job that yields events. No Qt: worker.py runs jobs in a thread."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from ...control import Control
from ...encoding.log import Log, finished_entry, log_entry
from ...encoding.options import Options
from ...errors import ChildError
from ...events import Finished, Planned, Preview, Progress
from ...isolation.caller import fit_isolated
from ...texts import with_names
from ..layers.from_volume import to_layers
from ..layers.geometry import Geometry

T = TypeVar("T")
# Arguments of Python by the names of their controls, for messages.
CONTROLS = {
    "ratio": "Ratio", "nbytes": "Size", "psnr": "PSNR", "max_error": "Max error", "method": "Method",
    "exact": "Keep exactly", "exact_max_error": "Max error of the region", "importance": "Importance",
}  # fmt: skip


class JobError(Exception):
    """Say in one line for the user why a job failed.

    Not a RuntimeError, as torch raises: superqt's generator workers would swallow it without a signal.
    """


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Request:
    """Hold what to compress, and how.

    Attributes
    ----------
    data : an array, which may be lazy. The job reads it.
    options : how to compress. Spacing, units, axes, place and look are taken from ``geometry`` and ``channels``.
    channels : "name" and "color" of each channel of the data; empty if it has none.
    log : the file that gets a line of JSON for each event; None for no log.
    isolate : compress in a separate process. napari goes on if that crashes.
    """

    name: str
    data: ArrayLike
    geometry: Geometry
    options: Options
    channels: Sequence[Mapping[str, str]] = ()
    log: Path | None = None
    isolate: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Hold a compressed volume, its quality, and data and arguments of the layers that show it.

    ``reason`` says why it has networks or none, if both were tried; else it is "".
    """

    volume: Any
    quality: Any
    seconds: float
    layers: list[tuple[Any, dict[str, Any]]]
    reason: str = ""


def compress_layer(request: Request, control: Control, eager_voxels: int) -> Iterator[Progress | Preview | Result]:
    """Compress, yielding :class:`Progress` several times a second, and at last, unless cancelled, a :class:`Result`.

    Raises
    ------
    JobError
        If anything goes wrong.
    """
    from ...encoding.compress import fit

    try:
        geometry = request.geometry
        options = replace(
            request.options, spacing=geometry.spacing, units=geometry.units, axis_labels=geometry.axis_labels,
            channels=request.channels, placement=geometry.placement, details=geometry.details,
        )  # fmt: skip
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(Log(request.log)) if request.log else None
            events = (fit_isolated if request.isolate else fit)(request.data, options, control=control)
            stack.enter_context(contextlib.closing(events))  # type: ignore[type-var]
            for event in events:
                if log:
                    log.add(_log_entry(event))
                if isinstance(event, Progress | Preview):
                    yield event
                if not isinstance(event, Finished):
                    continue
                layers = to_layers(event.volume, request.name, eager_voxels)
                suffix = copy_suffix(options, event)
                layers = [(data, arguments | {"name": arguments["name"] + suffix}) for data, arguments in layers]
                yield Result(event.volume, event.quality, event.seconds, layers, event.reason)
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # napari keeps the error, and the frames hold the job's arrays.
        raise JobError(error_line(error)) from error
    finally:
        release_gpu_memory()


def copy_suffix(options: Options, event: Finished) -> str:
    """Return the end of the name of a compressed copy: " (tinc 64x)", " (tinc ±5)", " (tinc lossless)".

    The ratio is the one asked for, or that of the file if a size or PSNR was asked for.
    """
    if (bound := options.max_error) is not None:
        return f" (tinc ±{bound:g})" if bound else " (tinc lossless)"
    ratio = options.target.get("ratio") or event.quality.ratio
    return f" (tinc {ratio:.0f}x)" if ratio >= 10 else f" (tinc {ratio:.2g}x)"


def _log_entry(event: Progress | Preview | Planned | Finished) -> dict[str, Any]:
    """Return the line of the log for an event, before it becomes JSON."""
    if isinstance(event, Progress):
        return log_entry(event)
    if isinstance(event, Preview):
        return {"phase": "preview", "factor": event.factor}
    if isinstance(event, Planned):
        return {"phase": "planned", **asdict(event)}
    figures = {"bytes": event.volume.nbytes_compressed, "seconds": event.seconds, **asdict(event.quality)}
    return finished_entry(event.volume, figures)


def run_once(work: Callable[[], T]) -> Iterator[T]:
    """Do a piece of work as a job, which yields what the work returns.

    Raises
    ------
    JobError
        If anything goes wrong.
    """
    try:
        yield work()
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # See compress_layer.
        raise JobError(error_line(error)) from error


def error_line(error: Exception) -> str:
    """Return the first line of an error's text, after the error's name if the text alone says little."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, ValueError | TypeError | OSError | ImportError | ChildError | JobError) and text:
        return with_names(text, CONTROLS)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def release_gpu_memory() -> None:
    """Give the memory of a finished job back to the GPU."""
    if torch := sys.modules.get("torch"):
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()
