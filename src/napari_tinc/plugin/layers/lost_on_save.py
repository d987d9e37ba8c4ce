"""What is lost when a layer is saved: what a ``.tinc`` file has no place for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .geometry import world_matrix
from .looks import colormap_text


def lost_on_save(arguments: Mapping[str, Any], *, with_appearance: bool = True) -> str:
    """Say in one line what of a layer's arguments a file does not keep; "" if it keeps all that matters."""
    lines = []
    if not world_matrix(arguments)[1]:
        lines.append("The file keeps the place along z, y, x only: along its other axes the layer lies elsewhere.")
    if with_appearance and "contrast_limits" in arguments and colormap_text(arguments.get("colormap")) is None:
        lines.append("The file does not keep the colormap.")
    return " ".join(lines)
