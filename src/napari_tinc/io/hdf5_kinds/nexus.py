"""Read NeXus and EMD files: which of their datasets is the image, and what its axes are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ..hdf5 import read_hdf5
from ..image import Content, default_axes, library
from ..ngff.metadata import letters_of
from ..read_options import ReadOptions
from .netcdf import step_of


def read_nexus(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the dataset that is named, the one that a NeXus file names as its default, or the only one of three axes."""
    with library("h5py").File(file, "r") as source:
        group, signal = _default(source) if not inside else (None, "")
        names = [] if group is None else [_text(name) for name in np.ravel(group.attrs.get("axes", ()))]
        # NeXus calls an axis without a scale ".", which is the group itself.
        scales: list[Any] = [group.get(name) if group is not None else None for name in names]
        steps = [
            step_of(scale[...], scale.attrs) if getattr(scale, "ndim", None) == 1 else None for scale in scales
        ]  # fmt: skip
    content = read_hdf5(file, signal or inside, options)
    letters = letters_of(names)
    if len(letters) != len(content.array.shape) or not letters.strip("Q"):
        return content
    sizes = dict(zip(letters, steps, strict=True))
    return content._replace(axes=letters, sizes=[sizes.get(axis) or (None, None) for axis in "ZYX"])


def read_emd(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the dataset that is named, or the only one of three axes. Velox stores frames last, and each is y, x."""
    content = read_hdf5(file, inside, options)
    dataset: Any = content.array
    while not hasattr(dataset, "parent"):
        dataset = dataset.array
    if re.fullmatch(r"/Data/Image/[^/]+/Data", dataset.name):
        return content._replace(axes="YXQ")
    scales = [dataset.parent.get(f"dim{number}") for number in range(1, dataset.ndim + 1)]
    if any(scale is None for scale in scales):
        return content
    names = [_text(scale.attrs.get("name", "")) for scale in scales]
    letters = letters_of(names)
    axes = letters if letters.strip("Q") else default_axes(dataset.shape)
    units = [{"units": _text(scale.attrs.get("units", "")).strip("[]").replace("_", "")} for scale in scales]
    steps = [step_of(scale[...], unit) for scale, unit in zip(scales, units, strict=True)]
    sizes = dict(zip(axes, steps, strict=True))
    return content._replace(axes=axes, sizes=[sizes.get(axis) or (None, None) for axis in "ZYX"])


def _default(source: Any) -> tuple[Any, str]:
    """Follow the attributes "default" to the data that a NeXus file shows first: their group and path; (None, "")."""
    group = source
    for _ in range(5):
        name = _text(group.attrs.get("default", ""))
        if not name or name not in group:
            break
        group = group[name]
    signal = _text(group.attrs.get("signal", "")) if hasattr(group, "keys") else ""
    return (group, group[signal].name.strip("/")) if signal and signal in group else (None, "")


def _text(value: Any) -> str:
    """Return an attribute as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
