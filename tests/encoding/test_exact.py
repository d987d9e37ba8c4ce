"""A bound that holds for every voxel, and no loss at all: what the file promises is kept, and can be checked."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import napari_tinc as tinc
from napari_tinc.bounded import box as bounded_box
from napari_tinc.cli.main import main
from napari_tinc.decoding import bounded_box as decoding_bounded_box
from napari_tinc.decoding.block_contents import BlockContents
from napari_tinc.differences import violations
from napari_tinc.encoding import block_size
from napari_tinc.errors import ReadWarning
from napari_tinc.format.chunks import Ancillary, ChunkKind
from napari_tinc.format.limits import DTYPES
from napari_tinc.octree import box_slices

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def wave(shape: tuple[int, ...] = (20, 24, 36), dtype: str = "i2") -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 7, n) for n in shape], indexing="ij")
    noise = np.random.default_rng(0).normal(0, 9, shape)
    return (400 * np.sin(z + 0.3 * y) * np.cos(x) + noise).astype(dtype)


@given(
    data=st.data(),
    code=st.sampled_from(DTYPES),
    bound=st.sampled_from([0, 1e-30, 0.4, 1, 3.5, 1e6]),
    offset=st.sampled_from([0, 1e5]),
)
@few
def test_every_voxel_of_any_array_is_within_the_bound(
    data: st.DataObject, code: str, bound: float, offset: float
) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    values: Any = None
    if np.dtype(code).kind == "f":
        values = st.floats(width=8 * np.dtype(code).itemsize, allow_nan=True, allow_infinity=True)
    array = data.draw(hnp.arrays(code, shape, elements=values))
    with np.errstate(all="ignore"):
        array = (array + np.array(offset).astype(code)).astype(code)
    finite = array[np.isfinite(array)].astype(np.float64)
    if finite.size and not np.isfinite(finite.max() - finite.min()):
        with pytest.raises(ValueError, match="spans more"):
            tinc.compress(array, max_error=bound)
        return
    with warnings.catch_warnings():  # a value far from all others is taken for a fill value, and kept exactly
        warnings.simplefilter("ignore", ReadWarning)
        volume = tinc.compress(array, max_error=bound)
    again = tinc.TincVolume(volume.parts.data())
    decoded = np.asarray(again)
    assert decoded.dtype == array.dtype and again.error_bound == bound
    assert violations(array, decoded, bound) == 0
    if bound == 0:
        assert decoded.tobytes() == array.tobytes()


def test_violations_are_counted() -> None:
    a = np.array([[[0.0, 1.0, np.nan, np.inf, -0.0]]])
    b = np.array([[[0.1, 1.0, 0.0, -np.inf, 0.0]]])
    assert violations(a, b, 0.2) == 2 and violations(a, b, 0.0) == 4 and violations(a, a, 0.0) == 0


def test_blocks_are_decoded_where_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_size, "EXACT_EDGE", 18)
    array = wave()
    volume = tinc.TincVolume(tinc.compress(array, max_error=0).parts.data())
    assert isinstance(volume.parts, BlockContents) and len(volume.parts.start) == 8
    calls = []
    decode = bounded_box.decode_box
    monkeypatch.setattr(bounded_box, "decode_box", lambda *args: calls.append(1) or decode(*args))
    np.testing.assert_array_equal(volume[3, :, :], array[3])
    assert len(calls) == 4
    np.testing.assert_array_equal(volume[4:6, 3:8], array[4:6, 3:8])
    assert len(calls) == 4
    np.testing.assert_array_equal(volume, array)
    assert len(calls) == 8


def test_coarse_levels_are_means_of_all_voxels() -> None:
    array = wave((16, 32, 64))
    volume = tinc.compress(array, max_error=0)
    means = array.reshape(8, 2, 16, 2, 32, 2).mean(axis=(1, 3, 5))
    np.testing.assert_array_equal(volume.levels[1], np.rint(means))
    array = wave((9, 7, 67))
    means = array.astype(float)
    for axis, n in enumerate(array.shape):  # in the last cells some voxels counted twice
        edges = np.arange(0, n, 4)
        sizes = np.minimum(edges + 4, n) - edges
        means = np.add.reduceat(means, edges, axis) / sizes.reshape([-1 if a == axis else 1 for a in range(3)])
    np.testing.assert_allclose(tinc.compress(array, max_error=0).levels[2], means, atol=0.51)


def test_its_facts() -> None:
    array = wave()
    volume = tinc.compress(array, max_error=2, spacing=(2, 1, 1), units="mm")
    assert volume.error_bound == 2 and volume.spacing == (2, 1, 1)
    assert volume.leaves["max_error"].max() <= 2 * 1.07 and np.isfinite(volume.leaves["rmse"]).all()
    quality = tinc.compare(array, volume)
    assert quality.max_error <= 2 and float(volume.provenance["psnr"]) == pytest.approx(quality.psnr, abs=0.01)
    assert "preset" not in volume.provenance
    lossless = tinc.compress(array, max_error=0)
    assert lossless.leaves["rmse"].max() == 0 and tinc.compare(array, lossless).psnr == np.inf
    assert volume.nbytes_compressed < lossless.nbytes_compressed < array.nbytes
    assert tinc.compress(array, max_error=0).parts.data() == lossless.parts.data()


def test_values_that_are_not_finite_survive() -> None:
    array = wave(dtype="f4")
    array[3, 4, :5] = np.nan
    array[7, 7, 7] = -np.inf
    volume = tinc.compress(array, max_error=0.5)
    decoded = np.asarray(volume)
    assert np.isnan(decoded[3, 4, :5]).all() and decoded[7, 7, 7] == -np.inf
    assert np.isfinite(volume.value_range).all()
    assert violations(array, decoded, 0.5) == 0


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_bound_costs_no_more_than_none(dtype: str) -> None:
    """Integers in disguise: a grid of many steps took up to eight times as much as the few values there are."""
    array = (wave() // 8 * 10).astype(dtype)
    exact = tinc.compress(array, max_error=0)
    for bound in (1e-9, 0.1, 1.0, 50.0):
        volume = tinc.compress(array, max_error=bound)
        assert volume.nbytes_compressed <= exact.nbytes_compressed + 16 and volume.error_bound == bound
        assert violations(array, np.asarray(volume), bound) == 0


@pytest.mark.parametrize("options", [{}, {"block": 16}])
def test_quality_is_that_of_finite_values(options: dict[str, int]) -> None:
    """Those that are not counted as voxels without error, and their SSIM was nan."""
    array = wave(dtype="f4")
    array[0] = np.nan
    *_, finished = tinc.fit(array, max_error=0.5, **options)
    assert isinstance(finished, tinc.Finished)
    expected = tinc.compare(array, finished.volume)
    assert finished.quality.psnr == pytest.approx(expected.psnr) and finished.quality.ssim > 0.9
    assert finished.quality.rmse == pytest.approx(expected.rmse) and 0 < expected.rmse <= 0.5
    array[:] = np.nan
    *_, finished = tinc.fit(array, max_error=0.5, **options)
    assert isinstance(finished, tinc.Finished) and finished.quality.max_error == 0


def test_the_largest_numbers() -> None:
    array = np.random.default_rng(0).choice([-0.9e308, 0.8e308, 1.0], (6, 7, 8)) / 2
    for bound in (0, 1e300):
        assert violations(array, np.asarray(tinc.compress(array, max_error=bound)), bound) == 0


def test_masks_survive() -> None:
    mask = wave() > 0
    volume = tinc.compress(mask, max_error=0)
    assert volume.dtype == bool
    np.testing.assert_array_equal(tinc.TincVolume(volume.parts.data()), mask)
    for keywords in ({"max_error": 1}, {"ratio": 8}):
        with pytest.warns(ReadWarning, match=f"kept bit for bit; {next(iter(keywords))}= is not used"):
            np.testing.assert_array_equal(tinc.compress(mask, **keywords), mask)


def test_wrong_values_are_noticed() -> None:
    volume = tinc.compress(wave(), max_error=0)
    assert isinstance(volume.parts, BlockContents)
    part = volume.parts.part(0, 0)
    assert isinstance(part, decoding_bounded_box.BoundedBox)
    wrong = decoding_bounded_box.BoundedBox(part.data, part.shape, part.dtype, part.crc ^ 1)
    with pytest.raises(tinc.TincError, match="values decode to the CRC-32"):
        wrong.verify()


def test_damage_in_any_byte_is_found() -> None:
    data = tinc.compress(wave((8, 9, 10)), max_error=0).parts.data()
    for at in range(0, len(data), 11):
        damaged = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        with pytest.raises(tinc.TincError):
            tinc.TincVolume(damaged).verify()
    for size in range(0, len(data), 97):
        with pytest.raises(tinc.TincError):
            tinc.TincVolume(data[:size])


def test_channels_keep_their_checks() -> None:
    array = np.stack([wave(), wave() // 2])
    volume = tinc.compress(array, max_error=0)
    np.testing.assert_array_equal(volume, array)
    one = tinc.TincVolume(volume.select(1).parts.data())
    np.testing.assert_array_equal(one, array[1])
    assert one.leaves["rmse"].max() == 0
    assert sum(entry.role is ChunkKind.VERIFY for entry in one.parts.entries()) == 1


@pytest.mark.parametrize("bound", [-1, np.inf, np.nan])
def test_bounds_that_are_none(bound: float) -> None:
    with pytest.raises(ValueError, match="max_error is"):
        tinc.compress(wave(), max_error=bound)


def test_one_target() -> None:
    with pytest.raises(ValueError, match="2 targets given, ratio=8 and max_error=0"):
        tinc.compress(wave(), ratio=8, max_error=0)


def test_the_promise_is_proved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = wave()
    np.save(tmp_path / "v.npy", array)
    other = array.copy()
    other[1, 2, 3] += 9
    np.save(tmp_path / "other.npy", other)
    file = str(tmp_path / "v.tinc")
    assert main(["compress", str(tmp_path / "v.npy"), file, "--max-error", "2.5"]) == 0
    assert main(["info", file]) == 0
    assert "every voxel within 2.5" in capsys.readouterr().out
    assert main(["verify", file, "--against", str(tmp_path / "v.npy")]) == 0
    assert f"proved on all {array.size:,} voxels" in capsys.readouterr().out
    assert main(["verify", file, "--against", str(tmp_path / "other.npy")]) == 1
    assert "1 voxels differ from" in capsys.readouterr().err
    assert main(["verify", file, "--against", ""]) == 1
    capsys.readouterr()
    np.save(tmp_path / "short.npy", array[1:])
    assert main(["verify", file, "--against", str(tmp_path / "short.npy")]) == 1
    assert "original is (19, 24, 36) of int16, expected (20, 24, 36) of int16" in capsys.readouterr().err


@pytest.mark.parametrize(("dtype", "largest"), [("f2", 6e4), ("f4", 3e38), ("f8", 8e307)])
def test_not_a_number_among_the_largest_numbers(dtype: str, largest: float) -> None:
    """Their sum is infinite, and must not stand for what is not known."""
    array = np.linspace(largest / 2, largest, 1000).astype(dtype).reshape(10, 10, 10)
    array[3, 3, 3] = np.nan
    volume = tinc.compress(array, max_error=0)
    assert volume.value_range == (array[0, 0, 0], array[-1, -1, -1])
    np.testing.assert_array_equal(volume, array)


def test_a_cut_off_file_shows_the_blocks_that_are_there() -> None:
    array = np.random.default_rng(0).integers(0, 3000, (20, 40, 40)).astype("u2")
    whole = tinc.compress(array, max_error=1, block=24)
    data, blocks = whole.parts.data(), [entry for entry in whole.parts.entries() if entry.role is ChunkKind.BLOCK]
    for n_there in range(len(blocks) + 1):
        end = blocks[n_there].start if n_there < len(blocks) else len(data) - 1
        volume = tinc.TincVolume(data[:end], partial=True)
        assert volume.n_missing == len(blocks) - n_there + 1
        values, start, stop = np.asarray(volume), whole.parts.start, whole.parts.stop
        for box in range(n_there):
            place = box_slices(start[box], stop[box])
            np.testing.assert_array_equal(values[place], np.asarray(whole)[place])
        assert len(volume.leaves) == n_there
        with pytest.raises(tinc.TincError, match="cut off"):
            volume.save("nowhere/a.tinc")
        with pytest.raises(tinc.TincError, match="cut off"):
            volume.verify()


def test_blocks_without_any_number_say_nothing_of_the_range() -> None:
    """One had 0 for its smallest and largest value."""
    array = 1000 + wave(dtype="f4")
    array[:, :, 18:] = np.nan
    volume = tinc.compress(array, max_error=0.5, block=18)
    known = array[np.isfinite(array)]
    assert volume.value_range == (known.min(), known.max())
    assert violations(array, np.asarray(volume), 0.5) == 0


def test_damage_to_the_errors_leaves_the_values_alone() -> None:
    volume = tinc.compress(wave(), max_error=0)
    (entry,) = (entry for entry in volume.parts.entries() if entry.role is Ancillary.QUALITY)
    data = bytearray(volume.parts.data())
    data[entry.start] ^= 1
    damaged = tinc.TincVolume(bytes(data))
    np.testing.assert_array_equal(damaged, wave())
    for told in (lambda: damaged.leaves, damaged.verify):
        with pytest.raises(tinc.TincError, match="QUALITY"):
            told()


def test_no_leaf_is_said_to_miss_the_bound() -> None:
    """Stored errors are rounded up, by at most 6 %."""
    array = np.random.default_rng(0).normal(1000, 50, (24, 24, 24)).astype(np.float32)
    for bound in (0.7, 1.3, 2.0):
        volume = tinc.compress(array, max_error=bound)
        assert 0.9 * bound < volume.leaves["max_error"].max() <= bound
