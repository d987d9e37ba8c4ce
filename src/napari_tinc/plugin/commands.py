"""Commands of the menus and of the command palette, for the active layer."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error as notify
from napari.utils.notifications import show_info
from napari.viewer import Viewer

from ..errors import TincError
from . import dialogs
from .compare.original import is_calibrated
from .layers.compressed import NONE_SELECTED, compressed_image, why_not_comparable
from .leaves.calibration import start_calibration_toggle
from .leaves.overlays import LeafView, leaf_view
from .proxies import unproxied
from .reader import get_reader


@unproxied
def show_leaves(viewer: Viewer) -> None:
    """Show or hide the leaves of the active compressed layer."""
    view = _active_view(viewer)
    if view is not None:
        view.hide_leaves() if view.leaves_shown else view.show_leaves()


@unproxied
def show_error(viewer: Viewer) -> None:
    """Show or hide the error of every leaf of the active compressed layer."""
    view = _active_view(viewer)
    if view is None:
        return
    if view.map is not None:
        view.hide_map()
        return
    try:
        view.show_map("RMSE")
    except ValueError as error:
        notify(str(error))


@unproxied
def toggle_calibration(viewer: Viewer) -> None:
    """Turn the calibration of the active compressed layer off or on."""
    image = _active_image(viewer)
    if image is not None:
        start_calibration_toggle(
            viewer, image, lambda: show_info(f"{image.name}: calibration {'on' if is_calibrated(image) else 'off'}")
        )


def _active_image(viewer: Any) -> Image | Labels | None:
    """Return the active compressed layer, or the one of the active overlay; None, after an error, if neither."""
    image = compressed_image(viewer, viewer.layers.selection.active)
    if image is None:
        why = why_not_comparable(viewer.layers.selection.active)
        notify(why or NONE_SELECTED)
    return image


def _active_view(viewer: Any) -> LeafView | None:
    """Return the view of the leaves of the active compressed layer; None, after an error, if it has none."""
    image = _active_image(viewer)
    try:
        return None if image is None else leaf_view(viewer, image)
    except (TincError, OSError) as error:
        notify(f"The leaves of {image.name} cannot be read: {error}")  # type: ignore[union-attr]
        return None


@unproxied
def open_url(viewer: Viewer) -> None:
    """Ask for the URL of a file, and open it."""
    url = dialogs.ask_url(viewer)
    if not url:
        return
    if "://" not in url or get_reader(url) is None:
        notify(f"{url} is not the URL of a .tinc file, such as https://example.org/brain.tinc")
        return
    viewer.open(url, plugin="napari-tinc")
