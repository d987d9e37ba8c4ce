"""Turn the calibration of a compressed layer off and on in the viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error as notify
from napari.utils.notifications import show_info

from ..compare.original import ShownVolume, other_calibration, show_volume
from ..jobs.job import JobError
from ..jobs.worker import run_in_thread
from ..layers.origin import VOLUME, edited_message
from .overlays import leaf_view


def start_calibration_toggle(viewer: Any, image: Image | Labels, on_done: Callable[[], None]) -> None:
    """Show a layer without its calibration, or with it again, and call ``on_done`` then.

    What is shown next is decoded in a thread the first time. A layer that was edited is refused with a notice.
    """
    volume = image.metadata[VOLUME]
    if reason := edited_message(image):
        notify(reason)
        return

    def on_result(shown: ShownVolume) -> None:
        if image in viewer.layers and image.metadata[VOLUME] is volume:  # Neither removed nor changed since.
            show_volume(image, shown, keep_other=True)
            leaf_view(viewer, image).toggle_calibration(shown.volume.leaves)
            on_done()

    def on_error(error: JobError) -> None:
        has_none = isinstance(error.__cause__, ValueError)  # No calibration: a hint, not a failure.
        (show_info if has_none else notify)(str(error))

    run_in_thread(lambda: other_calibration(image), on_result, on_error)
