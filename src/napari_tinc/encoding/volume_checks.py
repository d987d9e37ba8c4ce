"""Whether a volume can be compressed with the options given, and what its file will say of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import resources
from .options import Options, refuse_networks
from .sources import Source


def checked_source(array: ArrayLike, options: Options) -> Source:
    """The volume to be read box by box.

    Raises
    ------
    ValueError, TypeError
        If no file can hold it, or none with these options.
    """
    dtype = getattr(array, "dtype", None)
    if options.method == "networks" and dtype is not None and np.dtype(dtype).kind == "b":
        refuse_networks("a bool volume")
    source = Source.of(array, exact=options.exact)
    if options.max_error is None and options.method == "predictive" and source.size > resources.MOST_AT_ONCE:
        raise ValueError(
            f"{source.size} voxels and {options.without_networks} given, expected at most {resources.MOST_AT_ONCE}: "
            "the search for a size or a PSNR holds all of them in memory. Ask for max_error, or for networks"
        )
    return source


def meta_of(source: Source, options: Options) -> dict[str, Any]:
    """What META says of axes, channels and labels; empty where that is what a reader takes for granted.

    ValueError where they do not fit the volume.
    """
    meta: dict[str, Any] = {}
    dtype = np.dtype(source.array.dtype)
    ndim = len(source.leading) + 3
    usual = "qtc"[3 - len(source.leading) :] + "zyx"
    text = usual if options.axis_labels is None else "".join(options.axis_labels)
    if len(text) != ndim or len(set(text)) != ndim:
        raise ValueError(f"axis_labels is {options.axis_labels!r}, expected {ndim} different letters")
    if text != usual:
        meta["axes"] = text
    if dtype.kind == "b":
        meta["bool"] = True
    if options.channels:
        count = source.leading[text.index("c")] if "c" in text[:-3] else 0
        if len(options.channels) != count:
            raise ValueError(f"channels names {len(options.channels)}, expected {count}: the length of axis c")
        meta["channels"] = list(options.channels)
    if options.labels:
        if not options.exact or dtype.kind not in "iu":
            raise ValueError(
                f"labels of {dtype} with max_error={options.max_error}, expected integers and max_error=0: "
                "names are exact"
            )
        meta["labels"] = True
    return meta
