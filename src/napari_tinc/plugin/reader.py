"""Open ``.tinc`` files as image layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..framing import TincError
from ..volume import open as open_tinc
from .layers import to_layer
from .preferences import read_preferences

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[..., list[Any]] | None:
    """:func:`read` if all paths are of ``.tinc`` files, else None. Does not look into them."""
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    return read if paths and all(Path(p).suffix.lower() == ".tinc" for p in paths) else None


def read(path: str | Sequence[str]) -> list[Any]:
    """One image layer a file.

    Where a napari window is open, files that cannot be opened are named in a notification, and the others are shown.

    Raises
    ------
    TincError, OSError
        For the first file that cannot be opened, without a window.
    """
    import napari

    eager_voxels = read_preferences().eager_megavoxels * 10**6
    layers: list[Any] = []
    for item in [path] if isinstance(path, str | os.PathLike) else path:
        try:
            layers.append(read_one(Path(item), eager_voxels))
        except (TincError, OSError) as error:
            if napari.current_viewer() is None:
                raise
            # napari would bury the reason under advice to try other plugins.
            reason = getattr(error, "strerror", None) or str(error)
            napari.utils.notifications.show_error(f"Cannot open {Path(item).name}: {reason}")
    return layers or [(None,)]  # napari's word for a file that was dealt with and holds no layer


def read_one(path: Path, eager_voxels: int) -> LayerData:
    """The layer of one file, which is verified first: a layer that shows up must not fail while it is looked at."""
    volume = open_tinc(path)
    volume.verify()
    return (*to_layer(volume, path.stem, eager_voxels), "image")
