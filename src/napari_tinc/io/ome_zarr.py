"""Write Zarr folders, with the metadata of OME-Zarr. The folder ngff/ reads them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from .arrays import AxesView
from .described import Described
from .image import Spacing, library, rgb_of
from .ngff.labels import image_label
from .ngff.stores import ZARR_FILES

CHUNK = 128  # Voxels along an edge of a Zarr chunk.

_AXIS_TYPES = {"z": "space", "y": "space", "x": "space", "t": "time", "c": "channel"}


class ChunkCoding(Protocol):
    """How the chunks of an image are coded, if not as Zarr does by itself."""

    def array_options(self, level: int, shape: Sequence[int]) -> dict[str, Any]:
        """Return the chunks and the codec of a level, as keywords of Zarr's ``create_array``."""

    def stored_chunks(self, level: int, order: Sequence[int]) -> Iterator[tuple[tuple[int, ...], bytes]] | None:
        """Return place and bytes of every chunk of a level that is coded already; None if values are to be written."""


def is_replaceable_zarr(path: Path) -> bool:
    """Return whether a path may be replaced: it is free, an empty folder, or a Zarr array or image and nothing else."""
    if not path.is_dir():
        return not path.exists()
    names = {entry.name for entry in path.iterdir()}
    markers = names & set(ZARR_FILES)
    return not names or (bool(markers) and all(re.fullmatch(r"c|[0-9.]+", name) for name in names - markers))


def write_zarr(
    folder: Path, levels: Sequence[Any], spacing: Spacing | None, units: str | None, axes: str,
    channels: Sequence[Mapping[str, str]], value_range: tuple[float, float] | None, name: str,
    coding: ChunkCoding | None = None, described: Described | None = None,
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
    described = described or Described()
    step, time_unit = _time_step(described)
    for entry in axis_entries:
        if entry["name"] == "t" and time_unit:
            entry["unit"] = time_unit
    world = described.placement
    origin = world.matrix[:3, 3].tolist() if world is not None and world.is_upright else [0.0, 0.0, 0.0]
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    datasets = []
    for level, lazy in enumerate(levels):
        factor, array = 2**level, AxesView(lazy, order)
        leading = [step if letter == "t" else 1.0 for letter in names[:-3]]
        sizes = spacing or (1.0, 1.0, 1.0)
        scale: dict[str, Any] = {"type": "scale", "scale": [*leading, *(factor * size for size in sizes)]}
        # A voxel of a coarser level is a mean, and lies in the middle of the voxels that it is the mean of.
        shift = [*(0.0 for _ in leading),
                 *(first + (factor - 1) / 2 * size for first, size in zip(origin, sizes, strict=True))]  # fmt: skip
        moved = [{"type": "translation", "translation": shift}] if level or any(origin) else []
        datasets.append({"path": str(level), "coordinateTransformations": [scale, *moved]})
        options = coding.array_options(level, array.shape) if coding else {}
        options.setdefault("chunks", (*(1 for _ in leading), *(min(CHUNK, n) for n in array.shape[-3:])))
        target = group.create_array(str(level), shape=array.shape, dtype=array.dtype, dimension_names=names, **options)
        stored = coding.stored_chunks(level, order) if coding else None
        if stored is None:
            _write_values(target, array)
        for place, data in stored or ():
            chunk = folder / str(level) / target.metadata.encode_chunk_key(place)
            chunk.parent.mkdir(parents=True, exist_ok=True)
            chunk.write_bytes(data)
    image = {"name": name.split(".")[0], "axes": axis_entries, "datasets": datasets}
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [image]}
    if channels:
        ome["omero"] = {"channels": [_omero_channel(item, i, value_range) for i, item in enumerate(channels)]}
    elif described.details.limits and value_range:
        entry = _omero_channel({}, 0, value_range)
        entry["window"] |= dict(zip(("start", "end"), described.details.limits, strict=True))
        ome["omero"] = {"channels": [entry]}
    if described.labels and levels[0].dtype.kind in "iu":
        ome["image-label"] = image_label(described.details.objects)
    group.attrs["ome"] = ome


def _time_step(described: Described) -> tuple[float, str | None]:
    """Return the time step and its unit, by the names that OME-Zarr has."""
    if described.details.time is None:
        return 1.0, None
    step, unit = described.details.time
    known = {"sec": "second", "msec": "millisecond", "usec": "microsecond"}
    return step, known.get(described.seconds[1]) if described.seconds and described.seconds[0] == step else unit or None


def _write_values(target: Any, array: Any) -> None:
    """Write all values of an array, in boxes of whole chunks."""
    z, y, x = target.chunks[-3:]
    steps = [*(1 for _ in array.shape[:-3]), z, y * max(1, 2 * CHUNK // y), x * max(1, 2 * CHUNK // x)]
    for corner in itertools.product(*(range(0, n, step) for n, step in zip(array.shape, steps, strict=True))):
        box = tuple(slice(low, min(low + step, n)) for low, step, n in zip(corner, steps, array.shape, strict=True))
        target[box] = array[box]


def _omero_channel(channel: Mapping[str, str], index: int, value_range: tuple[float, float] | None) -> dict[str, Any]:
    """Return a channel's label, color and contrast as OME-Zarr stores them."""
    entry: dict[str, Any] = {
        "label": channel.get("name", f"Channel {index}"), "active": True,
        "color": rgb_of(channel),
    }  # fmt: skip
    if value_range:
        low, high = map(float, value_range)
        entry["window"] = {"min": low, "max": high, "start": low, "end": high}
        chosen = channel.get("window", "").split()
        if len(chosen) == 2:
            entry["window"] |= {"start": float(chosen[0]), "end": float(chosen[1])}
    return entry
