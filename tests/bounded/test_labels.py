"""Label images come back as they were; damaged bytes are refused."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_tinc.bounded import box as bounded_box
from napari_tinc.bounded import labels, quantization

SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
DTYPES = ("?", "u1", "i1", "u2", ">i2", "u4", "i4", "u8", "i8")


def encoded(box: NDArray[Any]) -> bytes:
    values, indices = np.unique(box, return_inverse=True)
    return labels.encode_labels(values, indices.reshape(box.shape))


def check(box: NDArray[Any]) -> bytes:
    data = encoded(box)
    out = labels.decode_labels(data, box.shape, box.dtype)
    assert out.dtype == box.dtype.newbyteorder("<") and (out == box).all()
    return data


def cells(shape: tuple[int, int, int], count: int, seed: int = 0) -> NDArray[np.int64]:
    """To which of ``count`` random points each voxel is nearest."""
    points = np.random.default_rng(seed).random((count, 3)) * shape
    grid = np.stack(np.indices(shape), axis=-1)
    return np.argmin(((grid[..., None, :] - points) ** 2).sum(-1), axis=-1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_any_labels_of_any_integers_come_back(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    shape = data.draw(SHAPES)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    names = rng.integers(0, 256, (300, dtype.itemsize), np.uint8).view(dtype)[:, 0]
    if dtype.kind == "b":
        names = rng.random(300) < 0.5
    count = data.draw(st.sampled_from([1, 2, 5, 300]))
    check(names[(cells(shape, count) if data.draw(st.booleans()) else rng.integers(0, count, shape))])


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_extremes(dtype: str) -> None:
    info = np.iinfo(dtype)
    box = np.resize(np.array([info.min, info.max, 0, 1, info.max - 1], dtype), (4, 6, 3))
    check(box)
    check(np.full((3, 1, 5), info.max, dtype))


def test_constant_regions_cost_next_to_nothing() -> None:
    assert len(check(np.full((64, 64, 64), 2**63, "u8"))) <= 32
    halves = np.zeros((64, 64, 64), bool)
    halves[:, :32] = True
    assert len(check(halves)) < 100
    assert len(check(cells((40, 41, 42), 20))) < 0.03 * 40 * 41 * 42


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4"])
@pytest.mark.parametrize("bound", [0, 0.5])
def test_residual_finds_label_images(dtype: str, bound: float) -> None:
    box = (cells((32, 33, 34), 12) * 777).astype(dtype)
    data = bounded_box.encode_box(box, bound)
    assert data[0] == quantization.BoxKind.LABELS
    out = bounded_box.decode_box(data, box.shape, dtype)
    assert out.dtype == box.dtype and (np.abs(out - box) <= bound).all()
    ramp = np.indices((20, 20, 20)).sum(0).astype(dtype)
    assert bounded_box.encode_box(ramp, bound)[0] != quantization.BoxKind.LABELS


def test_damage_is_refused_or_decodes() -> None:
    box = cells((20, 21, 22), 30).astype("u2")
    data = bounded_box.encode_box(box, 0)
    assert data[0] == quantization.BoxKind.LABELS
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(80):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data) if rng.random() < 0.6 else min(60, len(data)), rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(0, 8)
        if rng.random() < 0.2:
            damaged = damaged[: rng.integers(0, len(data))]
        try:
            assert bounded_box.decode_box(bytes(damaged), box.shape, box.dtype).shape == box.shape
        except ValueError:
            refused += 1
    assert refused > 70
    for extra in (b"\0", b"\0\0\0\0", b"abcd"):
        with pytest.raises(ValueError, match=r"."):
            bounded_box.decode_box(data + extra, box.shape, box.dtype)
    with pytest.raises(ValueError, match="number of labels"):
        labels.decode_labels(data[1:], (1, 2, 3), "u2")
    with pytest.raises(ValueError, match="ascend within bool"):
        labels.decode_labels(encoded(np.array([[[0, 2]]])), (1, 1, 2), bool)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=120), st.sampled_from(DTYPES), SHAPES)
def test_any_bytes_are_refused_or_decode(data: bytes, dtype: str, shape: tuple[int, int, int]) -> None:
    for words in (data, data[: len(data) // 4 * 4]):
        with contextlib.suppress(ValueError):
            assert labels.decode_labels(words, shape, dtype).shape == shape


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="dtype"):
        labels.decode_labels(b"", (2, 3, 4), "f8")
    with pytest.raises(ValueError, match="shape"):
        labels.decode_labels(b"", (3, 4), "i8")
    with pytest.raises(ValueError, match="shape"):
        labels.decode_labels(b"", (0, 1, 1), "u1")
