"""Between a TincVolume and a napari image or labels layer: data, scale, units, axis labels, and if they still agree.

Works on layer data and plain dictionaries of layer arguments; knows nothing of viewers or Qt.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from ...decoding.volume import CACHE_BYTES, TincVolume
from ...texts import promise_of
from . import display, drawing
from .display import DisplayVolume, brightness
from .geometry import known_unit
from .origin import CHECKSUM, PROMISE, VOLUME, checksum_of

MOST_BLOCKS = 64  # of a file that is decoded at once: reading many small ones takes longer than their voxels
COLORS = ("cyan", "yellow", "magenta", "red", "green", "blue")  # of channels whose file does not say it


def to_layers(
    volume: TincVolume, name: str, eager_voxels: int, cache_bytes: int = CACHE_BYTES
) -> list[tuple[Any, dict[str, Any]]]:  # fmt: skip
    """Data and arguments of the layers that show a volume: one a channel, whose name and colour they have.

    They are of the kind that :func:`kind` says. Labels are always a single layer.
    ``cache_bytes`` bounds what all of them together keep of what they have decoded.
    """
    labels = volume.axis_labels[:-3]
    if "c" not in labels or volume.labels:
        return [to_layer(volume, name, eager_voxels, cache_bytes)]
    axis = labels.index("c")
    count = volume.shape[axis]
    found = []
    for index in range(count):
        channel = volume.select(*(index if at == axis else None for at in range(len(labels))))
        said = volume.channels[index] if volume.channels else {}
        full_name = f"{name} {said.get('name') or f'channel {index}'}"
        data, arguments = to_layer(channel, full_name, eager_voxels, cache_bytes // count)
        arguments["contrast_limits"] = _limits(*brightness(channel))
        arguments["colormap"] = _colormap(said.get("color", ""), index, count)
        arguments["blending"] = "additive"
        found.append((data, arguments))
    return found


def to_layer(
    volume: TincVolume, name: str, eager_voxels: int, cache_bytes: int = CACHE_BYTES
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Data and arguments of the layer that shows a volume; axes before z, y, x become sliders.

    Data is an array, decoded here, for at most ``eager_voxels`` (or :data:`~.viewing.OVERVIEW_VOXELS`) in a file of
    few blocks, all of which can be read. Otherwise data is a list of lazy levels, finest first, or a single one.
    """
    unread = []

    def tell(reason: str) -> None:
        from napari.utils.notifications import show_error

        unread.append(reason)
        show_error(f"A part of {name} cannot be read, and is shown coarsely or grey: {reason}")

    metadata: dict[str, Any] = {VOLUME: volume}
    seen = DisplayVolume(volume, cache_bytes, tell)
    data: Any = seen.shown_levels if len(seen.shown_levels) > 1 else seen.shown_levels[0]
    if volume.size <= max(eager_voxels, display.OVERVIEW_VOXELS) and _n_blocks(volume) <= MOST_BLOCKS:
        decoded = drawing.while_drawing(lambda: np.asarray(seen.levels[0]))
        if not unread:
            data, metadata[CHECKSUM] = decoded, checksum_of(decoded)
    drawing.install()
    leading = volume.ndim - 3
    arguments: dict[str, Any] = {
        "name": name,
        "scale": (1.0,) * leading + tuple(volume.spacing),
        "axis_labels": tuple(volume.axis_labels),
        "metadata": metadata,
    }
    if not volume.labels:
        arguments["contrast_limits"] = _limits(*volume.value_range)
    if (said := promise_of_volume(volume)) and not unread:
        metadata[PROMISE] = said
    if units := known_unit(volume.units):
        arguments["units"] = ("pixel",) * leading + (units,) * 3
    return data, arguments


def layer_type(volume: TincVolume) -> str:
    """napari's name of the kind of layer that shows a volume."""
    return "labels" if volume.labels else "image"


def promise_of_volume(volume: TincVolume) -> str:
    """How far its voxels may be from the original, in words; "" where nothing is promised, or a part is missing."""
    return "" if volume.error_bound is None or volume.n_missing else promise_of(volume.error_bound)


def _n_blocks(volume: TincVolume) -> int:
    return math.prod(volume.shape[:-3]) * len(volume.parts.start)


def _limits(low: float, high: float) -> tuple[float, float]:
    """Contrast limits that napari takes."""
    low, high = float(low), float(high)
    return (low, high) if low < high else (min(low, 0.0), max(high, 1.0))


def _colormap(color: str, index: int, count: int) -> Any:
    """From black to the colour that a file says ("#rrggbb"), or to one that differs from those of other channels."""
    if re.fullmatch("#[0-9a-fA-F]{6}", color):
        from napari.utils import Colormap

        rgb = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        return Colormap([[0, 0, 0, 1], [*rgb, 1]], name=color)
    return ("magenta", "green")[index] if count == 2 else COLORS[index % len(COLORS)]
