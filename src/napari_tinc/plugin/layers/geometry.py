"""Place and look of a layer, as far as a file can keep them; and a file that has those of its layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...decoding.volume import TincVolume
from ...format.details import Details
from ...format.placement import Placement
from .looks import look_arguments, look_of
from .units import factors_to, known_unit

UNIT_SCALE = (1.0, 1.0, 1.0)  # The scale of a layer whose spacing is not known.
SAME = 1e-9  # Numbers of a place that differ by a smaller share count as the same.


@dataclass(frozen=True, slots=True)
class Geometry:
    """Hold place and look of a layer.

    Attributes
    ----------
    spacing : edges of a voxel along z, y, x in ``units`` (None for pixels).
    axis_labels : a letter for each axis.
    placement : where the voxels lie; None if they begin at 0 and the axes are not turned.
    details : time step, contrast limits, colormap, gamma, name.
    """

    spacing: tuple[float, float, float]
    units: str | None
    axis_labels: str
    placement: Placement | None = None
    details: Details = field(default_factory=Details)


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Return place and look of a layer's last three axes, as far as a file can hold them.

    Axes of different units are converted to that of x. If that is not possible, the result has no unit. A file has
    labels of one letter; others become zyx.
    """
    scale = arguments.get("scale")
    sizes = [abs(float(size)) for size in (UNIT_SCALE if scale is None else scale)][-3:]
    matrix = world_matrix(arguments)[0]
    units = list(arguments.get("units") or ())[-3:]
    name = known_unit(units[-1]) if units else None
    if name is not None and len({str(unit) for unit in units}) > 1:
        factors = factors_to(units, name)
        if factors is None:
            name = None
        else:
            sizes = [size * factor for size, factor in zip(sizes, factors, strict=True)]
            matrix[:3] *= np.array(factors)[:, None]
    labels = [str(label) for label in arguments.get("axis_labels") or ()][-3:]
    one_letter_each = len(labels) == 3 == len(set(labels)) and all(len(label) == 1 for label in labels)
    z, y, x = sizes
    details = replace(look_of(arguments), time=_time_step(arguments))
    return Geometry((z, y, x), name, "".join(labels) if one_letter_each else "zyx", _placement(matrix, sizes), details)


def world_matrix(arguments: Mapping[str, Any]) -> tuple[NDArray[np.float64], bool]:
    """Return the matrix (4, 4) that takes voxel z, y, x of a layer to its world.

    Returns
    -------
    The matrix, and whether it is all of the layer's transform: not if other axes are turned, or moved.
    """
    from napari.utils.transforms import Affine

    affine = arguments.get("affine")
    affine = None if affine is None else np.asarray(getattr(affine, "affine_matrix", affine), np.float64)
    scale = arguments.get("scale")
    ndim = len(scale) if scale is not None else len(affine) - 1 if affine is not None else 3
    given = {name: arguments[name] for name in ("translate", "rotate", "shear") if arguments.get(name) is not None}
    matrix = Affine(scale=(1.0,) * ndim if scale is None else scale, ndim=ndim, **given).affine_matrix
    if affine is not None:
        matrix = affine @ matrix
    matrix = np.asarray(matrix, np.float64)
    last = range(ndim - 3, ndim + 1)
    others = [axis for axis in range(ndim - 3) if matrix[axis, -1] or np.count_nonzero(matrix[axis, :-1]) > 1]
    apart = not matrix[np.ix_(range(ndim - 3, ndim), range(ndim - 3))].any()
    return matrix[np.ix_(last, last)].copy(), apart and not others


def place_arguments(volume: TincVolume) -> dict[str, Any]:
    """Return scale, translate, affine, units and labels of the layer that shows a volume."""
    leading = volume.ndim - 3
    arguments: dict[str, Any] = {
        "scale": (*_leading_scale(volume), *volume.spacing), "axis_labels": tuple(volume.axis_labels),
    }  # fmt: skip
    length = known_unit(volume.units)
    time = volume.details.time
    time_unit = None if time is None else known_unit(time[1], "second")
    if length or time_unit:
        letters = volume.axis_labels[:-3]
        arguments["units"] = (
            *(time_unit if letter == "t" and time_unit else "pixel" for letter in letters), *(length or "pixel",) * 3
        )  # fmt: skip
    if volume.placement is None:
        return arguments
    matrix = volume.placement.matrix
    diagonal = np.diag(matrix)[:3]
    if np.array_equal(matrix[:3, :3], np.diag(diagonal)):  # then a layer of two axes can be drawn, too
        arguments["scale"] = (*arguments["scale"][:leading], *diagonal.tolist())
        arguments["translate"] = (0.0,) * leading + tuple(matrix[:3, 3].tolist())
        return arguments
    affine = np.eye(volume.ndim + 1)
    affine[leading:, leading:] = matrix @ np.diag([*(1 / np.array(volume.spacing)), 1.0])
    return arguments | {"affine": affine}


def shown_arguments(volume: TincVolume) -> dict[str, Any]:
    """Return the arguments of the layer that shows a volume which is no channel: its place, and its look."""
    arguments = place_arguments(volume)
    if not volume.labels:
        low, high = map(float, volume.value_range)
        # napari demands that they differ
        arguments["contrast_limits"] = (low, high) if low < high else (min(low, 0.0), max(high, 1.0))
    return arguments | look_arguments(volume.details, labels=volume.labels)


def with_geometry(volume: TincVolume, wanted: Geometry, *, keeps_look: bool = True) -> TincVolume:
    """Return a compressed volume with another place and look; itself if nothing differs.

    A place in the space of a body stays one.

    Parameters
    ----------
    keeps_look : whether contrast limits, colormap and gamma stay those of the volume, as of several channels.
    """
    labels = volume.axis_labels[:-3] + wanted.axis_labels[-3:]
    if len(set(labels)) < len(labels):
        labels = volume.axis_labels
    now = geometry(shown_arguments(volume))
    details = volume.details
    if not keeps_look:
        details = replace(wanted.details, name=wanted.details.name or details.name)
        if details.limits == now.details.limits:
            details = replace(details, limits=volume.details.limits)
        if wanted.details.time == now.details.time:
            details = replace(details, time=volume.details.time)
    placement = placement_like(volume, wanted, now)
    same = (
        np.allclose(volume.spacing, wanted.spacing, rtol=SAME, atol=0)
        and known_unit(volume.units) == wanted.units
        and volume.axis_labels == labels
        and placement == volume.placement
        and details == volume.details
    )
    if same:
        return volume
    spacing = None if wanted.spacing == UNIT_SCALE and wanted.units is None and not placement else wanted.spacing
    return volume.rewritten(
        spacing=spacing, units=wanted.units, axis_labels=labels, placement=placement, details=details
    )


def placement_like(volume: TincVolume, wanted: Geometry, now: Geometry) -> Placement | None:
    """Return the place that is wanted, in the space of the volume; its own if they are the same."""
    old = volume.placement
    if old is None:
        return wanted.placement
    matrix, matrix_now = (
        np.diag([*each.spacing, 1.0]) if each.placement is None else each.placement.matrix for each in (wanted, now)
    )
    if np.allclose(matrix, matrix_now, rtol=SAME, atol=SAME * min(wanted.spacing)):
        return old
    return Placement(affine=matrix.tolist(), space=old.space, sform_code=old.sform_code or old.qform_code)


def _placement(matrix: NDArray[np.float64], sizes: Sequence[float]) -> Placement | None:
    """Return the placement of a matrix; None if it only scales, or flattens the volume."""
    if np.allclose(matrix, np.diag([*sizes, 1.0]), rtol=SAME, atol=SAME * min(sizes)):
        return None
    try:
        return Placement(affine=matrix.tolist())
    except ValueError:
        return None


def _leading_scale(volume: TincVolume) -> tuple[float, ...]:
    """Return the scale of the axes before z, y, x: the time step, and 1."""
    step = 1.0 if volume.details.time is None else volume.details.time[0]
    return tuple(step if letter == "t" and step > 0 else 1.0 for letter in volume.axis_labels[:-3])


def _time_step(arguments: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return the time step of an axis t; None if there is none, or nothing is known of it."""
    labels = [str(label) for label in arguments.get("axis_labels") or ()][:-3]
    if "t" not in labels:
        return None
    at = labels.index("t")
    step = float(np.abs(np.asarray(arguments.get("scale", np.ones(len(labels))), float))[at])
    unit = known_unit((list(arguments.get("units") or ()) or [None] * (at + 1))[at], "second")
    return None if step == 1 and unit is None else (step, unit or "")
