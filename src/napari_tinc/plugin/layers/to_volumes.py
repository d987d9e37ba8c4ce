"""Layers as volumes that can be compressed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .array_views import As32Bit, ColorsFirst, OneVolume
from .geometry import geometry
from .origin import finest_data

MOST_VOLUMES = 1000  # in one layer; more are a mistake
UNNAMED = "spqt"  # axes before z, y, x whose labels are not letters
RGB = {"R": "#ff0000", "G": "#00ff00", "B": "#0000ff", "A": "#ffffff"}


def single_volume(data: Any, arguments: Mapping[str, Any]) -> ArrayLike:
    """What of an image layer is to be compressed: its finest level.

    Raises
    ------
    ValueError
        If it is not one 3D volume; says what it is.
    """
    found = volumes_of(data, arguments)
    if len(found) > 1:
        name, shape = arguments.get("name", "the layer"), " x ".join(map(str, found[0][1].shape))
        raise ValueError(
            f"{name} holds {len(found)} volumes ({shape} each); compress it with the Compress widget, in one file or "
            "one each, and save what it makes"
        )
    return found[0][1]


def volumes_of(data: Any, arguments: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The 3D volumes in an image layer, lazily, each with what tells it from the others: channels, points in time.

    Raises
    ------
    ValueError
        If there is none, or too many to be meant.
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
    """Return the letters of the axes before z, y, x that a layer's axis labels name; "" where they do not."""
    labels = [str(label) for label in arguments.get("axis_labels") or ()]
    ndim = finest_data(data, arguments).ndim
    plain = len(labels) == ndim == len(set(labels)) and all(len(label) == 1 for label in labels)
    return "".join(labels[:-3]) if plain and not arguments.get("rgb") else ""


def all_volumes(
    data: Any, arguments: Mapping[str, Any], leading: str = "", channels: Sequence[Mapping[str, str]] = ()
) -> tuple[Any, str, list[dict[str, str]]]:
    """Return all volumes of a layer as one lazy array with axes (..., z, y, x), a letter an axis, and its channels.

    ``leading`` are the letters of the axes before z, y, x, for a layer whose labels do not name them; without, they
    are read as points in time. ``channels`` are names and colours for the axis "c".

    Raises
    ------
    ValueError
        If they are none.
    """
    volumes_of(data, arguments)
    finest = finest_data(data, arguments)
    last = geometry(arguments).axis_labels
    if arguments.get("rgb"):
        names = list(RGB)[: finest.shape[-1]]
        last = "zyx" if "c" in last else last
        return ColorsFirst(finest), "c" + last, [{"name": name, "color": RGB[name]} for name in names]
    count = finest.ndim - 3
    letters = leading_letters(data, arguments) or leading
    if set(letters) & set(last) or len(letters) != count:
        spare = [label for label in UNNAMED if label not in last]
        letters = "".join(spare[len(spare) - count :])  # sliders, as they are now
    named = "c" in letters and len(channels) == finest.shape[letters.index("c")]
    return finest, letters + last, [dict(channel) for channel in channels] if named else []


def frozen_copy(data: Any) -> Any:
    """Labels that stay so while they are compressed, though the layer is painted on; as only arrays in memory are."""
    return data.copy() if isinstance(data, np.ndarray) else data


def storable_labels(data: Any) -> Any:
    """Labels of an array in a dtype that a file can hold: those of 64 bits in 32, checked where they are read."""
    dtype = np.dtype(data.dtype)
    return As32Bit(data, np.dtype(f"{dtype.kind}4")) if dtype.kind in "iu" and dtype.itemsize == 8 else data
