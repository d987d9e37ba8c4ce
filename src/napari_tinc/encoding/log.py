"""The log of a job: a line of JSON for each event."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..decoding.volume import TincVolume
    from ..events import Planned, Progress


def log_entry(event: Progress) -> dict[str, Any]:
    """Return the line for a progress."""
    entry = {key: getattr(event, key) for key in ("phase", "attempt", "step", "seconds", "loss", "psnr")}
    return entry | {"bytes": event.nbytes}


def plan_entry(event: Planned) -> dict[str, Any]:
    """Return the line for the plan."""
    entry = {"n_blocks": event.n_blocks, "block_shape": event.block_shape, "memory": event.memory, "disk": event.disk}
    return {"phase": "planned", "method": event.method, **entry}


def finished_entry(volume: TincVolume, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line for a finished file: its figures, its filter, and what is no measurement, if it has them."""
    filter_ = volume.parts.filter
    what = {} if filter_ is None else {"filter": filter_.describe(volume.provenance.get("filter"))}
    if not_measured := volume.fill.describe(volume.header.dtype, volume.size):
        what["fill"] = not_measured
    return {"phase": "finished", **figures, **what}


def _check_replaceable(path: Path) -> None:
    """Raise ValueError if a path is a file that is neither empty nor a log, and would be lost."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(1)
    if start not in (b"", b"{"):
        raise ValueError(f"{path} is there, and is no log; it would be lost. Choose another name for the log")


class Log:
    """A file with a line of JSON for each event.

    If it cannot be written to its end, the work goes on, and OSError is raised when the log is closed. ValueError if
    there is a file that is no log, which is left as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._failure: OSError | None = None
        _check_replaceable(Path(path))
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append a line."""
        if self._failure is None:
            self._try(lambda: self._file.write(to_json(entry).encode() + b"\n"), self._file.flush)

    def __enter__(self) -> Log:
        """Return the log."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the file. OSError if the log is incomplete, unless another error ends the work."""
        self._try(self._file.close)
        if self._failure is not None and kind is None:
            reason = self._failure.strerror or str(self._failure)
            raise OSError(self._failure.errno, f"only the log is incomplete: {reason}", os.fspath(self._path))

    def _try(self, *calls: Callable[[], object]) -> None:
        """Write or close, and remember the first failure."""
        try:
            for call in calls:
                call()
        except OSError as error:
            self._failure = self._failure or error


def to_json(value: Mapping[str, Any]) -> str:
    """Encode as strict JSON, with null for infinite numbers and nan."""

    def strict(value: Any) -> Any:
        """Replace numbers that JSON does not have."""
        if isinstance(value, Mapping):
            return {key: strict(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [strict(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(strict(value), allow_nan=False)
