"""What the command line prints: results as tables or strict JSON, and the progress of a fit.

Nothing here knows what a result means, only how its keys are headed and its numbers written.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..encoding.blocks import Planned
    from ..training.trainer import Progress

METHOD_TEXTS = {
    "auto": "with networks or the predictive coder, whichever is better",
    "networks": "with networks",
    "predictive": "with the predictive coder, without networks",
}
PROGRESS_SECONDS = 5.0  # between two lines where stderr is no terminal

# Where a key is not its own heading, or a number not written as it is.
HEADINGS = {"bits_per_voxel": "bits/voxel", "psnr": "PSNR (dB)", "ssim": "SSIM", "rmse": "RMSE"}
FORMATS = {
    "bytes": ",.0f", "n_leaves": ",", "n_parameters": ",", "parameters": ",", "ratio": ".2f", "bits_per_voxel": ".4f",
    "psnr": ".2f", "ssim": ".4f", "rmse": ".4g", "max_error": ".4g", "gain": ".3f", "offset": ".3g", "seconds": ".1f",
}  # fmt: skip


def put(text: str) -> None:
    """Print on stdout, whatever its encoding lacks; control characters in a file's texts cannot steer the terminal."""
    if sys.stdout is None:  # closed by who started us
        return
    encoding = sys.stdout.encoding or "utf-8"
    lines = "\n".join(map(_printable, text.split("\n")))
    print(lines.encode(encoding, "replace").decode(encoding), flush=True)


def one_line(text: str) -> str:
    return _printable(" ".join(text.split()))


def log_entry(event: Progress) -> dict[str, Any]:
    """A line of a log of metrics."""
    entry = {key: getattr(event, key) for key in ("phase", "attempt", "step", "seconds", "loss", "psnr")}
    return entry | {"bytes": event.nbytes}


def plan_entry(event: Planned) -> dict[str, Any]:
    """The line of a log that says what will be done."""
    entry = {"n_blocks": event.n_blocks, "block_shape": event.block_shape, "memory": event.memory, "disk": event.disk}
    return {"phase": "planned", "method": event.method, **entry}


class Log:
    """A file with a line of JSON an event.

    Where it cannot be written to its end the work goes on; OSError comes when it is closed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._failure: OSError | None = None
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__

    def add(self, entry: Mapping[str, Any]) -> None:
        if self._failure is None:
            self._try(lambda: self._file.write(to_json(entry).encode() + b"\n"), self._file.flush)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._try(self._file.close)
        if self._failure is not None and kind is None:
            reason = self._failure.strerror or str(self._failure)
            raise OSError(self._failure.errno, f"only the log is incomplete: {reason}", os.fspath(self._path))

    def _try(self, *calls: Callable[[], object]) -> None:
        try:
            for call in calls:
                call()
        except OSError as error:
            self._failure = self._failure or error


def plan_text(event: Planned) -> str:
    """What will be done: "8 blocks of 96 x 96 x 96 with networks, at most about 0.9 GB of memory and 3 MB on disk"."""
    shape = " x ".join(map(str, event.block_shape))
    what = f"{event.n_blocks} blocks of {shape}" if event.n_blocks > 1 else shape
    needed = f"at most about {amount(event.memory)} of memory and {amount(event.disk)} on disk"
    return f"{what} {METHOD_TEXTS[event.method]}, {needed}"


def method_text(method: str, reason: str) -> str:
    """How a file was made, and why so: "made with networks: the predictive coder was 1.3 dB behind"."""
    return f"made {METHOD_TEXTS[method]}" + (f": {reason}" if reason else "")


def kept_text(event: Planned, folder: Path) -> str:
    """What the job's folder holds; empty where that is nothing."""
    said = [f"goes on from what is kept in {folder}"] if event.kept else []
    if event.others:
        said.append(f"{folder} holds work of another volume or other options, which is left alone")
    return "; ".join(said)


def amount(nbytes: float) -> str:
    """As a reader likes it: 1.2 GB, 40 MB, 200 kB."""
    if nbytes < 1e6:
        return f"{math.ceil(nbytes / 1e3)} kB"
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e8 else f"{math.ceil(nbytes / 1e6)} MB"


def to_json(value: Mapping[str, Any]) -> str:
    """Strict JSON: null for infinite numbers and nan, which have no other place in it."""

    def strict(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: strict(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [strict(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(strict(value), allow_nan=False)


def pairs(result: Mapping[str, Any]) -> str:
    """A line a key."""
    return "\n".join(f"{_heading(key):<14}{cell(value, key)}" for key, value in result.items())


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a row, right-justified under the headings of the first row's keys."""
    cells = [list(map(_heading, rows[0])), *([cell(value, key) for key, value in row.items()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells)


def cell(value: Any, key: str = "", separator: str = ", ") -> str:
    """A value as text: lists with commas, lists in them with slashes, a dash for what is not known."""
    if isinstance(value, list | tuple):
        return separator.join(cell(item, key, "/") for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{_heading(name)} {cell(item, name)}" for name, item in value.items())
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, int | float):
        return format(value, FORMATS.get(key, ".6g" if isinstance(value, float) else ""))
    return str(value)


class Ticker:
    """The progress of a fit on stderr: on a terminal one line that changes, else a new line every few seconds."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.shown = time.monotonic()

    def show(self, event: Progress) -> None:
        if not self.terminal and time.monotonic() - self.shown < PROGRESS_SECONDS:
            return
        self.shown = time.monotonic()
        fit = f"fit {event.attempt}: " if event.attempt > 1 else ""
        nbytes = "" if event.nbytes is None else f"{event.nbytes:,} bytes  "
        psnr = "" if math.isnan(event.psnr) else f"{event.psnr:.2f} dB  "
        left = "" if math.isnan(event.seconds_left) else f"{event.seconds_left:.0f} s left"
        self._print(f"{fit}{event.phase} {event.step}/{event.steps}  {psnr}{nbytes}{left}".rstrip())

    def say(self, line: str) -> None:
        """A line that stays."""
        self.clear()
        print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.terminal:
            self._print("")

    def _print(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns - 1
        line = f"\r{line[:columns]:<{columns}}\r" if self.terminal else f"{line}\n"
        print(line, end="", file=sys.stderr, flush=True)


def _heading(key: str) -> str:
    return HEADINGS.get(key, key.removeprefix("n_").replace("_", " "))


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in line)
