"""Masks of a volume from Labels and Shapes layers: what is kept exactly, or is important. No Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels, Shapes
from numpy.typing import NDArray

from ..layers.compressed import OVERLAY
from ..layers.origin import VOLUME
from ..layers.to_volumes import volumes_of

PLANE_WIDTH = 0.5  # Shapes whose corners are nearer along an axis, in voxels, lie in a slice across it.


def region_layers(viewer: Any) -> list[Labels | Shapes]:
    """Return the layers that can mark a region: Labels and Shapes, without overlays and compressed copies."""
    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Labels | Shapes) and not {OVERLAY, VOLUME} & layer.metadata.keys()
    ]


def mask_of(layer: Labels | Shapes, image: Any, label: str = "") -> NDArray[np.bool_]:
    """Return which voxels of an image layer a layer marks, as (z, y, x), or with all axes of the image.

    Labels mark every voxel that is not 0. Shapes mark their inside, in the slices from the first to the last with a
    shape; in all slices, if all shapes lie in one.

    Parameters
    ----------
    label : the name of one of the volumes of the image, whose mask is wanted; "" for all.

    Raises
    ------
    ValueError
        If the layer does not lie on the image, or marks nothing.
    """
    shape = tuple(image.data.shape if not image.multiscale else image.data[0].shape)
    shape = shape[:-1] if getattr(image, "rgb", False) else shape
    mask = (
        _mask_of_labels(layer, image, shape, label)
        if isinstance(layer, Labels)
        else _mask_of_shapes(layer, image, shape)
    )
    if not mask.any():
        raise ValueError(f"{layer.name} marks no voxel of {image.name}: paint a label, or draw a shape on the image")
    return mask


def _mask_of_labels(layer: Labels, image: Any, shape: tuple[int, ...], label: str) -> NDArray[np.bool_]:
    data: Any = layer.data[0] if layer.multiscale else layer.data
    found = tuple(data.shape)
    if found not in (shape, shape[-3:]):
        raise ValueError(f"{layer.name} has the shape {found}, expected that of {image.name}: {shape}")
    for name in ("scale", "translate"):
        one, other = (np.asarray(getattr(each, name), float)[-3:] for each in (layer, image))
        if not np.allclose(one, other, rtol=1e-6, atol=1e-9):
            raise ValueError(
                f"{layer.name} has the {name} {one.tolist()}, expected that of {image.name}: {other.tolist()}"
            )
    if label and len(found) > 3:
        volumes = dict(volumes_of(data, {"name": layer.name, "multiscale": False}))
        data = volumes.get(label, data)
    return np.asarray(data) != 0


def _mask_of_shapes(layer: Shapes, image: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    kinds, corners = [], []
    for kind, points in zip(layer.shape_type, layer.data, strict=True):
        if kind in ("rectangle", "ellipse", "polygon"):
            world = np.array([layer.data_to_world(point) for point in points])[:, -3:]
            filler = np.zeros((len(world), image.ndim - world.shape[1]))
            voxels = np.array([image.world_to_data(point) for point in np.hstack([filler, world])])
            kinds.append(kind)
            corners.append(voxels[:, -world.shape[1] :])
    space, n = shape[-3:], min([3, *(points.shape[1] for points in corners)])
    if not corners:
        return np.zeros(space, bool)
    if n == 2:
        return np.broadcast_to(_drawn(corners, kinds, space[1:]), space)
    across = [axis for axis in range(3) if all(np.ptp(points[:, axis]) < PLANE_WIDTH for points in corners)]
    if not across:
        raise ValueError(f"shapes of {layer.name} lie in slices of different directions, expected one direction")
    axis = across[0]
    slices = [round(float(points[:, axis].mean())) for points in corners]
    first, last = (min(slices), max(slices)) if len(set(slices)) > 1 else (0, space[axis] - 1)
    plane = _drawn([np.delete(points, axis, axis=1) for points in corners], kinds, np.delete(space, axis).tolist())
    mask = np.zeros(space, bool)
    within = tuple(slice(max(0, first), last + 1) if at == axis else slice(None) for at in range(3))
    mask[within] = np.expand_dims(plane, axis)
    return mask


def _drawn(corners: list[NDArray[np.float64]], kinds: list[str], shape: Any) -> NDArray[np.bool_]:
    """Return which pixels of a plane are inside any of some shapes."""
    layer = Shapes(corners, shape_type=kinds, ndim=2)
    return np.asarray(layer.to_labels(tuple(shape))) > 0


def describe_region(mask: NDArray[np.bool_], size: int) -> str:
    """Say how many voxels a mask has: "41,000 voxels (12 % of the volume)"."""
    n = int(np.count_nonzero(mask)) * (size // mask.size)
    share = 100 * n / size
    return (
        f"{n:,} voxels ({share:.0f} % of the volume)" if share >= 1 else f"{n:,} voxels ({share:.2g} % of the volume)"
    )
