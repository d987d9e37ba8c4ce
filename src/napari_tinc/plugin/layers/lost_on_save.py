"""What is lost when a layer is saved: a ``.tinc`` file keeps neither its position nor its colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...decoding.volume import TincVolume

SAME_LIMIT = 0.01  # Contrast limits that differ by less than this share of the range of values count as the same.


def lost_on_save(arguments: Mapping[str, Any], volume: TincVolume, *, with_appearance: bool = True) -> str:
    """Say in one line what of a layer's arguments a file does not keep; "" if it keeps all that matters."""
    placement, appearance = _lost_placement(arguments), _lost_appearance(arguments, volume) if with_appearance else []
    lines = []
    if placement:
        lines.append(f"The file does not keep {_join_words(placement)}: opened again, the layer lies elsewhere.")
    if appearance:
        lines.append(f"{'Nor does it' if placement else 'The file does not'} keep {_join_words(appearance)}.")
    return " ".join(lines)


def _lost_placement(arguments: Mapping[str, Any]) -> list[str]:
    """Name the arguments that move, turn or flip a layer."""
    changed = [name for name in ("translate", "shear") if np.any(np.asarray(arguments.get(name, 0.0), float))]
    changed += [name for name in ("rotate", "affine") if not _is_identity(arguments.get(name))]
    if np.any(np.asarray(arguments.get("scale", 1.0), float) < 0):
        changed.append("the flip by a negative scale")
    return changed


def _lost_appearance(arguments: Mapping[str, Any], volume: TincVolume) -> list[str]:
    """Name the arguments that make a layer look different from the opened file."""
    if "contrast_limits" not in arguments:  # Labels have the same colours in every layer.
        return []
    changed = [] if _colormap_name(arguments.get("colormap")) in ("", "gray") else ["the colormap"]
    low, high = map(float, volume.value_range)
    limits = arguments["contrast_limits"]
    if limits is not None and not np.allclose(limits, (low, high), rtol=0, atol=SAME_LIMIT * (high - low)):
        changed.append("contrast limits")
    return changed if arguments.get("gamma", 1.0) == 1.0 else [*changed, "gamma"]


def _is_identity(value: Any) -> bool:
    """Tell whether a rotation or affine transform changes nothing."""
    matrix = np.asarray(0.0 if value is None else value, float)
    return bool(np.allclose(matrix, np.eye(len(matrix)))) if matrix.ndim == 2 else not matrix.any()


def _colormap_name(colormap: Any) -> str:
    """Return the name of a colormap in any of the forms that napari gives it."""
    if isinstance(colormap, Mapping):
        return str(colormap.get("name", ""))
    return str(getattr(colormap, "name", colormap or ""))


def _join_words(words: list[str]) -> str:
    """Join words with commas and a last "and"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
