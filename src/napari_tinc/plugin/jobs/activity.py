"""The progress bar of a job, with a Cancel button, in napari's activity dialog. For the window's thread only."""

from __future__ import annotations

from typing import Any

from ...events import Progress


def activity_bar(name: str) -> Any:
    """Return a ``napari.utils.cancelable_progress`` for the compression of an image of that name."""
    from napari.utils import cancelable_progress

    # napari shows beside the bar what follows the last "|". A longer text would push the Cancel button out of sight.
    return cancelable_progress(total=0, desc=f"Compressing {name}", bar_format="{l_bar}{bar}| {remaining}")


def advance(bar: Any, event: Progress) -> None:
    """Move the bar. napari handles other events in this call, such as clicks and signals of threads."""
    if bar.total != event.steps:
        bar.total = event.steps
    bar.update(event.step - bar.n)
