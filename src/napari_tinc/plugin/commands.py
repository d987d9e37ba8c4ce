"""Menu and palette commands on the active layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image
from napari.utils.notifications import show_error as notify
from napari.utils.notifications import show_info
from napari.viewer import Viewer

from .layers import VOLUME
from .leaf_view import ERRORS, compressed_image, leaf_view
from .originals import Shown, is_calibrated, show, toggled
from .worker import start_task


def show_leaves(viewer: Viewer) -> None:
    """Show or hide the leaves of the active compressed layer."""
    image = _active(viewer)
    if image is not None:
        view = leaf_view(viewer, image)
        view.hide_leaves() if view.leaves_shown else view.show_leaves()


def show_error(viewer: Viewer) -> None:
    """Show or hide the error of every leaf of the active compressed layer."""
    image = _active(viewer)
    if image is None:
        return
    view = leaf_view(viewer, image)
    if view.map is not None:
        view.hide_map()
        return
    try:
        view.show_map(ERRORS[0])
    except ValueError as error:
        notify(str(error))


def toggle_calibration(viewer: Viewer) -> None:
    """Take the calibration of the active compressed layer away, or give it back."""
    image = _active(viewer)
    if image is not None:
        start_toggle(
            viewer, image, lambda: show_info(f"{image.name}: calibration {'on' if is_calibrated(image) else 'off'}")
        )


def start_toggle(viewer: Any, image: Image, on_done: Callable[[], None]) -> None:
    """Decode the layer's other form, where that has not been done, and show it; then call ``on_done``."""
    volume = image.metadata[VOLUME]

    def on_result(shown: Shown) -> None:
        if image in viewer.layers and image.metadata[VOLUME] is volume:  # neither gone nor changed meanwhile
            show(image, shown, other=True)
            leaf_view(viewer, image).toggle(shown.volume.leaves)
            on_done()

    start_task(lambda: toggled(image), on_result, lambda error: notify(str(error)))


def _active(viewer: Any) -> Image | None:
    image = compressed_image(viewer, viewer.layers.selection.active)
    if image is None:
        notify("Select a layer that was opened from a .tinc file, or made by Compress.")
    return image
