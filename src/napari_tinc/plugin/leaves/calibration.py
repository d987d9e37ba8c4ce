"""The calibration of a file, turned off and on in the viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error as notify
from napari.utils.notifications import show_info

from ..compare.original import Shown, show, toggled
from ..jobs.job import JobError
from ..jobs.worker import start_task
from ..layers.origin import VOLUME, edited
from .overlays import leaf_view


def start_toggle(viewer: Any, image: Image | Labels, on_done: Callable[[], None]) -> None:
    """Decode the layer's other form, where that has not been done, and show it; then call ``on_done``."""
    volume = image.metadata[VOLUME]
    if reason := edited(image):
        notify(reason)
        return

    def on_result(shown: Shown) -> None:
        if image in viewer.layers and image.metadata[VOLUME] is volume:  # neither gone nor changed meanwhile
            show(image, shown, other=True)
            leaf_view(viewer, image).toggle(shown.volume.leaves)
            on_done()

    def on_error(error: JobError) -> None:
        none_there = isinstance(error.__cause__, ValueError)  # which is no fault of anybody's
        (show_info if none_there else notify)(str(error))

    start_task(lambda: toggled(image), on_result, on_error)
