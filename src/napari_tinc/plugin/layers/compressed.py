"""Which layer is a compressed image, which are overlays of one, and why another is refused."""

from __future__ import annotations

import math
from typing import Any

from napari.layers import Image, Labels, Layer

from .origin import VOLUME, finest_level

OVERLAY = "tinc_overlay_of"  # in an overlay's metadata: a weak reference to its image layer


def compressed_image(viewer: Any, layer: Layer | None) -> Image | Labels | None:
    """The layer itself if it shows a compressed volume, or the one that it is an overlay of, if that is still there."""
    if layer is not None and OVERLAY in layer.metadata:
        layer = layer.metadata[OVERLAY]()
    if not (isinstance(layer, Image | Labels) and VOLUME in layer.metadata and layer in viewer.layers):
        return None
    return layer if layer.metadata[VOLUME].ndim == 3 and not why_not_comparable(layer) else None


def why_not_comparable(layer: Layer | None) -> str:
    """Why leaves and comparisons are not for a layer, or "" where they may be."""
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
