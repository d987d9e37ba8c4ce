"""Tell compressed layers from their overlays and from others, and say why some cannot be compared."""

from __future__ import annotations

import math
from typing import Any

from napari.layers import Image, Labels, Layer

from .origin import VOLUME, finest_level

NONE_SELECTED = "Select a layer that was opened from a .tinc file, or made by Compress."
OVERLAY = "tinc_overlay_of"  # Key in the metadata of an overlay: a weak reference to its compressed layer.


def compressed_layer(viewer: Any, layer: Layer | None) -> Image | Labels | None:
    """Return a layer that shows a compressed volume: ``layer``, or the one that it is an overlay of; else None."""
    if layer is not None and OVERLAY in layer.metadata:
        layer = layer.metadata[OVERLAY]()
    is_compressed = isinstance(layer, Image | Labels) and VOLUME in layer.metadata and layer in viewer.layers
    return layer if is_compressed else None


def compressed_image(viewer: Any, layer: Layer | None) -> Image | Labels | None:
    """Return what :func:`compressed_layer` does if its volume is 3D and has leaves; else None."""
    found = compressed_layer(viewer, layer)
    is_single = found is not None and found.metadata[VOLUME].ndim == 3 and not why_not_comparable(found)
    return found if is_single else None


def why_not_comparable(layer: Layer | None) -> str:
    """Say why a compressed layer has neither leaves nor comparisons; "" if it has, or was never compressed."""
    if not isinstance(layer, Image | Labels) or VOLUME not in layer.metadata:
        return ""
    volume = layer.metadata[VOLUME]
    if (shape := tuple(finest_level(layer).shape)) != volume.shape:  # napari's projections and stacks keep metadata
        return f"{layer.name} is {shape}, and no longer the volume {volume.shape} that it was made from"
    if volume.ndim == 3:
        return ""
    count = math.prod(volume.shape[:-3])
    axes = ", ".join(volume.axis_labels)
    return f"{layer.name} holds {count} volumes (axes {axes}): compress one by itself to see its leaves or compare it"
