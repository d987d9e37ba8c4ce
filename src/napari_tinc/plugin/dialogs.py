"""The dialogs that ask which file, or which address, to open."""

from __future__ import annotations

from typing import Any

from napari.utils.history import get_open_history, update_open_history
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QInputDialog

FILTER = "TINC compressed volume (*.tinc)"  # the one type of file that these dialogs list


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


def _window(viewer: Any) -> Any:
    return viewer.window._qt_window
