"""Place and look that a compressed copy, or its preview, takes over from its original. Layers only, no Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from ...events import Preview

# Arguments that say where a layer is.
PLACE = ("affine", "axis_labels", "rotate", "scale", "shear", "translate", "units")
PLACE_PER_AXIS = ("axis_labels", "scale", "translate", "units")  # Those of them that have one value per axis.
# Arguments that say how a layer looks.
APPEARANCE = (
    "attenuation", "blending", "colormap", "contrast_limits", "depiction", "gamma", "interpolation2d",
    "interpolation3d", "iso_threshold", "opacity", "rendering",
)  # fmt: skip
LABELS_APPEARANCE = ("blending", "colormap", "iso_gradient_mode", "opacity", "rendering")


def appearance_of(layer: Image | Labels) -> dict[str, Any]:
    """Return place and look of a layer for the copy of one of its volumes: for its last three axes."""
    state = layer.as_layer_data_tuple()[1]
    if _is_rgb(layer):
        return {key: state[key] for key in PLACE}
    return _place(state, range(layer.ndim)[-3:]) | _appearance(layer, state)


def appearance_of_all(layer: Image | Labels, labels: str) -> dict[str, Any]:
    """Return place and look of a layer for a copy of all its volumes, whose axes have the letters ``labels``.

    Channels become layers with their own colours, so they have no axis.
    """
    state = layer.as_layer_data_tuple()[1]
    if _is_rgb(layer):
        return {key: state[key] for key in PLACE}
    split = not isinstance(layer, Labels) and not is_mask(layer)  # Channels of labels are a slider.
    axes = [axis for axis, label in enumerate(labels) if label != "c" or axis >= len(labels) - 3 or not split]
    place = _place(state, axes) | {"axis_labels": tuple(labels[axis] for axis in axes)}
    return place if len(axes) < layer.ndim else place | _appearance(layer, state)


def is_mask(layer: Image | Labels) -> bool:
    """Tell whether the values of a layer are true or false. They are kept bit for bit, as labels are."""
    return np.dtype(layer.dtype) == np.dtype(bool)


def _is_rgb(layer: Image | Labels) -> bool:
    return isinstance(layer, Image) and layer.rgb


def _appearance(layer: Image | Labels, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a layer looks."""
    return {key: state[key] for key in (LABELS_APPEARANCE if isinstance(layer, Labels) else APPEARANCE)}


def _place(state: Mapping[str, Any], axes: Sequence[int]) -> dict[str, Any]:
    """Return where a layer is along some of its axes; with rotation and shear only if these are all its axes."""
    if len(axes) == len(state["scale"]):
        return {key: state[key] for key in PLACE}
    return {key: tuple(state[key][axis] for axis in axes) for key in PLACE_PER_AXIS}


def preview_layer(name: str, appearance: dict[str, Any], preview: Preview) -> Image:
    """Make the layer that shows what has been learnt so far, at the place of its original."""
    factor = preview.factor
    if len(appearance["scale"]) > 3:  # It shows the first of several volumes.
        appearance = _place(appearance, range(len(appearance["scale"]))[-3:]) | {
            key: appearance[key] for key in APPEARANCE if key in appearance
        }
    scale = np.asarray(appearance["scale"], float)
    # The centre of the first cell lies (factor - 1) / 2 voxels from that of the first voxel.
    to_first_centre = np.asarray(appearance.get("rotate", np.eye(3))) @ (scale * (factor - 1) / 2)
    place = {"scale": scale * factor, "translate": np.asarray(appearance["translate"]) + to_first_centre}
    low, high = float(preview.values.min()), float(preview.values.max())
    limits = {"contrast_limits": (low, high if high > low else low + 1)}
    return Image(preview.values, name=name, **limits | appearance | place)
