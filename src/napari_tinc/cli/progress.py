"""What the command line tells while a fit runs."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..texts import rough_size
from .output import is_terminal, make_console

if TYPE_CHECKING:
    from ..events import Planned, Progress

# By the method that a job reports.
METHOD_TEXTS = {
    "auto": "with networks or the predictive coder, whichever is better",
    "networks": "with networks",
    "predictive": "with the predictive coder, without networks",
}
PREPARING = "preparing this computer for its first compression, which takes up to half a minute, once"
REDRAW_SECONDS = 0.1  # The bar is redrawn at most so often, so that drawing takes no time from the fit.
PROGRESS_SECONDS = 5.0  # A log gets a line at most so often.


def plan_text(event: Planned) -> str:
    """Say what will be done: "8 blocks of 96 x 96 x 96 with networks, at most about 0.9 GB of memory and ..."."""
    shape = " x ".join(map(str, event.block_shape))
    what = f"{event.n_blocks} blocks of {shape}" if event.n_blocks > 1 else shape
    needed = f"at most about {rough_size(event.memory)} of memory and {rough_size(event.disk)} on disk"
    return f"{what} {METHOD_TEXTS[event.method]}, {needed}"


def method_text(method: str, reason: str) -> str:
    """Say how a file was made, and why: "made with networks: the predictive coder was 1.3 dB behind"."""
    return f"made {METHOD_TEXTS[method]}" + (f": {reason}" if reason else "")


def kept_text(event: Planned, folder: Path) -> str:
    """Say what the job's folder holds of earlier runs; empty if it holds nothing."""
    lines = [f"goes on from what is kept in {folder}"] if event.kept else []
    if event.others:
        lines.append(f"{folder} holds work of another volume or other options, which is left alone")
    return "; ".join(lines)


def phase_text(event: Progress) -> str:
    """Name what a fit does, and how far it is: "fit 2: training 40/500"."""
    fit = f"fit {event.attempt}: " if event.attempt > 1 else ""
    return f"{fit}{event.phase} {event.step}/{event.steps}"


def figures_text(event: Progress) -> str:
    """Tell what a fit has come to, and how long it will take: "30.12 dB  32,100 bytes  96 s left"."""
    nbytes = "" if event.nbytes is None else f"{event.nbytes:,} bytes  "
    psnr = "" if math.isnan(event.psnr) else f"{event.psnr:.2f} dB  "
    remaining = "" if math.isnan(event.seconds_left) else f"{event.seconds_left:.0f} s left"
    return f"{psnr}{nbytes}{remaining}".rstrip()


class ProgressLines:
    """The progress of a fit as plain lines on stderr, for pipes and logs: a new one every few seconds."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def show(self, event: Progress) -> None:
        """Print how far a fit is, unless that was done a moment ago."""
        if time.monotonic() - self._shown >= PROGRESS_SECONDS:
            self._shown = time.monotonic()
            self.say(f"{phase_text(event)}  {figures_text(event)}".rstrip())

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Do nothing: lines stay."""


class ProgressBar:
    """The progress of a fit as a bar at the bottom of a terminal, on stderr. It goes when the fit ends."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, complete_style="green", finished_style="green"),  # rich's own is a red
            TextColumn("{task.fields[figures]}", markup=False),
        )
        self._console = make_console(sys.stderr)
        self._progress = Progress(
            *columns, console=self._console, auto_refresh=False, transient=True, expand=True, redirect_stdout=False
        )
        self._task = self._progress.add_task("", figures="")
        self._drawn = 0.0

    def show(self, event: Progress) -> None:
        """Draw how far a fit is."""
        self._progress.update(
            self._task, description=phase_text(event), total=event.steps, completed=event.step,
            figures=figures_text(event),
        )  # fmt: skip
        if not self._progress.live.is_started:
            self._progress.start()
            self._console.show_cursor()  # A process that is killed could not show it again.
        if time.monotonic() - self._drawn >= REDRAW_SECONDS:
            self._drawn = time.monotonic()
            self._progress.refresh()

    def say(self, line: str) -> None:
        """Print a line that stays, above the bar."""
        self._console.print(line, soft_wrap=True)

    def clear(self) -> None:
        """Remove the bar."""
        self._progress.stop()


def make_progress() -> ProgressLines | ProgressBar:
    """Choose how progress is shown: as a bar where stderr is a terminal, else as lines."""
    return ProgressBar() if is_terminal(sys.stderr) else ProgressLines()
