"""Read N5 datasets, by TensorStore. N5 names its axes in the reverse order of Zarr: x, y, z."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import ArrayOfFile
from ..image import Content
from ..read_options import ReadOptions
from ..units import Size
from .metadata import letters_of
from .stores import MOST_LISTED

_ATTRIBUTES = "attributes.json"


def read_n5(location: str | os.PathLike[str], inside: str, options: ReadOptions) -> Content:
    """Read the dataset at a path in an N5 folder, or the only one; of an image of several levels the finest.

    Raises
    ------
    ImportError
        If TensorStore is not installed.
    ValueError
        If there is no dataset at this path, or more than one.
    """
    folder = Path(location, inside)
    attributes = _attributes(folder)
    if "dimensions" not in attributes:
        folder = _only_dataset(Path(location), folder)
        attributes = {**attributes, **_attributes(folder)}
    try:
        import tensorstore
    except ImportError as error:
        raise ImportError('reading N5 needs tensorstore: pip install "napari-tinc[n5]"') from error
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(folder)}}
    store = _Store(tensorstore.open(spec, open=True, read=True).result())
    names = _names(attributes, len(store.shape))
    axes = letters_of(names) if names else "XYZ" if len(store.shape) == 3 else "Q" * len(store.shape)
    sizes = dict(zip(axes, _sizes(attributes, len(axes)), strict=False))
    return Content(
        ArrayOfFile(store, folder, portable=False), axes, [sizes.get(axis, (None, None)) for axis in "ZYX"]
    )  # fmt: skip


class _Store:
    """A TensorStore with a NumPy dtype, whose parts are NumPy arrays."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.shape = tuple(map(int, store.shape))
        self.dtype = np.dtype(store.dtype.numpy_dtype)

    def __getitem__(self, index: Any) -> Any:
        """Read a part."""
        return np.asarray(self._store[index].read().result())


def _attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group or a dataset; empty if there are none."""
    file = folder / _ATTRIBUTES
    attributes = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return attributes if isinstance(attributes, dict) else {}


def _only_dataset(root: Path, folder: Path) -> Path:
    """Return the one dataset in a group, or the finest of its levels s0, s1, .... ValueError lists what there is."""
    found = sorted(file.parent for file in folder.rglob(_ATTRIBUTES) if "dimensions" in _attributes(file.parent))
    finest = [path for path in found if not (path.name[:1] == "s" and path.name[1:].isdigit() and path.name != "s0")]
    if len(finest) == 1:
        return finest[0]
    shapes = ["x".join(map(str, reversed(_attributes(path)["dimensions"]))) for path in finest]
    listed = [f"{root / path.relative_to(root)} ({shape})" for path, shape in zip(finest, shapes, strict=True)]
    more = ", ..." if len(listed) > MOST_LISTED else ""
    raise ValueError(
        f"it has {len(finest)} N5 datasets, expected one; "
        f"give one of: {', '.join(listed[:MOST_LISTED]) or 'none'}{more}"
    )


def _names(attributes: Mapping[str, Any], ndim: int) -> list[str]:
    """Return the names of the axes in the order of N5; empty if they are not stated."""
    axes, transform = attributes.get("axes"), attributes.get("transform")
    if isinstance(transform, dict) and isinstance(transform.get("axes"), list):
        axes = transform["axes"][::-1]  # in the order of Zarr
    named = isinstance(axes, list) and len(axes) == ndim and all(isinstance(axis, str) for axis in axes)
    return list(axes) if named and axes else []


def _sizes(attributes: Mapping[str, Any], ndim: int) -> list[Size]:
    """Return the size of a voxel and its unit along each axis of a dataset, in the order of N5; empty if not stated."""
    transform, resolution = attributes.get("transform"), attributes.get("pixelResolution", attributes.get("resolution"))
    if isinstance(transform, dict):
        numbers, units = transform.get("scale", [])[::-1], transform.get("units", [])[::-1]
    elif isinstance(resolution, dict):
        numbers, units = resolution.get("dimensions", []), [resolution.get("unit")] * ndim
    else:
        numbers, units = resolution or [], attributes.get("units", [])
    factors = attributes.get("downsamplingFactors") or [1] * ndim
    units = list(units) + [None] * (ndim - len(units)) if isinstance(units, list) else [units] * ndim
    if isinstance(transform, dict):
        factors = [1] * ndim  # its scale is that of the level
    return [(number * factor, unit) for number, factor, unit in zip(numbers, factors, units, strict=False)]
