"""Boxes come back within their bound, whatever numbers they hold; damaged bytes are refused."""

from __future__ import annotations

import contextlib
import lzma
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_tinc.bounded import box as bounded_box
from napari_tinc.bounded import interpolation, quantization, special_values
from napari_tinc.bounded.shaping import reach
from napari_tinc.format.limits import DTYPES

SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
FLOATS = ("f2", "f4", "f8")


def check(box: NDArray[Any], bound: float, taper: int = 0, dead_zone: float = 0) -> bytes:
    """Encode, decode and compare, in float64."""
    data = bounded_box.encode_box(box, bound, taper, dead_zone)
    out = bounded_box.decode_box(data, box.shape, box.dtype)
    assert out.dtype == box.dtype and out.shape == box.shape
    bits = f"u{box.dtype.itemsize}"
    same = out.view(bits) == np.ascontiguousarray(box).view(bits)
    with np.errstate(all="ignore"):
        near = np.abs(out.astype(np.float64) - box.astype(np.float64)) <= reach(bound, dead_zone)
    assert (same | near if bound else same).all()
    return data


def smooth(shape: tuple[int, int, int], seed: int = 0, noise: float = 0.02) -> NDArray[np.float64]:
    """Waves and noise, about -1 to 1."""
    z, y, x = np.indices(shape) / 7.0
    return np.sin(z + 0.3 * y) * np.cos(x - 0.2 * z) + np.random.default_rng(seed).normal(0, noise, shape)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_any_bits_of_any_dtype_come_back_within_any_bound(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    shape = data.draw(SHAPES)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    few = data.draw(st.booleans())
    box = rng.integers(0, 256, (*shape, dtype.itemsize), np.uint8).view(dtype)[..., 0]
    if few:
        box = box.ravel()[rng.integers(0, min(3, box.size), shape)]
    bound = data.draw(st.sampled_from([0.0, 0.3, 1.0, 7.5, 1e-30, 1e9]))
    check(box, bound, data.draw(st.integers(0, 4)), data.draw(st.sampled_from([0, 0.2, 0.5])))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_floats_of_any_scale_and_offset_keep_their_bound(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(FLOATS))
    scale = data.draw(st.sampled_from([1.0, 1e-7, 1e4] if dtype == "f2" else [1.0, 1e-30, 1e-44, 3e38]))
    box = smooth(data.draw(SHAPES), data.draw(st.integers(0, 100)))
    with np.errstate(over="ignore", under="ignore"):
        box = (box * scale + scale * data.draw(st.sampled_from([0.0, 1.0, 1000.0]))).astype(dtype)
    bound = scale * data.draw(st.sampled_from([1e-1, 1e-2, 1e-4, 1e-7, 1e-12]))
    check(box, bound, data.draw(st.integers(0, 4)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_extremes(dtype: str) -> None:
    info: Any = np.iinfo(dtype) if dtype[0] in "iu" else np.finfo(dtype)
    box = np.resize(np.array([info.min, info.max, 0, 1, info.max], dtype), (5, 7, 3))
    for bound in (0, 1, 1000.5, 1e300):
        check(box, bound)


@pytest.mark.parametrize("highest", [2**23 - 1, 2**23, 2**24 - 1])
def test_bounds_as_large_as_the_range(highest: int) -> None:
    """Steps of which no edge of a class is within 32 bits."""
    box = np.zeros((20, 20, 31), "i4")
    box[0, 0, 0] = highest
    check(box, float(highest))
    check(np.random.default_rng(0).integers(0, highest, box.shape).astype("i4"), float(highest))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bound", [0, 1e-3])
def test_special_values(dtype: str, bound: float) -> None:
    box = smooth((9, 10, 11)).astype(dtype)
    box[0, 0, :4] = np.nan, np.inf, -np.inf, -0.0
    check(box, bound)
    check(np.full((3, 4, 5), np.nan, dtype), bound)
    box[:5] = np.nan
    check(box, bound)


def test_large_smooth_boxes_use_fitted_weights_and_are_small() -> None:
    box = np.rint(1000 * smooth((40, 41, 42), noise=0.001)).astype("i2")
    assert len(check(box, 0)) < 0.45 * box.size
    assert len(check(box, 20)) < 0.045 * box.size


def test_a_mask_costs_little() -> None:
    z, y, x = np.indices((32, 32, 32)) - 15.5
    box = np.where(z * z + y * y + x * x < 100, 100 + np.rint(40 * smooth((32, 32, 32))), 0).astype("u1")
    whole = len(check(np.full((32, 32, 32), 7, "u2"), 0))
    assert whole == 3 and len(check(box, 0)) < 0.13 * box.size


@pytest.mark.parametrize("fill", [np.nan, np.inf, -9999, 1e20])
def test_what_no_bound_has_a_meaning_for_costs_little(fill: float) -> None:
    """A tenth of NaN, or one fill value, and all of the box was stored without loss."""
    box = smooth((32, 33, 34)).astype("f4")
    z, y, x = np.indices(box.shape) - 16
    outside = z * z + y * y + x * x > 200
    plain = len(check(box, 1e-3))
    data = check(np.where(outside, np.float32(fill), box), 1e-3)
    assert data[0] == quantization.BoxKind.MASKED and len(data) < 0.7 * plain
    box[3, 4, 5] = fill
    assert len(check(box, 1e-3)) < plain + 200


def test_a_bound_costs_labels_nothing() -> None:
    names = np.random.default_rng(0).integers(0, 50_000, (4, 4, 4)).repeat(8, 0).repeat(8, 1).repeat(8, 2)
    for box in (names.astype("u2"), names.astype("f4")):
        assert len(check(box, 2)) <= len(check(box, 0)) < 1500


def test_behind_a_mask_is_no_other_mask() -> None:
    box = smooth((8, 9, 10)).astype("f4")
    box[:3] = np.nan
    data = bounded_box.encode_box(box, 1e-2)
    length = special_values.MASK.unpack_from(data)[1]
    end = special_values.MASK.size + length
    for rest in (
        data,
        bounded_box.encode_box(np.zeros_like(box), 0)[:0],
        b"\4" + data[end + 1 :],
        b"\3" + data[end + 1 :],
    ):
        with pytest.raises(ValueError, match="masked residual is"):
            bounded_box.decode_box(data[:end] + rest, box.shape, box.dtype)
    for cut in (1, 4, end - 1):
        with pytest.raises(ValueError, match="expected"):
            bounded_box.decode_box(data[:cut], box.shape, box.dtype)
    with pytest.raises(ValueError, match="kind of residual is 5"):
        bounded_box.decode_box(data, box.shape, "i4")


def test_few_distinct_values_are_counted() -> None:
    box = (np.rint(30 * smooth((32, 32, 32))) * 257).astype("i2")
    dense = len(check(np.rint(30 * smooth((32, 32, 32))).astype("i2"), 0))
    assert len(check(box, 0)) < dense + 100
    assert len(check(box, 20)) == len(check(box, 0))  # without loss is smaller than with


def test_floats_that_were_narrower_leave_their_empty_bits_out() -> None:
    box = smooth((16, 17, 18)).astype("f4")
    assert len(check(box.astype("f8"), 0)) < 1.1 * len(check(box, 0))


def test_floats_that_repeat_far_away_are_found() -> None:
    box = smooth((16, 17, 18)).astype("f4")
    both = np.concatenate([box, box[:, ::-1], box, box])
    assert len(check(both, 0)) < 2.6 * len(check(box, 0))


def test_levels_of_a_taper() -> None:
    assert [interpolation.bound_of_level(256, 0, level) for level in range(3)] == [256, 256, 256]
    assert [interpolation.bound_of_level(256, 4, level) for level in range(4)] == [256, 128, 64, 64]


@pytest.mark.parametrize(
    "kind", ["integers", "background", "table", "grid", "bits", "wide", "masked", "constant", "repeats"]
)
def test_damage_is_refused_or_decodes(kind: str) -> None:
    box = smooth((12, 13, 14)).astype("f4")
    box = {
        "integers": lambda: np.rint(box * 50).astype("i2"),
        "background": lambda: np.where(box > 0.3, np.rint(box * 50), 0).astype("u1"),
        "table": lambda: (np.rint(box * 20) * 999).astype("i4"),
        "wide": lambda: box.astype("f8") / 3,
        "masked": lambda: np.where(np.indices(box.shape)[0] == 3, np.inf, box).astype("f4"),
        "repeats": lambda: np.concatenate([box] * 3),
        "constant": lambda: np.zeros_like(box),
    }.get(kind, lambda: box)()
    data = bounded_box.encode_box(box, 1e-2 if kind in ("grid", "masked") else 0)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(80):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data) if rng.random() < 0.6 else min(60, len(data)), rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(0, 8)
        if rng.random() < 0.2:
            damaged = damaged[: rng.integers(0, len(data))]
        try:
            out = bounded_box.decode_box(bytes(damaged), box.shape, box.dtype)
            assert out.shape == box.shape and out.dtype == box.dtype
        except ValueError:
            refused += 1
    assert refused > 12
    for extra in (b"\0", b"\0\0\0\0", b"abcd"):
        with pytest.raises(ValueError, match=r"."):
            bounded_box.decode_box(data + extra, box.shape, box.dtype)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=120), st.sampled_from(DTYPES), SHAPES)
def test_any_bytes_are_refused_or_decode(data: bytes, dtype: str, shape: tuple[int, int, int]) -> None:
    with contextlib.suppress(ValueError):
        assert bounded_box.decode_box(data, shape, dtype).shape == shape


def test_a_bomb_is_not_unpacked() -> None:
    bomb = bytes([quantization.BoxKind.REPEATS]) + lzma.compress(bytes(2**22), preset=1)
    with pytest.raises(ValueError, match="holds 9 bytes, expected exactly 8"):
        bounded_box.decode_box(bomb, (1, 1, 2), "f4")
    memory = bytes([quantization.BoxKind.REPEATS]) + lzma.compress(bytes(8), preset=8)
    with pytest.raises(ValueError, match=r"no \.xz stream"):
        bounded_box.decode_box(memory, (1, 1, 2), "f4")


@pytest.mark.parametrize(
    ("field", "value"),
    [(1, 5), (2, 1), (3, 1), (3, 29), (4, struct.pack("<q", 2**15)), (5, 0), (5, 2**17), (6, 2**33), (7, 1.0),
     (7, np.nan), (8, 2**31), (9, 4), (10, 2**32 - 1)],
)  # fmt: skip
def test_a_head_that_does_not_fit_is_refused(field: int, value: Any) -> None:
    box = np.rint(50 * smooth((5, 6, 7))).astype("i2")
    data = bounded_box.encode_box(box, 0)
    fields = [*quantization.HEAD.unpack_from(data)]
    fields[field] = value
    with pytest.raises(ValueError, match="expected"):
        bounded_box.decode_box(quantization.HEAD.pack(*fields) + data[quantization.HEAD.size :], box.shape, box.dtype)


def test_bad_arguments_are_named() -> None:
    box = np.zeros((2, 3, 4), "u1")
    for bound in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="bound"):
            bounded_box.encode_box(box, bound)
    with pytest.raises(ValueError, match="taper"):
        bounded_box.encode_box(box, 0, 5)
    with pytest.raises(ValueError, match="dtype"):
        bounded_box.encode_box(box.astype("i8"), 0)
    with pytest.raises(ValueError, match="shape"):
        bounded_box.encode_box(box[0], 0)
    with pytest.raises(ValueError, match="shape"):
        bounded_box.decode_box(b"\0\0", (0, 1, 1), "u1")


def test_a_huge_value_among_tiny_ones_is_kept_without_a_warning() -> None:
    box = np.full((8, 8, 8), 1e-3)
    box[:4] += np.arange(64).reshape(8, 8) * 1e-4
    box[0, 0, 0] = 1e308
    assert check(box, 5e-4)[0] == quantization.BoxKind.MASKED
