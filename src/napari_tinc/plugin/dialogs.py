"""The dialogs that ask which file, or which address, to open, and where to save."""

from __future__ import annotations

from typing import Any

from napari.utils.history import get_open_history, get_save_history, update_open_history, update_save_history
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QInputDialog, QWidget

from .file_names import file_name
from .layers import base_name

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


def save_dialog(parent: QWidget, name: str) -> QFileDialog:
    """Make the dialog that asks for the file of a layer of that name. It asks before a file is replaced."""
    dialog = QFileDialog(parent, "Save a compressed volume", get_save_history()[0])
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setNameFilter(FILTER)
    dialog.setDefaultSuffix("tinc")
    dialog.selectFile(f"{file_name(base_name(name))}.tinc")
    return dialog


def folder_dialog(parent: QWidget, count: int) -> QFileDialog:
    """Make the dialog that asks for a folder for so many files."""
    dialog = QFileDialog(parent, f"Choose a folder for {count} files", get_save_history()[0])
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    return dialog


def save_selected(viewer: Any) -> None:
    """Ask for a ``.tinc`` file, and save the selected layers: one into it, each of several into one beside it."""
    selected = [layer for layer in viewer.layers if layer in viewer.layers.selection]
    if not selected:
        show_error("Select the layers to save first.")
        return
    dialog = save_dialog(_window(viewer), selected[0].name)
    dialog.fileSelected.connect(lambda path: _save(viewer, path))
    dialog.open()


def _save(viewer: Any, path: str) -> None:
    from .writer import SaveError

    try:
        written = viewer.layers.save(path, selected=True, plugin="napari-tinc")
    except SaveError as error:
        show_error(str(error))
        return
    if written:
        update_save_history(written[0])
    else:
        show_error("Nothing was saved: a .tinc file holds an image or labels. Select such a layer.")


def _window(viewer: Any) -> Any:
    return viewer.window._qt_window
