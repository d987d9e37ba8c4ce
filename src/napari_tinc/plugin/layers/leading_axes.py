"""The axes before z, y, x of a layer, such as channels or points in time, as its file or the user names them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from ...errors import ReadWarning
from ...io.read import read_image

# Number of axes without names -> choice in the dock -> letters of the axes in the file.
CHOICES = {
    1: {"points in time": "t", "channels": "c", "something else": "q"},
    2: {"time, then channels": "tc", "channels, then time": "ct", "something else": "qt"},
}


@dataclass(frozen=True, slots=True)
class LeadingAxes:
    """Hold the letters of the axes before z, y, x, and "name" and "color" of every channel. Empty if not known."""

    letters: str = ""
    channels: list[dict[str, str]] = field(default_factory=list)


def file_path(layer: Any) -> str:
    """Return the file that a layer was opened from; "" if there is none."""
    path = layer.source.path
    return path if isinstance(path, str) else ""


def axes_of_file(path: str, shape: tuple[int, ...]) -> LeadingAxes:
    """Look up the axes and channels that an image file names, for a layer of that shape that was opened from it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReadWarning)  # the layer is what another plugin has read
            image = read_image(path)
    except (ValueError, OSError, ImportError):
        return LeadingAxes()  # Another plugin has read this file, so the user is asked instead.
    letters = image.axes[:-3].lower()
    same = tuple(image.array.shape) == shape and image.axes.endswith("ZYX")
    if not same or "q" in letters or len(set(letters)) < len(letters) or not letters.isalpha():
        return LeadingAxes()
    return LeadingAxes(letters, [dict(channel) for channel in image.channels])
