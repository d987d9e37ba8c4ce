"""How a layer looks, as far as a file can keep it: contrast limits, colormap, gamma, names and colours of labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ...format.details import Details
from ...texts import hex_of

# Settings that a file keeps if they are not the usual ones.
LOOK = ("attenuation", "blending", "depiction", "interpolation2d", "interpolation3d", "rendering")
USUAL_OPACITY_OF_LABELS = 0.7
MOST_COLORS = 32  # Colormaps of more colours are kept by their name or not at all.
COLORS_ARE_SAME = 2e-3  # Colours that differ by less than half a step of 8 bits count as the same.


def look_of(arguments: Mapping[str, Any]) -> Details:
    """Return the look of a layer. What is usual is left out."""
    if "contrast_limits" not in arguments:
        look, opacity = _unusual(arguments, labels=True), _opacity(arguments, labels=True)
        return Details(objects=_objects(arguments), look=look, opacity=opacity)
    limits = arguments["contrast_limits"]
    gamma = float(arguments.get("gamma", 1.0))
    return Details(
        limits=None if limits is None else (float(limits[0]), float(limits[1])),
        colormap=colormap_text(arguments.get("colormap")) or "", gamma=None if gamma == 1 else gamma,
        opacity=_opacity(arguments, labels=False), look=_unusual(arguments, labels=False),
    )  # fmt: skip


def look_arguments(details: Details, *, labels: bool) -> dict[str, Any]:
    """Return the arguments of a layer that looks as the details of a file say."""
    usual = _usual(labels) if details.look else {}
    arguments: dict[str, Any] = {key: value for key, value in details.look.items() if key in usual}
    if details.opacity is not None and 0 <= details.opacity <= 1:
        arguments["opacity"] = details.opacity
    if labels:
        return arguments | _objects_arguments(details)
    if details.limits is not None and details.limits[0] < details.limits[1]:
        arguments["contrast_limits"] = details.limits
    if details.colormap and (colormap := _colormap(details.colormap)) is not None:
        arguments["colormap"] = colormap
    if details.gamma is not None and details.gamma > 0:
        arguments["gamma"] = details.gamma
    return arguments


def colormap_text(colormap: Any) -> str | None:
    """Return the name of a colormap, or its colours; "" for the usual one, None if a file cannot keep it."""
    from napari.utils.colormaps import ALL_COLORMAPS, ensure_colormap  # without those that were added since

    if colormap is None:
        return ""
    state = dict(colormap) if isinstance(colormap, Mapping) else _state(colormap)
    if isinstance(state, str):
        return "" if state == "gray" else state
    name, colors = str(state.get("name", "")), np.asarray(state.get("colors", ()), float)
    if not len(colors):
        return "" if name == "gray" else name
    known = np.asarray(ensure_colormap(name).colors if name in ALL_COLORMAPS else np.zeros((0, 4)), float)
    if known.shape == colors.shape and np.allclose(known, colors, atol=COLORS_ARE_SAME):
        return "" if name == "gray" else name
    controls = np.asarray(state.get("controls", ()), float)
    even = not len(controls) or np.allclose(controls, np.linspace(0, 1, len(controls)))
    linear = str(getattr(state.get("interpolation"), "value", state.get("interpolation", "linear"))) == "linear"
    return " ".join(map(hex_of, colors)) if len(colors) <= MOST_COLORS and even and linear else None


def _state(colormap: Any) -> Any:
    """Return a colormap's fields, or its name."""
    return {key: getattr(colormap, key) for key in ("name", "colors", "controls", "interpolation")} if hasattr(
        colormap, "colors"
    ) else str(getattr(colormap, "name", colormap))  # fmt: skip


def _colormap(text: str) -> Any:
    """Return the colormap of a text of :func:`colormap_text`; None if napari does not know it."""
    from napari.utils import Colormap
    from napari.utils.colormaps import ensure_colormap

    try:
        if not text.startswith("#"):
            return ensure_colormap(text)
        colors = [_rgba(color) for color in text.split()]
        return Colormap(colors if len(colors) > 1 else [[0, 0, 0, 1], *colors], name=text.split()[-1])
    except (KeyError, TypeError, ValueError):
        return None


def _rgba(color: str) -> list[float]:
    """Return a color "#rrggbb" or "#rrggbbaa" as four numbers."""
    return [int((color + "ff")[at : at + 2], 16) / 255 for at in (1, 3, 5, 7)]


@cache
def _usual(labels: bool) -> dict[str, Any]:
    """Return the settings of a new layer."""
    from napari.layers import Image, Labels

    layer = Labels(np.zeros((1, 1, 1), np.uint8)) if labels else Image(np.zeros((1, 1, 1), np.uint8))
    state = layer.as_layer_data_tuple()[1]
    return {key: _plain(state[key]) for key in LOOK if key in state}


def _unusual(arguments: Mapping[str, Any], *, labels: bool) -> dict[str, Any]:
    """Return the settings that a new layer does not have."""
    usual = _usual(labels)
    given = {key: _plain(arguments[key]) for key in usual if key in arguments}
    return {key: value for key, value in given.items() if value != usual[key] and value is not None}


def _opacity(arguments: Mapping[str, Any], *, labels: bool) -> float | None:
    """Return the opacity; None for that of a new layer."""
    usual = USUAL_OPACITY_OF_LABELS if labels else 1.0
    opacity = float(arguments.get("opacity", usual))
    return None if opacity == usual else opacity


def _plain(value: Any) -> Any:
    """Return a number or a text."""
    value = getattr(value, "value", value)
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str | int | float | bool) else None


def _objects(arguments: Mapping[str, Any]) -> tuple[tuple[int, str, str], ...]:
    """Return names and colours that were given to labels."""
    colors = getattr(arguments.get("colormap"), "color_dict", None)
    if colors is None and isinstance(arguments.get("colormap"), Mapping):
        colors = arguments["colormap"].get("color_dict")
    colors = {label: hex_of(color) for label, color in (colors or {}).items() if label}
    features = arguments.get("features")
    names: dict[int, str] = {}
    if features is not None and {"index", "name"} <= set(features):
        names = {int(label): str(name) for label, name in zip(features["index"], features["name"], strict=True)}
    return tuple((int(label), names.get(label, ""), colors.get(label, "")) for label in sorted({*colors, *names}))


def _objects_arguments(details: Details) -> dict[str, Any]:
    """Return the colormap and the table of names of labels."""
    arguments: dict[str, Any] = {}
    colors: dict[int | None, list[float]] = {
        label: _rgba(color) for label, _, color in details.objects if color.startswith("#")
    }
    if colors:
        from napari.utils.colormaps import DirectLabelColormap

        colors_of_labels = {None: [0.5, 0.5, 0.5, 1], 0: [0, 0, 0, 0], **colors}
        arguments["colormap"] = DirectLabelColormap(color_dict=colors_of_labels)
    if any(name for _, name, _ in details.objects):
        arguments["features"] = {"index": [label for label, *_ in details.objects],
                                 "name": [name for _, name, _ in details.objects]}  # fmt: skip
    return arguments
