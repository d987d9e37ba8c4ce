"""A polynomial in place of the smooth part of a box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_tinc.bounded import background, box
from napari_tinc.bounded.background import Background
from napari_tinc.bounded.quantization import BoxKind


def ramp(shape: tuple[int, int, int]) -> np.ndarray:
    z, y, x = (np.linspace(0, 1, n) for n in shape)
    return 400 + 90 * z[:, None, None] + 60 * y[:, None] + 200 * x * x


def with_part(shape: tuple[int, int, int], noise: float = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A ramp with a busy box in it, and where that is."""
    rng = np.random.default_rng(seed)
    busy = np.zeros(shape, bool)
    busy[tuple(slice(n // 4, n // 4 + n // 3) for n in shape)] = True
    values = ramp(shape) + noise * rng.standard_normal(shape)
    return np.where(busy, values + 300 * rng.random(shape), values), busy


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
def test_a_smooth_box_takes_a_few_bytes(dtype: str) -> None:
    original = ramp((32, 32, 32)).astype(dtype)
    data, decoded = box.encode_and_decode(original, 4, 3, 0.15)
    assert data[0] == BoxKind.BACKGROUND
    assert len(data) < 60
    assert np.abs(decoded.astype(float) - original).max() <= 4 * 2
    np.testing.assert_array_equal(box.decode_box(data, original.shape, original.dtype), decoded)


def test_noise_about_a_smooth_background_is_not_coded() -> None:
    original = np.rint(ramp((40, 40, 40)) + 2 * np.random.default_rng(0).standard_normal((40, 40, 40))).astype("i2")
    data, decoded = box.encode_and_decode(original, 20, 3, 0.15)
    assert len(data) < 60
    assert np.square(decoded.astype(float) - original).mean() < 1.1 * (4 + 1 / 12)


def test_only_the_busy_part_is_coded() -> None:
    values, busy = with_part((48, 48, 48), noise=1)
    original = np.rint(values).astype("u2")
    data, decoded = box.encode_and_decode(original, 12, 3, 0.15)
    parsed = Background.parse(data, original.shape, original.dtype)
    assert parsed.hidden[~busy].mean() > 0.95
    assert parsed.hidden[busy].mean() < 0.05
    np.testing.assert_array_equal(decoded[parsed.hidden], parsed.smooth[parsed.hidden])
    without = box.encode_numbers(original, 12, 3, 0.15, lambda: None)[0]
    assert len(data) < 0.9 * len(without)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_voxel_is_within_the_bound_it_promises(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(4, 24)) for _ in range(3))
    dtype = np.dtype(data.draw(st.sampled_from(["u1", "i2", "u2", "f2", "f4", "f8"])))
    seed, bound = data.draw(st.integers(0, 99)), data.draw(st.sampled_from([1.0, 3.0, 17.0]))
    values, _ = with_part(shape, data.draw(st.sampled_from([0.0, 1.0, 5.0])), seed)
    original = np.clip(values, 0, 255).astype(dtype)
    made = background.encode_background(original, bound, 3, 0.15, lambda: None)
    if made is None:
        return
    coded, decoded, _ = made
    np.testing.assert_array_equal(box.decode_box(coded, shape, dtype), decoded)
    assert np.abs(decoded.astype(float) - original.astype(float)).max() <= 2 * bound * (1 + 1e-9)


def test_a_bound_that_is_promised_to_the_user_makes_no_background() -> None:
    assert box.encode_box(ramp((24, 24, 24)).astype("f4"), 4)[0] != BoxKind.BACKGROUND


def test_the_sketch_is_near_the_values() -> None:
    original = np.rint(with_part((48, 48, 48))[0]).astype("u2")
    data, decoded = box.encode_and_decode(original, 12, 3, 0.15)
    sketch = box.sketch(data, original.shape, original.dtype, 3)
    assert sketch is not None
    np.testing.assert_array_equal(sketch, decoded[::8, ::8, ::8])


@pytest.mark.parametrize("at", range(0, 16))
def test_damage_is_refused_or_decodes_to_a_box(at: int) -> None:
    original = np.rint(with_part((20, 20, 20))[0]).astype("u2")
    data = bytearray(box.encode_box(original, 12, 3, 0.15))
    assert data[0] == BoxKind.BACKGROUND
    data[at] ^= 0x55
    try:
        found = box.decode_box(bytes(data), original.shape, original.dtype)
    except ValueError:
        return
    assert found.shape == original.shape


def test_the_numbers_are_those_of_the_part_that_is_left() -> None:
    original = np.rint(ramp((80, 70, 72))).astype("u2")
    original[40:56, 3:20, 50:66] += np.random.default_rng(0).integers(0, 300, (16, 17, 16), "u2")
    data, decoded = box.encode_and_decode(original, 12, 3, 0.15)
    parsed = Background.parse(data, original.shape, original.dtype)
    assert parsed.part == (slice(32, 56), slice(0, 20), slice(32, 66))
    np.testing.assert_array_equal(box.decode_box(data, original.shape, original.dtype), decoded)
    for level in (1, 3, 5, 6):  # coarser than the multiples at which the part begins, too
        sketch = box.sketch(data, original.shape, original.dtype, level)
        assert sketch is not None
        exact = decoded[(slice(None, None, 2**level),) * 3]
        np.testing.assert_array_equal(sketch, exact)


def test_a_box_that_is_too_large_without_a_background_is_refused() -> None:
    large = np.zeros((2, 1500, 1500), "u1")
    large[0] = 200
    with pytest.raises(background.NoBackground, match="at most 4194304"):
        box.encode_box(large, 1, 3, 0.15)
