"""12 million voxels of every dtype, near and far from 0, large and tiny, broken: none is out of its bound."""

from __future__ import annotations

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.differences import violations
from napari_tinc.format.limits import DTYPES

SHAPE = (80, 80, 80)


def unit(kind: str) -> np.ndarray:
    """Smooth waves and noise between 0 and 1."""
    z, y, x = np.meshgrid(*[np.linspace(0, 11, n) for n in SHAPE], indexing="ij")
    noise = np.random.default_rng(len(kind)).normal(0, 0.02, SHAPE)
    waves = 0.5 + 0.4 * np.sin(z + 0.3 * y) * np.cos(x) + noise
    return np.clip(np.where(waves < 0.25, 0.25, waves), 0, 1)  # with a flat background


def numbers(code: str, kind: str) -> np.ndarray:
    dtype, values = np.dtype(code), unit(kind)
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        low, high = float(limits.min), float(limits.max)
        if kind == "far":
            low = high - (high - low) / 1000
        return np.clip(np.rint(low + values * (high - low)), limits.min, limits.max).astype(dtype)
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        if kind == "far":
            return (1000 + values).astype(dtype)
        if kind == "extreme":
            values = 0.4 * (values - 0.5) * float(info.max)
            values[0, 0, :2] = -info.max, info.max
            return values.astype(dtype)
        if kind == "tiny":
            return (values * (1e-30 if code == "f8" else float(info.tiny))).astype(dtype)
        values = (values * 1000 - 300).astype(dtype)
    strewn = np.random.default_rng(1).random(SHAPE) < 0.002
    values[strewn] = np.random.default_rng(2).choice([np.nan, np.inf, -np.inf, -0.0], int(strewn.sum()))
    return values


CASES = [(code, kind) for code in DTYPES for kind in (("far", "extreme") if code[0] in "ui" else
         ("far", "extreme", "tiny", "broken"))]  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), CASES)
def test_no_voxel_is_out_of_bounds(code: str, kind: str) -> None:
    array = numbers(code, kind)
    finite = array[np.isfinite(array)].astype(np.float64)
    share = {"far": 1e-2, "extreme": 1e-3, "tiny": 1e-4, "broken": 0.0}[kind]
    bound = share * min(float(finite.max()) - float(finite.min()), np.finfo(float).max)
    decoded = np.asarray(tinc.TincVolume(tinc.compress(array, max_error=bound).parts.data()))
    assert violations(array, decoded, bound) == 0


def test_they_are_twelve_million() -> None:
    assert len(CASES) * np.prod(SHAPE) > 1.2e7
