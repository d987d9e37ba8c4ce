"""Where an OME-Zarr image lies, and how it looks, in the words of this package."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...format import placement as world
from ...format.details import Details
from ..image import COLOR
from ..read_options import say
from ..units import UNITS, unit_name
from .metadata import Placement

Window = tuple[float, float]


def world_of(placement: Placement) -> world.Placement | None:
    """Return where the voxels lie, in the unit of x; None if the image begins at 0."""
    if not any(placement.origin.get(letter) for letter in "ZYX"):
        return None
    sizes = [placement.sizes.get(letter, (None, None)) for letter in "ZYX"]
    metres = [UNITS[name][1] if (name := unit_name(unit)) else math.nan for _, unit in sizes]
    alike = len({str(unit) for _, unit in sizes}) == 1
    factors = [1.0 if alike else each / metres[2] for each in metres]
    try:
        steps = [float(size) * factor for (size, _), factor in zip(sizes, factors, strict=True)]
        origin = [placement.origin[letter] * factor for letter, factor in zip("ZYX", factors, strict=True)]
        rows = [[*(steps[row] if row == column else 0.0 for column in range(3)), origin[row]] for row in range(3)]
        return world.Placement(affine=rows)
    except (KeyError, TypeError, ValueError):
        say("the translation of the image is not kept: its axes have no comparable sizes")
        return None


def details_of(
    placement: Placement, channels: Sequence[tuple[object, object]], windows: Sequence[Window | None]
) -> Details:  # fmt: skip
    """Return the time step; and contrast limits and color of an image of a single channel."""
    step, unit = placement.sizes.get("T", (None, None))
    try:
        time = (float(step), str(unit or "")) if step and float(step) > 0 and (unit or float(step) != 1) else None
    except (TypeError, ValueError):
        time = None
    if len(channels) != 1:
        return Details(time=time)
    color = COLOR.fullmatch(str(channels[0][1] or ""))
    tint = "" if color is None or color[1].lower() in ("ffffff", "808080") else f"#000000 #{color[1].lower()}"
    return Details(time=time, limits=windows[0] if len(windows) == 1 else None, colormap=tint)
