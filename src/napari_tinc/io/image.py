"""What all image formats share: the image as a file describes it, its axes, its channels.

Every format uses the library of its field, which is imported only when a file needs it. Large images are not read into
memory: an array reads what is asked for. Whether an image can be compressed (axes, dtype) is for the caller to decide.
Nothing here knows of `.tinc` files, napari or Qt. read.py chooses the reader of a format, and write.py the writer.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..format.details import Details
from ..format.placement import Placement
from .arrays import AxesView
from .read_options import say
from .units import Size

Spacing = tuple[float, float, float]


INVERTED = "gray_r"  # The colormap of images whose smallest value is white.
COLOR = re.compile(r"#?([0-9a-fA-F]{6})")


class Content(NamedTuple):
    """The content of a file as its reader returns it.

    Attributes
    ----------
    array : not yet read if it is large.
    axes : an upper-case letter for each axis.
    sizes : size of a voxel and its unit, along z, y, x.
    channels : name and color, RRGGBB, of every channel.
    labels : whether the file says that its values are labels.
    placement : where the voxels lie, in the unit of x; its matrix is of the axes Z, Y, X in this order.
    details : time step, contrast limits, names of labels.
    windows : values of each channel that are shown black and white; None where nobody chose them.
    fill : values that stand for no measurement, as the file says.
    """

    array: Any
    axes: str
    sizes: Sequence[Size] = ()
    channels: Sequence[tuple[object, object]] = ()
    labels: bool = False
    placement: Placement | None = None
    details: Details | None = None
    windows: Sequence[tuple[float, float] | None] = ()
    fill: Sequence[float] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An image with all that its file says about it.

    Attributes
    ----------
    array : NumPy array or memory map; or a library's array, or an :class:`~napari_tinc.io.arrays.AxesView` of it, that
        is not yet read.
    axes : an upper-case letter for each axis, "ZYX" for a volume; Q is an axis that the file does not name.
    spacing : size of a voxel along z, y, x in `units`; None if the file has none.
    units : a name that napari and pint understand ("micrometer"); None if the file has none of these.
    name : the file's name without suffixes, then that of the dataset if the path names one.
    channels : "name" and "color" ("#rrggbb") of every channel, as far as the file has them; empty if it has none.
    labels : whether the values are labels, as the file or the caller says.
    placement : where the voxels lie, in `units`; None if the file says no more than the spacing.
    details : time step, contrast limits, names of labels; None if the file has none.
    fill : values that stand for no measurement, as the file says.
    """

    array: Any
    axes: str
    spacing: tuple[float, float, float] | None
    units: str | None
    name: str
    channels: list[dict[str, str]] = field(default_factory=list)
    labels: bool = False
    placement: Placement | None = None
    details: Details | None = None
    fill: tuple[float, ...] = ()

    def options(self) -> dict[str, Any]:
        """Return what the image adds to :class:`napari_tinc.Options`: spacing, units, axes, channels, labels, place."""
        units = self.units if self.spacing else None
        return {
            "spacing": self.spacing, "units": units, "axis_labels": _distinct_letters(self.axes),
            "channels": self.channels, "labels": self.labels, "placement": self.placement, "details": self.details,
            "fill": self.fill,
        }  # fmt: skip


def _distinct_letters(axes: str) -> str:
    """Return a different lower-case letter for each axis; r, s, u, ... if its letter is taken, or not a letter."""
    letters, distinct = axes.lower(), ""
    for letter in letters:
        spare = next(other for other in "rsuvwabdefg" if other not in letters + distinct)
        distinct += letter if "a" <= letter <= "z" and letter not in distinct else spare
    return distinct


def library(name: str, extra: str = "io") -> Any:
    """Import the library of a format. ImportError says how to install it, in which extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'reading this file needs {name}: pip install "napari-tinc[{extra}]"') from error


def default_axes(shape: Sequence[int]) -> str:
    """Return the axes of an array that names none: z, y, x are its last three, Q the others.

    Where an array of more axes has some of length one, these are no z, y, x: (12, 1, 20, 30) are 12 slices.
    """
    last = max((axis for axis, length in enumerate(shape) if length != 1), default=0)
    ones = [axis for axis, length in enumerate(shape) if length == 1]
    spare = sorted(ones, key=lambda axis: axis <= last)[: max(0, len(shape) - 3)]  # behind the others, then before
    kept = [axis for axis in range(len(shape)) if axis not in spare]
    letters = dict(zip(kept, ("Q" * len(kept) + "ZYX")[3:], strict=True))
    return "".join(letters.get(axis, "Q") for axis in range(len(shape)))


def say_if_guessed(axes: str, shape: Sequence[int]) -> None:
    """Say which axes of length one were left out between or after z, y, x, of an array that does not name its axes."""
    is_unnamed = axes.replace("Q", "") == "ZYX" and 3 < len(axes) == len(shape)
    if is_unnamed and any(axes[i] == "Q" and shape[i] == 1 for i in range(axes.index("Z"), len(axes))):
        lengths = " x ".join(str(length) for axis, length in zip(axes, shape, strict=True) if axis in "ZYX")
        given = " x ".join(map(str, shape))
        say(f"an axis of length one is left out: {given} is read as {lengths} (z, y, x); --axes says otherwise")


def in_usual_order(array: Any, axes: str) -> tuple[Any, str]:
    """Drop axes of length one other than z, y, x, and move z, y, x to the end if all are there. Reads nothing."""
    kept = [i for i, axis in enumerate(axes) if axis in "ZYX" or array.shape[i] != 1]
    spatial = [i for i in kept if axes[i] in "ZYX"]
    has_colors = "S" in axes  # red, green and blue, which stay where they are
    if sorted(axes[i] for i in spatial) == ["X", "Y", "Z"] and not has_colors:
        kept = [i for i in kept if i not in spatial] + sorted(spatial, key=lambda i: "ZYX".index(axes[i]))
    ordered = "".join(axes[i] for i in kept)
    if kept == list(range(len(axes))):
        return array, axes
    if isinstance(array, np.ndarray):
        array = array[tuple(slice(None) if i in kept else 0 for i in range(len(axes)))]
        return array.transpose([sorted(kept).index(i) for i in kept]), ordered
    return AxesView(array, kept, portable=getattr(array, "portable", False)), ordered


def channels_of(
    stored: Sequence[tuple[object, object]], count: int, windows: Sequence[tuple[float, float] | None] = ()
) -> list[dict[str, str]]:  # fmt: skip
    """Return names, colors and windows of so many channels. Empty if the file describes another number, or none."""
    channels = []
    for number, (name, color) in enumerate(stored):
        text = printable(" ".join(name.split())) if isinstance(name, str) else ""
        match = COLOR.fullmatch(color) if isinstance(color, str) else None
        channel = ({"name": text} if text else {}) | ({"color": f"#{match[1].lower()}"} if match else {})
        if number < len(windows) and (window := windows[number]) is not None:
            channel["window"] = f"{window[0]:.9g} {window[1]:.9g}"
        channels.append(channel)
    return channels if len(channels) == count and any(channels) else []


def printable(text: str) -> str:
    """Remove control characters, which XML cannot store."""
    return "".join(character for character in text if character.isprintable())


def rgb_of(channel: Mapping[str, str]) -> str:
    """Return the color of a channel as RRGGBB; white if it has none."""
    match = COLOR.fullmatch(channel.get("color", ""))
    return match[1].upper() if match else "FFFFFF"
