"""Make data and arguments of napari layers from a TincVolume: scale, units, axis labels, colours of channels.

Knows nothing of viewers or Qt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...decoding.volume import CACHE_BYTES, TincVolume
from ...texts import promise_of_file
from . import display, drawing
from .display import DisplayVolume, brightness
from .geometry import shown_arguments
from .origin import CHECKSUM, PROMISE, VOLUME, checksum_of

MOST_BLOCKS = 64  # A file of more blocks is lazy, however small: reading many blocks takes longer than decoding them.
COLORS = ("cyan", "yellow", "magenta", "red", "green", "blue")  # The colours of channels if the file does not say them.


def to_layers(
    volume: TincVolume, name: str, eager_voxels: int, cache_bytes: int = CACHE_BYTES
) -> list[tuple[Any, dict[str, Any]]]:  # fmt: skip
    """Return data and arguments of the layers that show a volume: one for each channel, with its name and colour.

    :func:`layer_type` says of which type they are. Labels are always a single layer. ``cache_bytes`` is the memory for
    decoded values of all layers together.
    """
    labels = volume.axis_labels[:-3]
    if "c" not in labels or volume.labels:
        return [to_layer(volume, name, eager_voxels, cache_bytes)]
    axis = labels.index("c")
    count = volume.shape[axis]
    layers = []
    for index in range(count):
        channel = volume.select(*(index if at == axis else None for at in range(len(labels))))
        file_channel = volume.channels[index] if volume.channels else {}
        full_name = f"{volume.details.name or name} {file_channel.get('name') or f'channel {index}'}"
        data, arguments = to_layer(channel, full_name, eager_voxels, cache_bytes // count)
        arguments["name"] = full_name
        arguments["contrast_limits"] = _window(file_channel) or _limits(*brightness(channel))
        arguments["colormap"] = _colormap(file_channel.get("color", ""), index, count)
        arguments["blending"] = "additive"
        layers.append((data, arguments))
    return layers


def to_layer(
    volume: TincVolume, name: str, eager_voxels: int, cache_bytes: int = CACHE_BYTES
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Return data and arguments of the layer that shows a volume. Axes before z, y, x become sliders.

    Data is a decoded array for at most ``eager_voxels`` (or :data:`~.display.OVERVIEW_VOXELS`) in a file of few blocks
    without damage. Otherwise it is a list of lazy levels, finest first, or a single lazy array.
    """
    unreadable = []

    def report_damage(reason: str) -> None:
        from napari.utils.notifications import show_error

        unreadable.append(reason)
        show_error(f"A part of {name} cannot be read, and is shown coarsely or grey: {reason}")

    metadata: dict[str, Any] = {VOLUME: volume}
    display_volume = DisplayVolume(volume, cache_bytes, report_damage)
    data: Any = display_volume.shown_levels if len(display_volume.shown_levels) > 1 else display_volume.shown_levels[0]
    if volume.size <= max(eager_voxels, display.OVERVIEW_VOXELS) and _n_blocks(volume) <= MOST_BLOCKS:
        decoded = drawing.while_drawing(lambda: np.asarray(display_volume.levels[0]))
        if not unreadable:
            data, metadata[CHECKSUM] = decoded, checksum_of(decoded)
    drawing.install()
    if (promised := promise_of_volume(volume)) and not unreadable:
        metadata[PROMISE] = promised
    return data, {"name": volume.details.name or name, "metadata": metadata, **shown_arguments(volume)}


def layer_type(volume: TincVolume) -> str:
    """Return the type of layer that shows a volume, in napari's words: "image" or "labels"."""
    return "labels" if volume.labels else "image"


def promise_of_volume(volume: TincVolume) -> str:
    """Say how far voxels may be from the original; "" if nothing is promised, or a part of the file is missing."""
    regions = volume.regions
    n_exact = volume.n_exact
    return "" if volume.n_missing else promise_of_file(volume.error_bound, regions.bound if n_exact else None, n_exact)


def _n_blocks(volume: TincVolume) -> int:
    """Return how many blocks the volumes of a file have together."""
    return math.prod(volume.shape[:-3]) * len(volume.parts.start)


def _limits(low: float, high: float) -> tuple[float, float]:
    """Return contrast limits that differ, as napari demands."""
    low, high = float(low), float(high)
    return (low, high) if low < high else (min(low, 0.0), max(high, 1.0))


def _window(channel: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the contrast limits that a file states for a channel; None if it states none."""
    try:
        low, high = map(float, channel.get("window", "").split())
    except ValueError:
        return None
    return (low, high) if -math.inf < low < high < math.inf else None


def _colormap(color: str, index: int, count: int) -> Any:
    """Return a colormap from black to ``color`` ("#rrggbb"); or to one unlike those of other channels."""
    if re.fullmatch("#[0-9a-fA-F]{6}", color):
        from napari.utils import Colormap

        rgb = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        return Colormap([[0, 0, 0, 1], [*rgb, 1]], name=color)
    return ("magenta", "green")[index] if count == 2 else COLORS[index % len(COLORS)]
