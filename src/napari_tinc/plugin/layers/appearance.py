"""What a compressed copy, or a preview of it, takes over from the layer it is made from. Layers only, no Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from ...events import Preview

# Of the original layer, for its compressed copy to look the same at the same place.
PLACE = ("affine", "axis_labels", "rotate", "scale", "shear", "translate", "units")
PLACE_PER_AXIS = ("axis_labels", "scale", "translate", "units")  # of these, what has a value an axis
APPEARANCE = (
    "attenuation", "blending", "colormap", "contrast_limits", "depiction", "gamma", "interpolation2d",
    "interpolation3d", "iso_threshold", "opacity", "rendering",
)  # fmt: skip


LABELS_APPEARANCE = ("blending", "colormap", "iso_gradient_mode", "opacity", "rendering")


def appearance_of(layer: Image | Labels) -> dict[str, Any]:
    """Arguments for the layer of one of its volumes: all of them for one volume, the last three axes of several."""
    state = layer.as_layer_data_tuple()[1]
    if _is_rgb(layer):
        return {key: state[key] for key in PLACE}
    return _place(state, range(layer.ndim)[-3:]) | _appearance(layer, state)


def appearance_of_all(layer: Image | Labels, labels: str) -> dict[str, Any]:
    """Arguments for the layers of all volumes, with the axes of an array that has these letters.

    Channels have colours of their own, and no axis.
    """
    state = layer.as_layer_data_tuple()[1]
    if _is_rgb(layer):
        return {key: state[key] for key in PLACE}
    split = not isinstance(layer, Labels) and not is_mask(layer)  # channels of names are a slider
    kept = [axis for axis, label in enumerate(labels) if label != "c" or axis >= len(labels) - 3 or not split]
    place = _place(state, kept) | {"axis_labels": tuple(labels[axis] for axis in kept)}
    return place if len(kept) < layer.ndim else place | _appearance(layer, state)


def is_mask(layer: Image | Labels) -> bool:
    """Whether its values are true or false, which are kept exactly, as labels are."""
    return np.dtype(layer.dtype) == np.dtype(bool)


def _is_rgb(layer: Image | Labels) -> bool:
    return isinstance(layer, Image) and layer.rgb


def _appearance(layer: Image | Labels, state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: state[key] for key in (LABELS_APPEARANCE if isinstance(layer, Labels) else APPEARANCE)}


def _place(state: Mapping[str, Any], axes: Sequence[int]) -> dict[str, Any]:
    """Where a layer is, along some of its axes; turned and sheared only where these are all of them."""
    if len(axes) == len(state["scale"]):
        return {key: state[key] for key in PLACE}
    return {key: tuple(state[key][axis] for axis in axes) for key in PLACE_PER_AXIS}


def preview_layer(name: str, look: dict[str, Any], preview: Preview) -> Image:
    """What has been learnt so far, in its place."""
    factor = preview.factor
    if len(look["scale"]) > 3:  # of several volumes it shows the first
        look = _place(look, range(len(look["scale"]))[-3:]) | {key: look[key] for key in APPEARANCE if key in look}
    scale = np.asarray(look["scale"], float)
    # The centre of the first cell lies (factor - 1) / 2 voxels inside.
    inward = np.asarray(look.get("rotate", np.eye(3))) @ (scale * (factor - 1) / 2)
    place = {"scale": scale * factor, "translate": np.asarray(look["translate"]) + inward}
    low, high = float(preview.values.min()), float(preview.values.max())
    limits = {"contrast_limits": (low, high if high > low else low + 1)}
    return Image(preview.values, name=name, **limits | look | place)
