"""Reading image files of other formats: TIFF, .npy, NIfTI, Zarr, HDF5 -> read_image -> Image.

Every format goes through its field's library, imported only when a file needs it. Large images are not read: what comes
is an array that reads what it is asked for. Whether an image can be compressed (axes, dtype) is for the caller to say.
Nothing here knows of `.tinc` files, napari or Qt; write.py writes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .arrays import AxesView
from .units import Size

Spacing = tuple[float, float, float]


COLOR = re.compile(r"#?([0-9a-fA-F]{6})")


class Content(NamedTuple):
    """What a file holds: sizes along z, y, x, and of every channel a name and a color as RRGGBB."""

    array: Any
    axes: str
    sizes: Sequence[Size] = ()
    channels: Sequence[tuple[object, object]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An image as its file describes it.

    Attributes
    ----------
    array : NumPy array or memory map; a library's array or an :class:`~napari_tinc.io.arrays.AxesView` of it, not yet
    read. axes : one upper-case letter a dimension, "ZYX" for a volume; Q is an axis the file does not name.
    spacing : voxel size along z, y, x in `units`; None when the file says nothing.
    units : a name napari and pint understand ("micrometer"); None when the file gives none they do.
    name : the file's name without suffixes, then that of the dataset where the path names one.
    channels : "name" and "color" ("#rrggbb") of every channel, as far as the file says; empty where it does not.
    """

    array: Any
    axes: str
    spacing: tuple[float, float, float] | None
    units: str | None
    name: str
    channels: list[dict[str, str]] = field(default_factory=list)

    def options(self) -> dict[str, Any]:
        """What :func:`napari_tinc.fit` is to be told of it: spacing, units, axis labels, channels."""
        units = self.units if self.spacing else None
        return {
            "spacing": self.spacing, "units": units, "axis_labels": _distinct_letters(self.axes),
            "channels": self.channels,
        }  # fmt: skip


def _distinct_letters(axes: str) -> str:
    """Different lower-case letters; an axis whose letter is taken, or is none, becomes r, s, u, ..."""
    letters, distinct = axes.lower(), ""
    for letter in letters:
        spare = next(other for other in "rsuvwabdefg" if other not in letters + distinct)
        distinct += letter if "a" <= letter <= "z" and letter not in distinct else spare
    return distinct


def library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'reading this file needs {name}: pip install "napari-tinc[io]"') from error


def default_axes(ndim: int) -> str:
    return ("Q" * ndim + "ZYX")[3:]


def in_usual_order(array: Any, axes: str) -> tuple[Any, str]:
    """Drop axes of length one other than z, y, x, and have z, y, x last where these are all; reads nothing."""
    kept = [i for i, axis in enumerate(axes) if axis in "ZYX" or array.shape[i] != 1]
    spatial = [i for i in kept if axes[i] in "ZYX"]
    if (
        sorted(axes[i] for i in spatial) == ["X", "Y", "Z"] and "S" not in axes
    ):  # samples of a color stay where they are
        kept = [i for i in kept if i not in spatial] + sorted(spatial, key=lambda i: "ZYX".index(axes[i]))
    ordered = "".join(axes[i] for i in kept)
    if kept == list(range(len(axes))):
        return array, axes
    if isinstance(array, np.ndarray):
        array = array[tuple(slice(None) if i in kept else 0 for i in range(len(axes)))]
        return array.transpose([sorted(kept).index(i) for i in kept]), ordered
    return AxesView(array, kept, portable=getattr(array, "portable", False)), ordered


def channels_of(stored: Sequence[tuple[object, object]], count: int) -> list[dict[str, str]]:
    """Names and colors of so many channels; empty where these are others, or nothing is said of any."""
    channels = []
    for name, color in stored:
        text = printable(" ".join(name.split())) if isinstance(name, str) else ""
        match = COLOR.fullmatch(color) if isinstance(color, str) else None
        channels.append(({"name": text} if text else {}) | ({"color": f"#{match[1].lower()}"} if match else {}))
    return channels if len(channels) == count and any(channels) else []


def printable(text: str) -> str:
    """Without control characters, which XML has no place for."""
    return "".join(character for character in text if character.isprintable())


def rgb_of(channel: Mapping[str, str]) -> str:
    """Its color as RRGGBB, white where there is none."""
    match = COLOR.fullmatch(channel.get("color", ""))
    return match[1].upper() if match else "FFFFFF"
