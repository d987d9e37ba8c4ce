"""Progress of a job in a terminal."""

from __future__ import annotations

import math
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..texts import rough_size

if TYPE_CHECKING:
    from ..events import Planned, Progress

METHOD_TEXTS = {
    "auto": "with networks or the predictive coder, whichever is better",
    "networks": "with networks",
    "predictive": "with the predictive coder, without networks",
}
PROGRESS_SECONDS = 5.0  # between two lines where stderr is no terminal


def plan_text(event: Planned) -> str:
    """What will be done: "8 blocks of 96 x 96 x 96 with networks, at most about 0.9 GB of memory and 3 MB on disk"."""
    shape = " x ".join(map(str, event.block_shape))
    what = f"{event.n_blocks} blocks of {shape}" if event.n_blocks > 1 else shape
    needed = f"at most about {rough_size(event.memory)} of memory and {rough_size(event.disk)} on disk"
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
