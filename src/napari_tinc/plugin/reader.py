"""Open ``.tinc`` files as image layers, or as labels layers if they hold labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import napari
from napari.utils import notifications

from ..decoding.block_contents import BlockContents
from ..decoding.network_box import NetworkBox
from ..decoding.volume import TincVolume
from ..decoding.volume import open as open_tinc
from ..errors import TincError
from ..format.chunks import ChunkKind
from .layers.from_volume import layer_type, to_layers
from .layers.origin import NAME
from .preferences import read_preferences
from .proxies import unproxied

LayerData = tuple[Any, dict[str, Any], str]


@unproxied
def get_reader(path: str | Sequence[str] | None = None) -> Callable[..., list[Any]] | None:
    """Return :func:`read` if all paths are of ``.tinc`` files, else None. The files are not opened.

    napari's command palette calls this without a path: then ask for files and open them.
    """
    if path is None:
        from .dialogs import open_files

        open_files(napari.current_viewer())
        return None
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    return read if paths and all(Path(_path_of(str(p))).suffix.lower() == ".tinc" for p in paths) else None


def read(path: str | Sequence[str]) -> list[Any]:
    """Open files, and return one layer for each file, or for each channel of a file.

    Paths may be URLs, of which only the parts that are looked at are fetched. A file that was cut off is opened as far
    as it goes, and a notification says what is missing. In a napari window, files that cannot be opened are named in a
    notification, and the others are shown.

    Raises
    ------
    TincError, OSError
        Without a window: for the first file that cannot be opened.
    """
    preferences = read_preferences()
    eager_voxels, cache_bytes = preferences.eager_megavoxels * 10**6, preferences.cache_megabytes * 10**6
    layers: list[Any] = []
    for item in [path] if isinstance(path, str | os.PathLike) else path:
        try:
            layers += read_one(str(item), eager_voxels, cache_bytes)
        except (TincError, OSError, ImportError) as error:
            if napari.current_viewer() is None:
                raise
            # napari would bury the reason under advice to try other plugins.
            reason = getattr(error, "strerror", None) or str(error)
            notifications.show_error(f"Cannot open {Path(_path_of(str(item))).name}: {reason}")
    return layers or [(None,)]  # With this, napari does not look for another reader.


def read_one(path: str, eager_voxels: int, cache_bytes: int) -> list[LayerData]:
    """Return the layers of one file. A single tree is verified first; of a file of blocks only its description."""
    # Half of the cache is for networks, and half for decoded values.
    name, half_cache_bytes = Path(_path_of(path)).stem, cache_bytes // 2
    try:
        volume = open_tinc(path, cache_bytes=half_cache_bytes)
        _verify(volume)
    except TincError as error:
        volume = _open_incomplete(path, half_cache_bytes, error)
        notifications.show_warning(
            f"{name} {_describe_missing(volume)}. What needs that is shown coarsely or grey; it cannot be saved."
        )
    layers = to_layers(volume, name, eager_voxels, half_cache_bytes)
    for _, arguments in layers:
        arguments["metadata"][NAME] = arguments["name"]
    return [(*layer, layer_type(volume)) for layer in layers]


def _verify(volume: TincVolume) -> None:
    """Read what is not read at opening, so that damage is found now."""
    _ = volume.axis_labels, volume.channels, volume.provenance
    if not isinstance(volume.parts, BlockContents) and (tree := volume.parts.part(0, 0)) is not None:
        tree.verify()


def _open_incomplete(path: str, cache_bytes: int, error: TincError) -> TincVolume:
    """Open as much of a file as is there. Raises ``error`` again if the file is damaged and not just cut off."""
    try:
        volume = open_tinc(path, partial=True, cache_bytes=cache_bytes)
        _verify(volume)
    except TincError:
        raise error from None
    if not volume.n_missing:
        raise error
    return volume


def _describe_missing(volume: TincVolume) -> str:
    """Say what of a file that was cut off is missing, as the end of a sentence about the file."""
    if isinstance(volume.parts, BlockContents):
        present = sum(entry.role is ChunkKind.BLOCK for entry in volume.parts.entries())
        total = volume.parts.header.n_volumes * volume.parts.header.tree.n_leaves
        if present == total:
            return "was cut off: what proves its values is missing"
        return f"was cut off: {total - present} of {total} blocks are missing"
    part = volume.parts.part(0, 0)
    if isinstance(part, NetworkBox) and not part.missing.any():
        return "was cut off: what it says of its axes, or errors, is missing"
    return f"was cut off: {volume.n_missing} of its networks are missing"


def _path_of(path: str) -> str:
    """Return a path as it is, or the path in a URL."""
    return urlsplit(path).path if "://" in path else path
