"""The dialogs that ask which file, or which address, to open, and where to save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.utils.history import get_open_history, get_save_history, update_open_history, update_save_history
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QInputDialog

from .file_names import file_name
from .layers import base_name

FILTER = "TINC compressed volume (*.tinc)"  # The one type of file that dialogs list.


def open_files(viewer: Any) -> None:
    """Ask for ``.tinc`` files, and open them."""
    paths, _ = QFileDialog.getOpenFileNames(_window(viewer), "Open a compressed volume", get_open_history()[0], FILTER)
    if paths:
        update_open_history(paths[0])
        viewer.open(paths, plugin="napari-tinc")


def open_url(viewer: Any) -> None:
    """Ask for the URL of a ``.tinc`` file, and open that."""
    from .reader import get_reader

    text, accepted = QInputDialog.getText(_window(viewer), "Open a compressed volume", "URL of a .tinc file:")
    url = text.strip()
    if not accepted or not url:
        return
    if "://" not in url or get_reader(url) is None:
        show_error(f"{url} is no URL of a .tinc file, such as https://example.org/brain.tinc")
        return
    viewer.open(url, plugin="napari-tinc")


def save_selected(viewer: Any) -> None:
    """Ask for a file, and save the selected layers in it, or of several each in a file beside it."""
    from .writer import SaveError

    selected = [layer for layer in viewer.layers if layer in viewer.layers.selection]
    if not selected:
        show_error("Select a layer to save.")
        return
    offered = Path(get_save_history()[0]) / f"{file_name(base_name(selected[0].name))}.tinc"
    path, _ = QFileDialog.getSaveFileName(_window(viewer), "Save a compressed volume", str(offered), FILTER)
    if not path:
        return
    update_save_history(path)
    try:
        viewer.layers.save(path, selected=True, plugin="napari-tinc")
    except SaveError as error:
        show_error(str(error))


def _window(viewer: Any) -> Any:
    return viewer.window._qt_window
