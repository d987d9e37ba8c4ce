"""Read Imaris files: the voxels that were measured, without the filling up to whole chunks that the file has."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...array_like import LazyBase
from ..arrays import ArrayOfFile
from ..hdf5 import measured
from ..image import Content, library
from ..read_options import ReadOptions
from ..units import Size


def read_imaris(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read all channels and points in time at full resolution.

    Raises
    ------
    ValueError
        If a channel or a point in time is missing, or they are not alike.
    """
    source = library("h5py").File(file, "r")
    finest = source["DataSet/ResolutionLevel 0"]
    times = _numbered(finest, "TimePoint")
    channels = _numbered(finest[times[0]], "Channel")
    rows = [[finest[f"{time}/{channel}"] for channel in channels] for time in times]
    shape = _true_shape(rows[0][0], source)
    datasets = [group["Data"] for row in rows for group in row]
    if len({(dataset.shape, dataset.dtype) for dataset in datasets}) > 1:
        raise ValueError("its channels or points in time have different shapes or dtypes")
    if any(n > most for n, most in zip(shape, datasets[0].shape, strict=True)):
        raise ValueError(f"it says that its size is {shape}, but has only {datasets[0].shape} voxels")
    parts = [measured(dataset, ArrayOfFile(dataset, file, portable=False), options) for dataset in datasets]
    grid = Grid(parts, (len(times), len(channels)), shape)
    return Content(grid, "TCZYX", _sizes(source, shape), [_channel(source, name) for name in channels])


class Grid(LazyBase):
    """Volumes of one shape as one array (t, c, z, y, x), of which only what lies below the true shape is shown."""

    portable = False

    def __init__(self, parts: Sequence[Any], leading: tuple[int, int], shape: tuple[int, ...]) -> None:
        self._parts, self._leading, self._inner = parts, leading, shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Points in time, channels, and the true size along z, y, x."""
        return (*self._leading, *self._inner)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return np.dtype(self._parts[0].dtype)

    def __getitem__(self, index: Any) -> Any:
        """Read a part, given by an integer or a slice for each axis."""
        items = index if isinstance(index, tuple) else (index,)
        if Ellipsis in items:
            at = items.index(Ellipsis)
            items = (*items[:at], *(slice(None),) * (len(self.shape) - len(items) + 1), *items[at + 1 :])
        items = (*items, *(slice(None),) * (len(self.shape) - len(items)))
        ranges = [range(n)[item] for n, item in zip(self.shape, items, strict=True)]
        picks = [[one] if isinstance(one, int) else list(one) for one in ranges[:2]]
        place = tuple(one if isinstance(one, int) else slice(one.start, one.stop, one.step) for one in ranges[2:])
        parts = [np.asarray(self._parts[t * self._leading[1] + c][place]) for t, c in itertools.product(*picks)]
        kept = [len(pick) for pick, item in zip(picks, items, strict=False) if isinstance(item, slice)]
        return np.array(parts, self.dtype).reshape(*kept, *parts[0].shape) if parts else np.zeros((0,), self.dtype)


def text_of(attributes: Any, name: str) -> str:
    """Return an attribute that Imaris stores as an array of single characters; "" if there is none."""
    value = np.ravel(attributes.get(name, ()))
    return b"".join(np.bytes_(one) for one in value).decode(errors="replace").strip("\0 ")


def _numbered(group: Any, word: str) -> list[str]:
    """Return the members of a group that are named by a word and a number, by their numbers from 0, none missing."""
    names = {int(match[1]): name for name in group if (match := re.fullmatch(rf"{word} (\d+)", name))}
    if sorted(names) != list(range(len(names))) or not names:
        raise ValueError(f"it has {word} {', '.join(map(str, sorted(names))) or 'none'}, expected all from 0")
    return [names[number] for number in sorted(names)]


def _true_shape(channel: Any, source: Any) -> tuple[int, ...]:
    """Return the size along z, y, x that was measured. ValueError if the file does not state it."""
    image = source["DataSetInfo/Image"].attrs
    texts = [text_of(channel.attrs, f"ImageSize{axis}") or text_of(image, axis) for axis in "ZYX"]
    if not all(text.isdecimal() and int(text) for text in texts):
        raise ValueError(f"its size is {texts}, expected numbers along z, y, x")
    return tuple(map(int, texts))


def _sizes(source: Any, shape: tuple[int, ...]) -> list[Size]:
    """Return the size of a voxel and its unit along z, y, x, from the ends of the image."""
    image = source["DataSetInfo/Image"].attrs
    sizes: list[Size] = []
    for axis, n in zip((2, 1, 0), shape, strict=True):
        try:
            extent = float(text_of(image, f"ExtMax{axis}")) - float(text_of(image, f"ExtMin{axis}"))
        except ValueError:
            return []
        sizes.append((extent / n, text_of(image, "Unit") or "um"))
    return sizes


def _channel(source: Any, name: str) -> tuple[object, object]:
    """Return the name and the color, RRGGBB, of a channel."""
    info = source.get(f"DataSetInfo/{name}")
    if info is None:
        return None, None
    numbers = [float(part) for part in re.findall(r"[\d.]+", text_of(info.attrs, "Color"))]
    usable = len(numbers) == 3 and max(numbers) <= 1
    color = "".join(f"{round(255 * number):02x}" for number in numbers) if usable else None
    return text_of(info.attrs, "Name") or None, color
