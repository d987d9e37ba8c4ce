"""From which file a layer came, and whether it is still as it was."""

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

VOLUME, CHECKSUM, PROMISE = "tinc", "tinc_crc32", "tinc_promise"  # keys in a layer's metadata
SOURCE = "tinc_source"  # key in the metadata of a compressed copy: a weak reference to the layer it was made from
# What compressing adds to a layer's name, and what napari adds to that where a layer has the same name.
COPY_SUFFIX = re.compile(r"(?: \(tinc[^()]*\)(?: \[\d+\])?)+$")


def base_name(layer_name: str) -> str:
    """Strip what compressing adds to a layer's name: "brain" of "brain (tinc 64x)" and of "brain (tinc ±5) [1]"."""
    return COPY_SUFFIX.sub("", layer_name)


def source_of(layer: Any) -> Any:
    """Return the layer that a compressed copy was made from; None if there was none, or it no longer exists."""
    reference = layer.metadata.get(SOURCE)
    return None if reference is None else reference()


def is_copy(layer: Any, source: Any) -> bool:
    """Tell whether a layer shows a compressed copy of another: made from it, or of the same base name."""
    if layer is source or VOLUME not in layer.metadata:
        return False
    return source_of(layer) is source or base_name(layer.name) == base_name(source.name)


def unmodified_volume(data: Any, arguments: Mapping[str, Any]) -> TincVolume | None:
    """The volume that a layer's data was decoded from, if the data is still what was decoded."""
    metadata = arguments.get("metadata") or {}
    volume = metadata.get(VOLUME)
    if not isinstance(volume, TincVolume):
        return None
    finest_level = finest_data(data, arguments)
    if isinstance(finest_level, LazyArray):
        source, whole = finest_level.volume, volume.levels[0]
        seen = isinstance(source, DisplayVolume) and source.of is volume
        same = seen and (finest_level.factor, finest_level.axes) == (whole.factor, whole.axes)  # not flipped, for one
    else:
        same = (
            isinstance(data, np.ndarray)
            and (data.shape, data.dtype) == (volume.shape, volume.header.dtype)
            and checksum_of(data) == metadata.get(CHECKSUM)
        )
    return volume if same else None


def finest_level(layer: Any) -> Any:
    """Data of a layer at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def finest_data(data: Any, arguments: Mapping[str, Any]) -> Any:
    """The same of a layer's data and arguments."""
    return data[0] if arguments.get("multiscale") else data


def edited_message(layer: Any) -> str:
    """Why nothing is told of a layer whose data is no longer what its volume decodes to; "" where it is."""
    same = unmodified_volume(*layer.as_layer_data_tuple()[:2]) is not None
    return "" if same else f"{layer.name} was changed since it was decoded: save it, and open that"


def checksum_of(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)
