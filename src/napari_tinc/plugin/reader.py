"""Open ``.tinc`` files as image layers, or labels layers where that is what they say they hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import napari
from napari.utils import notifications

from ..decoding.contents import BlockContents
from ..decoding.network_box import NetworkBox
from ..decoding.volume import TincVolume
from ..decoding.volume import open as open_tinc
from ..errors import TincError
from ..format.chunks import ChunkKind
from .layers.from_volume import layer_type, to_layers
from .preferences import read_preferences
from .proxies import unproxied

LayerData = tuple[Any, dict[str, Any], str]


@unproxied
def get_reader(path: str | Sequence[str] | None = None) -> Callable[..., list[Any]] | None:
    """Return :func:`read` if all paths are of ``.tinc`` files, else None. Does not look into them.

    Without a path, which is how napari's command palette calls it, ask for files and open them.
    """
    if path is None:
        from .dialogs import open_files

        open_files(napari.current_viewer())
        return None
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    return read if paths and all(Path(_place(str(p))).suffix.lower() == ".tinc" for p in paths) else None


def read(path: str | Sequence[str]) -> list[Any]:
    """One layer a file, or a channel of a file. Paths may be URLs, of which only what is looked at is fetched.

    A file that was cut off is opened as far as it goes, and a notification says what is missing. Where a napari window
    is open, files that cannot be opened are named in a notification, and the others are shown.

    Raises
    ------
    TincError, OSError
        For the first file that cannot be opened, without a window.
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
            notifications.show_error(f"Cannot open {Path(_place(str(item))).name}: {reason}")
    return layers or [(None,)]  # napari's word for a file that was dealt with and holds no layer


def read_one(path: str, eager_voxels: int, cache_bytes: int) -> list[LayerData]:
    """The layers of one file. One of a single tree is verified first, of one of blocks only what it says of itself."""
    # Half of the cache is for networks, and half for what they are decoded to.
    name, most = Path(_place(path)).stem, cache_bytes // 2
    try:
        volume = open_tinc(path, cache_bytes=most)
        _check(volume)
    except TincError as error:
        volume = _opened_in_part(path, most, error)
        notifications.show_warning(
            f"{name} {_what_is_missing(volume)}. What needs that is shown coarsely or grey; it cannot be saved."
        )
    return [(*layer, layer_type(volume)) for layer in to_layers(volume, name, eager_voxels, most)]


def _check(volume: TincVolume) -> None:
    _ = volume.axis_labels, volume.channels, volume.provenance
    if not isinstance(volume.parts, BlockContents) and (tree := volume.parts.part(0, 0)) is not None:
        tree.verify()


def _opened_in_part(path: str, cache_bytes: int, error: TincError) -> TincVolume:
    """As much of a file as there is of it; raises the error that it was opened with if it was not just cut off."""
    try:
        volume = open_tinc(path, partial=True, cache_bytes=cache_bytes)
        _check(volume)
    except TincError:
        raise error from None
    if not volume.n_missing:
        raise error
    return volume


def _what_is_missing(volume: TincVolume) -> str:
    if isinstance(volume.parts, BlockContents):
        there = sum(entry.role is ChunkKind.BLOCK for entry in volume.parts.entries())
        total = volume.parts.header.n_volumes * volume.parts.header.tree.n_leaves
        if there == total:
            return "was cut off: what proves its values is missing"
        return f"was cut off: {total - there} of {total} blocks are missing"
    part = volume.parts.part(0, 0)
    if isinstance(part, NetworkBox) and not part.missing.any():
        return "was cut off: what it says of its axes, or errors, is missing"
    return f"was cut off: {volume.n_missing} of its networks are missing"


def _place(path: str) -> str:
    """A path, or that in a URL without what follows it."""
    return urlsplit(path).path if "://" in path else path
