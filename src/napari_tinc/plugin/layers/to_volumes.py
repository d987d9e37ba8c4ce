"""Find the volumes in a layer that can be compressed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .array_views import As32Bit, ColorsFirst, OneVolume
from .geometry import geometry
from .origin import finest_data

MOST_VOLUMES = 1000  # A layer of more volumes is refused, as it can only be a mistake.
UNNAMED_LETTERS = "spqt"  # Axes before z, y, x without a letter get the last of these: "t" for one axis.
RGB = {"R": "#ff0000", "G": "#00ff00", "B": "#0000ff", "A": "#ffffff"}


def single_volume(data: Any, arguments: Mapping[str, Any]) -> ArrayLike:
    """Return the volume of an image layer at full resolution.

    Raises
    ------
    ValueError
        If it is not a single 3D volume. The text says what it is.
    """
    volumes = volumes_of(data, arguments)
    if len(volumes) > 1:
        name, shape = arguments.get("name", "the layer"), " x ".join(map(str, volumes[0][1].shape))
        raise ValueError(
            f"{name} holds {len(volumes)} volumes ({shape} each); compress it with the Compress widget, in one file or "
            "one each, and save what it makes"
        )
    return volumes[0][1]


def volumes_of(data: Any, arguments: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the 3D volumes in a layer as lazy arrays, each with its indices along other axes ("0, 1") or its colour.

    Raises
    ------
    ValueError
        If there is none, or more than :data:`MOST_VOLUMES`.
    """
    name = arguments.get("name", "the layer")
    finest = finest_data(data, arguments)
    shape = " x ".join(map(str, finest.shape))
    if arguments.get("rgb"):
        if finest.ndim != 4:
            raise ValueError(f"{name} is an RGB image of {finest.ndim - 1} axes ({shape}); volumes have 3 (z, y, x)")
        return [(color, OneVolume(finest, (), (index,))) for index, color in enumerate("RGBA"[: finest.shape[-1]])]
    if finest.ndim < 3:
        raise ValueError(f"{name} has {finest.ndim} axes ({shape}); only volumes of 3 (z, y, x) can be compressed")
    leading = finest.shape[:-3]
    count = math.prod(leading)
    if count > MOST_VOLUMES:
        raise ValueError(f"{name} holds {count} volumes ({shape}), expected at most {MOST_VOLUMES}")
    return [
        (", ".join(map(str, index)), OneVolume(finest, index, ()) if index else finest)
        for index in np.ndindex(*leading)
    ]  # fmt: skip


def leading_letters(data: Any, arguments: Mapping[str, Any]) -> str:
    """Return the letters of the axes before z, y, x; "" if the axis labels of the layer are not one letter each."""
    labels = [str(label) for label in arguments.get("axis_labels") or ()]
    ndim = finest_data(data, arguments).ndim
    one_letter_each = len(labels) == ndim == len(set(labels)) and all(len(label) == 1 for label in labels)
    return "".join(labels[:-3]) if one_letter_each and not arguments.get("rgb") else ""


def all_volumes(
    data: Any, arguments: Mapping[str, Any], leading: str = "", channels: Sequence[Mapping[str, str]] = ()
) -> tuple[Any, str, list[dict[str, str]]]:
    """Return all volumes of a layer as one lazy array with axes (..., z, y, x), a letter an axis, and its channels.

    Parameters
    ----------
    leading : letters of the axes before z, y, x, for a layer whose labels do not name them. Without any, the axis
        before z is "t".
    channels : names and colours for the axis "c".

    Raises
    ------
    ValueError
        If the layer has no volumes.
    """
    volumes_of(data, arguments)
    finest = finest_data(data, arguments)
    space_letters = geometry(arguments).axis_labels
    if arguments.get("rgb"):
        colors = list(RGB)[: finest.shape[-1]]
        space_letters = "zyx" if "c" in space_letters else space_letters
        return ColorsFirst(finest), "c" + space_letters, [{"name": name, "color": RGB[name]} for name in colors]
    count = finest.ndim - 3
    letters = leading_letters(data, arguments) or leading
    if set(letters) & set(space_letters) or len(letters) != count:
        spare = [label for label in UNNAMED_LETTERS if label not in space_letters]
        letters = "".join(spare[len(spare) - count :])  # They stay sliders.
    channels_fit = "c" in letters and len(channels) == finest.shape[letters.index("c")]
    return finest, letters + space_letters, [dict(channel) for channel in channels] if channels_fit else []


def frozen_copy(data: Any) -> Any:
    """Copy labels in memory, so that they can be painted on while they are compressed. Lazy ones stay as they are."""
    return data.copy() if isinstance(data, np.ndarray) else data


def storable_labels(data: Any) -> Any:
    """Return labels in a dtype that a file can hold: those of 64 bits in 32, checked when they are read."""
    dtype = np.dtype(data.dtype)
    return As32Bit(data, np.dtype(f"{dtype.kind}4")) if dtype.kind in "iu" and dtype.itemsize == 8 else data
