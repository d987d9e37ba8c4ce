"""Arguments of ``compress`` and ``fit``, checked before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..format import limits
from ..format.networks_file import WeightsFormat
from . import resources
from .sources import Source

LEAST_EDGE = 16  # of a block

WEIGHTS = {"entropy": WeightsFormat.ENTROPY, "int8": WeightsFormat.INT8, "float16": WeightsFormat.FLOAT16}


def _parse_target(
    raw: int, ratio: float | None, nbytes: int | None, psnr: float | None, max_error: float | None
) -> int:  # fmt: skip
    """The largest size of the file; 0, of no meaning, where a PSNR or a bound is the target."""
    given = {"ratio": ratio, "nbytes": nbytes, "psnr": psnr, "max_error": max_error}
    named = [f"{name}={value}" for name, value in given.items() if value is not None]
    for name, value in given.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise TypeError(f"{name} is {value!r}, expected a number")
    if len(named) > 1:
        raise ValueError(f"{len(named)} targets given, {' and '.join(named)}; expected one")
    if psnr is not None and not 1 <= psnr <= 120:
        raise ValueError(f"psnr is {psnr}, expected 1 to 120 dB")
    if max_error is not None and not 0 <= max_error < math.inf:
        raise ValueError(f"max_error is {max_error}, expected 0 or more")
    if psnr is not None or max_error is not None:
        return 0
    if nbytes is None:
        ratio = 64.0 if ratio is None else float(ratio)
        if not (math.isfinite(ratio) and ratio >= 1):
            raise ValueError(f"ratio is {ratio}, expected at least 1")
        budget = max(1, math.floor(raw / ratio))
    elif not 1 <= nbytes < math.inf:
        raise ValueError(f"nbytes is {nbytes}, expected at least 1")
    else:
        budget = min(int(nbytes), raw + 1024)  # more buys nothing but time; a header has to fit all the same
    if budget > limits.MAX_FILE:
        raise ValueError(f"a file of {budget} bytes asked for, expected at most {limits.MAX_FILE}: a higher ratio")
    return budget


def _check_networks(array: ArrayLike, max_error: float | None, labels: bool) -> None:
    """ValueError where networks are asked for, and what they cannot do."""
    given = f"max_error={max_error}" if max_error is not None else "labels=True" if labels else ""
    dtype = getattr(array, "dtype", None)
    if not given and dtype is not None and np.dtype(dtype).kind == "b":
        given = "a bool volume"
    if given:
        raise ValueError(
            f"{given} and method='networks' given, expected one: networks keep no bound; the predictive coder does"
        )


def _check_without_networks(
    source: Source, other: str, max_error: float | None, *, levels: int | None, widths: Sequence[int] | None,
    weights: str,
) -> None:  # fmt: skip
    """ValueError where networks are described for a file that has none, or the volume is too large to search."""
    described = {"widths": widths, "levels": levels, "weights": weights if max_error is None else "entropy"}
    for name, value in described.items():
        if value is not None and value != "entropy":
            raise ValueError(f"{name}={value!r} and {other} given, expected one: such a file has no networks")
    if max_error is None and source.size > resources.MOST_AT_ONCE:
        raise ValueError(
            f"{source.size} voxels and {other} given, expected at most {resources.MOST_AT_ONCE}: the search for a size "
            "or a PSNR holds all of them in memory. Ask for max_error, or for networks"
        )


def _parse_facts(spacing: Sequence[float] | None, units: str | None) -> dict[str, Any]:
    if spacing is not None:
        try:
            spacing = tuple(float(s) for s in spacing)
        except (TypeError, ValueError):
            raise TypeError(f"spacing is {spacing!r}, expected three positive numbers: z, y, x") from None
        if len(spacing) != 3 or not all(limits.MIN_SPACING <= s <= limits.MAX_SPACING for s in spacing):
            raise ValueError(f"spacing is {spacing}, expected three positive numbers: z, y, x")
    elif units:
        spacing = (1.0, 1.0, 1.0)
    if units is not None and not isinstance(units, str):
        raise TypeError(f"units is {units!r}, expected text like 'mm'")
    if units and (len(units.encode()) > limits.MAX_UNIT or not units.isprintable()):
        raise ValueError(f"units is {units!r}, expected at most {limits.MAX_UNIT} bytes of printable text")
    return {"spacing": spacing, "unit": units or ""}


def _parse_labels(source: Source, labels: bool, max_error: float | None) -> dict[str, Any]:
    if not labels:
        return {}
    dtype = np.dtype(source.array.dtype)
    if max_error != 0 or dtype.kind not in "iu":
        raise ValueError(
            f"labels of {dtype} with max_error={max_error}, expected integers and max_error=0: names are exact"
        )
    return {"labels": True}


def _parse_meta(
    source: Source, axis_labels: str | Sequence[str] | None, channels: Sequence[Mapping[str, str]] | None
) -> dict[str, Any]:
    """What META says, empty where that is what a reader takes for granted."""
    meta: dict[str, Any] = {}
    ndim = len(source.leading) + 3
    usual = "qtc"[3 - len(source.leading) :] + "zyx"
    text = usual if axis_labels is None else "".join(axis_labels)
    if len(text) != ndim or len(set(text)) != ndim:
        raise ValueError(f"axis_labels is {axis_labels!r}, expected {ndim} different letters")
    if text != usual:
        meta["axes"] = text
    if np.dtype(source.array.dtype).kind == "b":
        meta["bool"] = True
    if channels:
        count = source.leading[text.index("c")] if "c" in text[:-3] else 0
        if len(channels) != count:
            raise ValueError(f"channels names {len(channels)}, expected {count}: the length of axis c")
        meta["channels"] = [{str(key): str(value) for key, value in channel.items()} for channel in channels]
    return meta
