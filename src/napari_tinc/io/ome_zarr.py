"""Read and write Zarr folders, with the metadata of OME-Zarr."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import ArrayOfFile, AxesView
from .image import Content, Spacing, default_axes, library, rgb_of
from .read_options import ReadOptions

CHUNK = 128  # Voxels along an edge of a Zarr chunk.

_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
_AXIS_TYPES = {"z": "space", "y": "space", "x": "space", "t": "time", "c": "channel"}


def read_zarr(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a Zarr array, or the finest level of an OME-Zarr image."""
    zarr = library("zarr")
    node = zarr.open(file, mode="r")
    if isinstance(node, zarr.Array):
        # xarray stores them in the second place in Zarr version 2.
        names = getattr(node.metadata, "dimension_names", None) or node.attrs.get("_ARRAY_DIMENSIONS") or ()
        axes = "".join(name[:1].upper() for name in names if name)
        array = ArrayOfFile(node, file, portable=True)
        return Content(array, axes if len(axes) == node.ndim else default_axes(node.ndim))
    attributes = node.attrs.asdict()
    attributes = attributes.get("ome", attributes)  # v0.5, v0.4
    multiscales = attributes.get("multiscales")
    if not multiscales:
        members = ", ".join(f"{file}/{name}" for name in sorted(node.keys()))
        raise ValueError(f"a Zarr group that is not an OME-Zarr image; give an array in it: {members or 'none'}")
    labels, level = multiscales[0]["axes"], multiscales[0]["datasets"][0]
    axes = "".join(label["name"][:1].upper() for label in labels)
    transformations = [*level["coordinateTransformations"], *multiscales[0].get("coordinateTransformations", ())]
    scale = np.prod([step["scale"] for step in transformations if step["type"] == "scale"], axis=0)
    sizes = {axis: (size, label.get("unit")) for axis, size, label in zip(axes, scale, labels, strict=True)}
    channels = [(item.get("label"), item.get("color")) for item in attributes.get("omero", {}).get("channels", ())]
    array = ArrayOfFile(node[level["path"]], file, portable=True)
    return Content(array, axes, [sizes.get(axis, (None, None)) for axis in "ZYX"], channels)


def is_replaceable_zarr(path: Path) -> bool:
    """Return whether a path may be replaced: it is free, an empty folder, or a Zarr array or image and nothing else."""
    if not path.is_dir():
        return not path.exists()
    names = {entry.name for entry in path.iterdir()}
    markers = names & set(_ZARR_FILES)
    return not names or (bool(markers) and all(re.fullmatch(r"c|[0-9.]+", name) for name in names - markers))


def write_zarr(
    folder: Path, levels: Sequence[Any], spacing: Spacing | None, units: str | None, axes: str,
    channels: Sequence[Mapping[str, str]], value_range: tuple[float, float] | None, name: str,
) -> None:  # fmt: skip
    """Write OME-Zarr 0.5: time first, then channels or one other axis, then z, y, x; at most five axes."""
    zarr = library("zarr")
    order = sorted(range(len(axes)), key=lambda i: (axes[i] in "zyx", axes[i] != "t"))
    names = [axes[i] for i in order]
    if len(axes) > 5 or sum(letter != "t" for letter in names[:-3]) > 1:
        raise ValueError(f"an OME-Zarr image has time and one other axis before z, y, x, not {', '.join(names[:-3])}")
    axis_entries: list[dict[str, Any]] = []
    for letter in names:
        label = {"name": letter} | ({"type": _AXIS_TYPES[letter]} if letter in _AXIS_TYPES else {})
        axis_entries.append(label | ({"unit": units} if units not in (None, "pixel") and letter in "zyx" else {}))
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    datasets = []
    for level, lazy in enumerate(levels):
        factor, array = 2**level, AxesView(lazy, order)
        leading = [1.0] * (len(axes) - 3)
        sizes = spacing or (1.0, 1.0, 1.0)
        scale: dict[str, Any] = {"type": "scale", "scale": [*leading, *(factor * size for size in sizes)]}
        # A voxel of a coarser level is a mean, and lies in the middle of the voxels that it is the mean of.
        shift = [*(0.0 for _ in leading), *((factor - 1) / 2 * size for size in sizes)]
        moved = [{"type": "translation", "translation": shift}] if level else []
        datasets.append({"path": str(level), "coordinateTransformations": [scale, *moved]})
        chunks = (*(1 for _ in leading), *(min(CHUNK, n) for n in array.shape[-3:]))
        target = group.create_array(
            str(level), shape=array.shape, chunks=chunks, dtype=array.dtype, dimension_names=names
        )
        steps = [*(1 for _ in leading), CHUNK, 2 * CHUNK, 2 * CHUNK]  # whole chunks
        for corner in itertools.product(*(range(0, n, step) for n, step in zip(array.shape, steps, strict=True))):
            box = tuple(slice(low, min(low + step, n)) for low, step, n in zip(corner, steps, array.shape, strict=True))
            target[box] = array[box]
    image = {"name": name.split(".")[0], "axes": axis_entries, "datasets": datasets}
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [image]}
    if channels:
        ome["omero"] = {"channels": [_omero_channel(item, i, value_range) for i, item in enumerate(channels)]}
    group.attrs["ome"] = ome


def _omero_channel(channel: Mapping[str, str], index: int, value_range: tuple[float, float] | None) -> dict[str, Any]:
    """Return a channel's label, color and contrast as OME-Zarr stores them."""
    entry: dict[str, Any] = {
        "label": channel.get("name", f"Channel {index}"), "active": True,
        "color": rgb_of(channel),
    }  # fmt: skip
    if value_range:
        low, high = map(float, value_range)
        entry["window"] = {"min": low, "max": high, "start": low, "end": high}
    return entry
