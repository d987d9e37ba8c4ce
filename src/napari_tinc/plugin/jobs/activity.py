"""A job's bar, with its Cancel button, in napari's activity. To be called from the window's thread only."""

from __future__ import annotations

from typing import Any

from ...events import Progress


def activity_bar(name: str) -> Any:
    """A ``napari.utils.cancelable_progress`` for the compression of an image of that name."""
    from napari.utils import cancelable_progress

    # All that napari shows beside the bar is what follows the last "|": short, or the Cancel button is out of sight.
    return cancelable_progress(total=0, desc=f"Compressing {name}", bar_format="{l_bar}{bar}| {remaining}")


def advance(bar: Any, event: Progress) -> None:
    """Move the bar. napari handles other events meanwhile, clicks and signals of threads among them."""
    if bar.total != event.steps:
        bar.total = event.steps
    bar.update(event.step - bar.n)
