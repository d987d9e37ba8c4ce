"""A compressed layer in a browser: by a link of this machine, or as one page to send."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels
from napari.utils.history import update_save_history
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

from ..errors import TincError
from ..sharing.page import single_page
from ..sharing.server import FileServer
from ..storage import atomic
from ..storage.stores import Memory
from . import dialogs
from .layers.compressed import NONE_SELECTED, compressed_layer
from .layers.file_names import file_name
from .layers.origin import VOLUME, base_name, edited_message
from .proxies import unproxied

# The server of each layer that has one. It ends with its layer.
_servers: weakref.WeakKeyDictionary[Image | Labels, FileServer] = weakref.WeakKeyDictionary()


@unproxied
def open_in_browser(viewer: Viewer) -> None:
    """Show the active compressed layer in the browser of this machine, by a link that works until it is removed."""
    layer = _sharable(viewer)
    if layer is None:
        return
    try:
        server = _servers.get(layer) or _serve(viewer, layer)
    except (TincError, OSError) as error:
        show_error(f"{layer.name} cannot be shared: {error}")
        return
    opened = QDesktopServices.openUrl(QUrl(server.link))
    what = "is open in your browser" if opened else "can be opened in a browser"
    show_info(f"{layer.name} {what}: {server.link} works on this machine until the layer is removed.")


@unproxied
def save_web_page(viewer: Viewer) -> None:
    """Save the active compressed layer as one web page, which any browser opens from a disk or a server."""
    layer = _sharable(viewer)
    if layer is not None:
        dialogs.ask_where_to_save(viewer, layer.name, lambda path: _write_page(layer, path), page=True)


def _sharable(viewer: Any) -> Image | Labels | None:
    """Return the active compressed layer, or the one of the active overlay; None, after an error, if neither."""
    layer = compressed_layer(viewer, viewer.layers.selection.active)
    why = NONE_SELECTED if layer is None else edited_message(layer)
    if why:
        show_error(why)
        return None
    return layer


def _file_of(layer: Image | Labels) -> tuple[str, bytes]:
    """Return the name and the bytes of the file that a layer shows."""
    return f"{file_name(base_name(layer.name))}.tinc", layer.metadata[VOLUME].parts.data()


def _serve(viewer: Any, layer: Image | Labels) -> FileServer:
    """Start the server of a layer, in a thread. It ends when the layer is removed, or napari forgets it."""
    name, data = _file_of(layer)
    server = _servers[layer] = FileServer(name, Memory(data))
    threading.Thread(target=server.serve_forever, name=f"napari-tinc shares {name}", daemon=True).start()
    end = weakref.finalize(layer, _end, server)
    end.atexit = False  # The server's threads end with the process.

    def on_removed(event: Any) -> None:
        if _servers.get(event.value) is server:
            viewer.layers.events.removed.disconnect(on_removed)
            del _servers[event.value]
            end()

    viewer.layers.events.removed.connect(on_removed)
    return server


def _end(server: FileServer) -> None:
    """End a server, and close its port: in a thread, as the garbage collector may call this in the server's own."""

    def end() -> None:
        server.shutdown()
        server.server_close()

    threading.Thread(target=end, name="napari-tinc ends a share", daemon=True).start()


def _write_page(layer: Image | Labels, path: str) -> None:
    """Write the page of a layer, or say why that is not possible."""
    try:
        atomic.save(path, single_page(*_file_of(layer)))
    except (TincError, OSError, ValueError) as error:
        show_error(f"{layer.name} was not saved as a web page: {error}")
        return
    update_save_history(path)
    show_info(f"Saved {Path(path).name} ({Path(path).stat().st_size / 1000:.0f} kB). Any browser opens it.")
