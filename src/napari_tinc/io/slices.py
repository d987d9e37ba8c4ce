"""Read a folder of slices, one file each, as a volume: in the order of their numbers, if all are alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..array_like import LazyBase
from .arrays import unreadable
from .image import Content, library
from .read_options import ReadOptions, say
from .tiff_facts import calibrated, facts_of, look_of_page
from .units import Size

_TIFF = (".tif", ".tiff")
_PICTURES = (".png", ".bmp", ".jpg", ".jpeg")
SLICES = (*_TIFF, *_PICTURES)
MOST_NAMED = 5  # So many names are given in a message at most.


class _Kind(NamedTuple):
    """What all slices must have in common: shape, axes, dtype and the calibration of values."""

    shape: tuple[int, ...]
    axes: str
    dtype: str
    calibration: str = ""

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.shape))} {self.dtype}{self.calibration}"


def read_folder(folder: Path, inside: str, options: ReadOptions) -> Content:
    """Read the slices in a folder. ValueError if it has none, or files of several kinds."""
    files = [file for file in folder.iterdir() if not file.name.startswith((".", "~")) and file.is_file()]
    suffixes = Counter(file.suffix.lower() for file in files)
    kinds = [suffix for suffix in suffixes if suffix in SLICES]
    if not kinds:
        has = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in suffixes.most_common(MOST_NAMED))
        raise ValueError(f"it is a folder without slices ({', '.join(SLICES)}); its files: {has or 'none'}")
    if len(kinds) > 1:
        has = " and ".join(f"{suffixes[kind]} {kind}" for kind in kinds)
        raise ValueError(f"it is a folder with slices of several kinds, {has}; say which with '{folder}/*{kinds[0]}'")
    return read_slices([file for file in files if file.suffix.lower() == kinds[0]])


def read_slices(files: Sequence[Path]) -> Content:
    """Read files as the slices of one volume.

    ValueError if their names do not tell the order, or a file is not one slice, or not like the others.
    """
    ordered = in_order(files)
    describe = _describe_tiff if ordered[0].suffix.lower() in _TIFF else _describe_picture
    kinds = [_described(file, describe) for file in ordered]
    usual = Counter(kinds).most_common(1)[0][0]
    odd = [f"{file.name} ({kind})" for file, kind in zip(ordered, kinds, strict=True) if kind != usual]
    if odd:
        more = ", ..." if len(odd) > MOST_NAMED else ""
        raise ValueError(
            f"{len(odd)} of its {len(ordered)} slices are not like the others, {usual}: "
            f"{', '.join(odd[:MOST_NAMED])}{more}"
        )
    if usual.axes not in ("YX", "YXS"):
        raise ValueError(f"its files are images of {usual}, expected single slices; give one of them")
    is_tiff = describe is _describe_tiff
    array: Any = SliceStack(ordered, usual, _read_tiff_page if is_tiff else _read_picture)
    sizes: list[Size] = []
    details = None
    if is_tiff:
        import tifffile

        with tifffile.TiffFile(ordered[0]) as tiff:
            sizes = facts_of(tiff, 0).sizes
            array, details = calibrated(array, tiff), look_of_page(tiff.pages.first, None)
    return Content(array, f"Z{usual.axes}", sizes, details=details)


def in_order(files: Sequence[Path]) -> list[Path]:
    """Return files in the order of the numbers in their names: slice_9 before slice_10. What is doubtful is said.

    ValueError if the names differ in more than numbers, or the numbers count more than one thing.
    """
    parts = {file: re.split(r"(\d+)", file.stem) for file in files}
    patterns = Counter(tuple(part[::2]) for part in parts.values())
    if len(patterns) > 1:
        examples = [next(f.name for f in sorted(files) if tuple(parts[f][::2]) == pattern) for pattern in patterns]
        counts = zip(patterns.values(), examples, strict=True)
        listed = ", ".join(f"{count} like {name}" for count, name in list(counts)[:MOST_NAMED])
        raise ValueError(f"its files have names of {len(patterns)} kinds, {listed}; say which with 'FOLDER/NAME*'")
    numbers = {file: tuple(map(int, part[1::2])) for file, part in parts.items()}
    ordered = sorted(files, key=lambda file: numbers[file])
    columns = list(zip(*(numbers[file] for file in ordered), strict=True))
    unique = [i for i, column in enumerate(columns) if list(column) == sorted(set(column))]
    if len(files) > 1 and not unique:
        ranges = ", ".join(f"{min(column)} to {max(column)}" for column in columns if len(set(column)) > 1)
        raise ValueError(
            f"the numbers in its files' names ({ordered[0].name}) count more than one thing, {ranges or 'nothing'}: "
            "give those of one volume with 'FOLDER/NAME*'"
        )
    if len(files) > 1:
        later = [i for i in range(unique[-1] + 1, len(columns)) if len(set(columns[i])) > 1]
        if later:
            say(f"the names of slices count a second thing, as in {ordered[0].name}; they are read as one volume")
        _say_gaps(columns[unique[-1]], ordered)
    return ordered


def _say_gaps(numbers: Sequence[int], ordered: Sequence[Path]) -> None:
    """Say where numbers of slices jump further than they do in general."""
    steps = np.diff(numbers)
    gaps = np.flatnonzero(steps != np.median(steps))
    if len(gaps):
        at = gaps[0]
        say(
            f"slices may be missing: the numbers jump in {len(gaps)} places, first from {ordered[at].name} to "
            f"{ordered[at + 1].name}"
        )


def _described(file: Path, describe: Callable[[Path], _Kind]) -> _Kind:
    """Return what a file holds. ValueError, with its name, if it cannot be read."""
    try:
        return describe(file)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise unreadable(file, error) from error


def _describe_tiff(file: Path) -> _Kind:
    """Return what a TIFF of one slice holds."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        page, count = tiff.pages.first, len(tiff.pages)
        fields = tiff.imagej_metadata or {}
        line = ", ".join(f"{name}={fields[name]}" for name in ("cf", "c0", "c1") if name in fields)
        shape, axes = tuple(page.shape), page.axes
        if count > 1:
            shape, axes = (count, *shape), f"Q{axes}"
        return _Kind(shape, axes, str(page.dtype), f", {line}" * bool(line))


def _describe_picture(file: Path) -> _Kind:
    """Return what a PNG, BMP or JPEG holds."""
    found = library("imageio.v3").improps(file)
    return _Kind(tuple(found.shape), "YXS"[: len(found.shape)], str(np.dtype(found.dtype)))


def _read_tiff_page(file: Path) -> NDArray[Any]:
    """Read the only page of a TIFF."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        return tiff.pages.first.asarray()


def _read_picture(file: Path) -> NDArray[Any]:
    """Read a PNG, BMP or JPEG."""
    return np.asarray(library("imageio.v3").imread(file))


class SliceStack(LazyBase):
    """Files of one slice each as one array (z, y, x), read when they are indexed."""

    portable = True  # where workers see the same folder

    def __init__(self, files: Sequence[Path], kind: _Kind, read: Callable[[Path], NDArray[Any]]) -> None:
        self._files, self._kind, self._read = list(files), kind, read

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._files), *self._kind.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._kind.dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        items = index if isinstance(index, tuple) else (index,)
        chosen: Any = self._files[items[0] if items else slice(None)]
        rest = tuple(items[1:])
        if not isinstance(chosen, list):
            return self._plane(chosen)[rest]
        planes = [self._plane(file)[rest] for file in chosen]
        return np.stack(planes) if planes else np.zeros((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]

    def _plane(self, file: Path) -> NDArray[Any]:
        """Read a slice. ValueError if the file is another than it was."""
        try:
            values = self._read(file)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            raise unreadable(file, error) from error
        if values.shape != self._kind.shape:
            raise ValueError(f"{file} is {' x '.join(map(str, values.shape))}, expected {self._kind}: it has changed")
        return values.astype(self.dtype, copy=False)
