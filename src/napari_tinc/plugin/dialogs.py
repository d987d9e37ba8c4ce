"""The dialogs that ask which file or URL to open, and where to save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.utils.history import get_open_history, get_save_history, update_open_history
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QInputDialog, QWidget

from .layers.file_names import file_name
from .layers.origin import base_name

FILTER = "TINC compressed volume (*.tinc)"  # The only type of file that the dialogs for volumes list.
PAGE_FILTER = "Web page (*.html)"
SAVE_TITLE = "Save a compressed volume"


def open_files(viewer: Any) -> None:
    """Ask for ``.tinc`` files, and open them."""
    paths, _ = QFileDialog.getOpenFileNames(_window(viewer), "Open a compressed volume", get_open_history()[0], FILTER)
    if paths:
        update_open_history(paths[0])
        viewer.open(paths, plugin="napari-tinc")


def ask_url(viewer: Any) -> str:
    """Ask for the URL of a ``.tinc`` file. Returns "" if none is given."""
    text, accepted = QInputDialog.getText(_window(viewer), "Open a compressed volume", "URL of a .tinc file:")
    return text.strip() if accepted else ""


def save_dialog(parent: QWidget, name: str, page: bool = False) -> QFileDialog:
    """Make the dialog that asks for a file, or a web page, for a layer. It asks before a file is replaced."""
    title, file_type, suffix = ("Save as a web page", PAGE_FILTER, "html") if page else (SAVE_TITLE, FILTER, "tinc")
    dialog = QFileDialog(parent, title, get_save_history()[0])
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setNameFilter(file_type)
    dialog.setDefaultSuffix(suffix)
    dialog.selectFile(f"{file_name(base_name(name))}.{suffix}")
    return dialog


def folder_dialog(parent: QWidget, count: int) -> QFileDialog:
    """Make the dialog that asks for a folder for ``count`` files."""
    dialog = QFileDialog(parent, f"Choose a folder for {count} files", get_save_history()[0])
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    return dialog


def ask_where_to_save(viewer: Any, name: str, save: Callable[[str], None], page: bool = False) -> None:
    """Ask for a file for a layer of that name, or for a web page, and call ``save`` with its path."""
    dialog = save_dialog(_window(viewer), name, page)
    dialog.fileSelected.connect(save)
    dialog.open()


def _window(viewer: Any) -> Any:
    """Return the Qt window of a viewer."""
    return viewer.window._qt_window
