"""What of a layer's place, look and name a new file keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...decoding.volume import TincVolume
from .geometry import Geometry, geometry, placement_like, shown_arguments
from .origin import NAME, VOLUME, base_name, finest_data

MOST_VOXELS = 2**26  # Of a larger array the range of values is not looked up.


def compressing_geometry(data: Any, arguments: Mapping[str, Any]) -> Geometry:
    """Return place and look of a layer that is compressed.

    Contrast limits that are the range of the values are left out: an opened file has them anyway. A place in the space
    of a body stays one, where the layer came from a file.
    """
    found = geometry(arguments)
    details = found.details
    finest = finest_data(data, arguments)
    if details.limits is not None and isinstance(finest, np.ndarray) and finest.size <= MOST_VOXELS:
        finite = finest[np.isfinite(finest)] if finest.dtype.kind == "f" else finest
        if finite.size and details.limits == (float(finite.min()), float(finite.max())):
            details = replace(details, limits=None)
    if (arguments.get("rgb") or finest.ndim > 3) and details.limits is not None:
        details = replace(details, limits=None)  # those of one of several volumes
    placement, source = found.placement, (arguments.get("metadata") or {}).get(VOLUME)
    if isinstance(source, TincVolume):
        placement = placement_like(source, found, geometry(shown_arguments(source)))
    return replace(found, details=details, placement=placement)


def named(wanted: Geometry, arguments: Mapping[str, Any], stem: str) -> Geometry:
    """Add the name of the layer, unless the file has it (without suffix: ``stem``), or it is that of another file."""
    name, metadata = base_name(str(arguments.get("name") or "")), arguments.get("metadata") or {}
    if name == metadata.get(NAME) and isinstance(metadata.get(VOLUME), TincVolume):
        name = metadata[VOLUME].details.name
    return replace(wanted, details=replace(wanted.details, name="" if name == stem else name))
