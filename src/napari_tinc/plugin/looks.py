"""What a compressed copy, or a preview of it, takes over from the layer it is made from. Layers only, no Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image

from ..pipeline import Preview

# Of the original layer, for its compressed copy to look the same at the same place.
PLACE = ("affine", "axis_labels", "rotate", "scale", "shear", "translate", "units")
LOOK = (
    "attenuation", "blending", "colormap", "contrast_limits", "depiction", "gamma", "interpolation2d",
    "interpolation3d", "iso_threshold", "opacity", "rendering",
)  # fmt: skip


def look_of(layer: Image) -> dict[str, Any]:
    """Arguments for the layer of one of its volumes: all of them for one volume, the last three axes of several."""
    state = layer.as_layer_data_tuple()[1]
    if layer.rgb:
        return {key: state[key] for key in PLACE}
    if layer.ndim == 3:
        return {key: state[key] for key in (*PLACE, *LOOK)}
    place = {key: tuple(state[key])[-3:] for key in ("axis_labels", "scale", "translate", "units")}
    return place | {key: state[key] for key in LOOK}


def preview_layer(name: str, look: dict[str, Any], preview: Preview) -> Image:
    """What has been learnt so far, in its place."""
    factor = preview.factor
    scale = np.asarray(look["scale"], float)
    # The centre of the first cell lies (factor - 1) / 2 voxels inside.
    inward = np.asarray(look.get("rotate", np.eye(3))) @ (scale * (factor - 1) / 2)
    place = {"scale": scale * factor, "translate": np.asarray(look["translate"]) + inward}
    low, high = float(preview.values.min()), float(preview.values.max())
    limits = {"contrast_limits": (low, high if high > low else low + 1)}
    return Image(preview.values, name=name, **limits | look | place)
