"""Which volume and layer a compressed layer came from, and whether its data was changed since."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...decoding.lazy_array import LazyArray
from ...decoding.volume import TincVolume
from .display import DisplayVolume

# Keys in the metadata of a compressed layer.
VOLUME = "tinc"  # Its TincVolume.
CHECKSUM = "tinc_crc32"  # The checksum of its decoded data; missing for lazy data.
PROMISE = "tinc_promise"  # How far its voxels may be from the original, in words.
NAME = "tinc_name"  # The name that it got when it was opened, which nobody chose.
SOURCE = "tinc_source"  # A weak reference to the layer that a compressed copy was made from.
# What compressing adds to a layer's name, and what napari adds to a name that is taken.
COPY_SUFFIX = re.compile(r"(?: \(tinc[^()]*\)(?: \[\d+\])?)+$")


def base_name(layer_name: str) -> str:
    """Strip what compressing adds to a layer's name: "brain" of "brain (tinc 64x)" and of "brain (tinc ±5) [1]"."""
    return COPY_SUFFIX.sub("", layer_name)


def source_of(layer: Any) -> Any:
    """Return the layer that a compressed copy was made from; None if it came from a file, or that layer is gone."""
    reference = layer.metadata.get(SOURCE)
    return None if reference is None else reference()


def is_copy(layer: Any, source: Any) -> bool:
    """Tell whether a layer shows a compressed copy of another: made from it, or of the same base name."""
    if layer is source or VOLUME not in layer.metadata:
        return False
    return source_of(layer) is source or base_name(layer.name) == base_name(source.name)


def unmodified_volume(data: Any, arguments: Mapping[str, Any]) -> TincVolume | None:
    """Return the volume that a layer's data was decoded from; None if there is none, or the data was changed."""
    metadata = arguments.get("metadata") or {}
    volume = metadata.get(VOLUME)
    if not isinstance(volume, TincVolume):
        return None
    finest_level = finest_data(data, arguments)
    if isinstance(finest_level, LazyArray):
        shown_volume, finest_of_file = finest_level.volume, volume.levels[0]
        same_volume = isinstance(shown_volume, DisplayVolume) and shown_volume.of is volume
        uncut = (finest_level.factor, finest_level.axes) == (finest_of_file.factor, finest_of_file.axes)
        same = same_volume and uncut
    else:
        same = (
            isinstance(data, np.ndarray)
            and (data.shape, data.dtype) == (volume.shape, volume.header.dtype)
            and checksum_of(data) == metadata.get(CHECKSUM)
        )
    return volume if same else None


def finest_level(layer: Any) -> Any:
    """Return the data of a layer at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def finest_data(data: Any, arguments: Mapping[str, Any]) -> Any:
    """Return the data at full resolution, from a layer's data and arguments."""
    return data[0] if arguments.get("multiscale") else data


def edited_message(layer: Any) -> str:
    """Return a message for a layer whose data was changed since it was decoded; "" if it was not."""
    same = unmodified_volume(*layer.as_layer_data_tuple()[:2]) is not None
    return "" if same else f"{layer.name} was changed since it was decoded. Save it, and open the saved file."


def checksum_of(array: NDArray[Any]) -> int:
    """Return the CRC-32 of the bytes of an array."""
    return zlib.crc32(np.ascontiguousarray(array).data)
