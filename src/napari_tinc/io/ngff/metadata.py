"""What the metadata of an OME-Zarr image say, in the versions 0.1 to 0.6. Nothing here opens a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..image import default_axes
from ..read_options import say
from ..units import Size

AXES_OF_OLD_IMAGES = "TCZYX"  # Versions 0.1 and 0.2 name no axes: these are prescribed.

_KNOWN_VERSION = re.compile(r"0\.[1-6](?![0-9]).*", re.DOTALL)
_LETTERS = {
    **{letter: letter.upper() for letter in "tczyx"},
    **dict.fromkeys(("time",), "T"),
    **dict.fromkeys(("channel", "channels"), "C"),
    **dict.fromkeys(("depth", "level", "lev", "altitude", "plane", "slice"), "Z"),
    **dict.fromkeys(("lat", "latitude", "row"), "Y"),
    **dict.fromkeys(("lon", "longitude", "column", "col"), "X"),
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the voxels of a level lie.

    Attributes
    ----------
    axes : an upper-case letter for each axis.
    sizes : size of a voxel and its unit, by the letter of the axis; empty if the image does not say.
    origin : coordinate of the first voxel in the same unit, by letter; empty if the image does not say.
    """

    axes: str
    sizes: Mapping[str, Size]
    origin: Mapping[str, float]


def multiscales_of(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the images of a group, the first one first; an empty list if it has none.

    Raises
    ------
    ValueError
        If they are of a version that is not known, or are not as any version has them.
    """
    images = attributes.get("multiscales") or []
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise ValueError("its OME-Zarr metadata are damaged: multiscales is not a list of objects")
    for image in images:
        version = str(image.get("version") or attributes.get("version") or "")
        if version and not _KNOWN_VERSION.fullmatch(version):
            raise ValueError(f"it is OME-Zarr of version {version}; expected 0.1 to 0.6: convert it to version 0.5")
        if not level_paths(image):
            raise ValueError("its OME-Zarr metadata are damaged: the image names no levels")
    return images


def level_paths(image: Mapping[str, Any]) -> list[str]:
    """Return the paths of the levels of an image, the finest first."""
    levels = image.get("datasets")
    if not isinstance(levels, list):
        return []
    return [level["path"] for level in levels if isinstance(level, dict) and isinstance(level.get("path"), str)]


def placement_of(image: Mapping[str, Any], path: str, ndim: int) -> Placement:
    """Return the axes of a level of an image, and where its voxels lie. A warning tells of sizes that are not usable.

    Raises
    ------
    ValueError
        If the image names another number of axes than the array has.
    """
    level = next(level for level in image["datasets"] if level.get("path") == path)
    steps = [*_steps(level), *_steps(image)] if "coordinateSystems" not in image else _steps(level)
    entries = _axis_entries(image, steps)
    if entries is None:
        return Placement(AXES_OF_OLD_IMAGES if ndim == 5 else default_axes((2,) * ndim), {}, {})
    if len(entries) != ndim:
        raise ValueError(f"its OME-Zarr metadata name {len(entries)} axes, expected {ndim}, as array {path} has")
    axes = letters_of([str(entry.get("name", "")) for entry in entries], [entry.get("type") for entry in entries])
    try:
        scale, origin = _folded(steps, ndim)
    except (TypeError, ValueError) as error:
        say(f"spacing is left out: {error}")
        return Placement(axes, {}, {})
    units = [entry.get("unit") for entry in entries]
    if scale is not None and (scale < 0).any():
        mirrored = ", ".join(axis.lower() for axis, step in zip(axes, scale, strict=True) if step < 0)
        say(f"the scale is negative along {mirrored}: its size is kept, that it is mirrored is not")
    sizes = {} if scale is None else dict(zip(axes, zip(scale.tolist(), units, strict=True), strict=True))
    return Placement(axes, sizes, {} if origin is None else dict(zip(axes, origin.tolist(), strict=True)))


def letters_of(names: Sequence[str], types: Sequence[object] = ()) -> str:
    """Return a different upper-case letter for each name of an axis; Q if the name is none that is known.

    Time and channels are known by their type, too. Z, Y, X only by the name: a "yaw" is not Y.
    """
    letters = ""
    for index, name in enumerate(names):
        kind = types[index] if index < len(types) else None
        letter = _LETTERS.get(name.strip().lower()) or {"time": "T", "channel": "C"}.get(str(kind), "Q")
        letters += "Q" if letter in letters else letter
    return letters


def channels_of_omero(attributes: Mapping[str, Any]) -> list[tuple[object, object]]:
    """Return the name and the color of every channel."""
    return [(item.get("label"), item.get("color")) for item in _omero_channels(attributes)]


def windows_of_omero(attributes: Mapping[str, Any]) -> list[tuple[float, float] | None]:
    """Return the contrast limits of every channel; None where they are not stated."""
    windows: list[tuple[float, float] | None] = []
    for item in _omero_channels(attributes):
        window = item.get("window")
        ends = [window.get("start"), window.get("end")] if isinstance(window, dict) else []
        if isinstance(window, dict) and ends == [window.get("min"), window.get("max")]:
            ends = []  # all values, which nobody chose
        numbers = [float(end) for end in ends if isinstance(end, int | float) and np.isfinite(end)]
        windows.append((numbers[0], numbers[1]) if len(numbers) == 2 and numbers[0] < numbers[1] else None)
    return windows


def _omero_channels(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what "omero" states of every channel."""
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    return [item if isinstance(item, dict) else {} for item in channels] if isinstance(channels, list) else []


def _steps(holder: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the transformations of an image or a level, sequences of version 0.6 resolved."""

    def flat(steps: Any) -> Iterator[dict[str, Any]]:
        for step in steps if isinstance(steps, list) else []:
            if isinstance(step, dict) and step.get("type") == "sequence":
                inner = list(flat(step.get("transformations")))
                yield from [{**one, "output": step.get("output")} for one in inner]
            else:
                yield step if isinstance(step, dict) else {"type": step}

    return list(flat(holder.get("coordinateTransformations")))


def _axis_entries(image: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """Return name, type and unit of every axis, as far as they are stated; None if the image names no axes."""
    axes = image.get("axes")
    systems = image.get("coordinateSystems")
    if isinstance(systems, list) and systems:  # 0.6: the system that a level is transformed to
        target = steps[-1].get("output") if steps else None
        target = target.get("name") if isinstance(target, dict) else target
        axes = next((system for system in systems if system.get("name") == target), systems[0]).get("axes")
    if axes is None:
        return None
    return [entry if isinstance(entry, dict) else {"name": entry} for entry in axes]


def _folded(steps: Sequence[Mapping[str, Any]], ndim: int) -> tuple[Any, Any]:
    """Return the scale and the translation that several steps make together; None for what no step states.

    Raises
    ------
    ValueError, TypeError
        If a step is no scale and no translation, or has another number of numbers than the array has axes.
    """
    scale: Any = None
    shift: Any = None
    for step in steps:
        kind = step.get("type")
        if kind == "identity":
            continue
        if kind not in ("scale", "translation") or kind not in step:
            raise ValueError(f"the image has a transformation of type {kind}, expected scale and translation")
        numbers = np.asarray(step[kind], dtype=float)
        if numbers.shape != (ndim,):
            raise ValueError(f"the image has a {kind} of {numbers.size} numbers, expected {ndim}, one an axis")
        if kind == "scale":
            scale = numbers if scale is None else scale * numbers
            shift = None if shift is None else shift * numbers
        else:
            shift = numbers if shift is None else shift + numbers
    return scale, shift
