"""The filter of files without networks: its bytes, what it does to values, and when it is stored."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.cli.main import main
from napari_tinc.errors import TincError
from napari_tinc.filtering import terms
from napari_tinc.filtering.filter import Filter
from napari_tinc.filtering.fit import fit_filter
from napari_tinc.filtering.terms import ORBITS


def waves(shape: tuple[int, ...] = (20, 26, 30), dtype: str = "u2") -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 9, n) for n in shape], indexing="ij")
    noise = np.random.default_rng(0).normal(0, 20, shape)
    return (1000 + 300 * np.sin(z + y) * np.cos(x) + noise).astype(dtype)


def random_filter(classes: int, clips: bool) -> Filter:
    integers = np.random.default_rng(classes).integers(-50, 51, (classes, 27 if clips else 14))
    return Filter(integers.astype(np.int32), 8, 0.0625)


@pytest.mark.parametrize("classes", [1, 4, 8])
@pytest.mark.parametrize("clips", [False, True])
def test_it_is_read_as_it_was_written(classes: int, clips: bool) -> None:
    one = random_filter(classes, clips)
    other = Filter.parse(one.pack())
    np.testing.assert_array_equal(other.integers, one.integers)
    assert (other.bits, other.unit, other.clips, other.n_classes) == (8, 0.0625, clips, classes)


@pytest.mark.parametrize(
    ("place", "bytes_", "message"),
    [(0, b"\3", "3 classes"), (1, b"\2", "clips 2"), (2, b"\20", "16 bits"), (3, b"\0\0\0\0", "the unit 0.0"),
     (7, b"\0\0", "the law 0")],
)  # fmt: skip
def test_bytes_that_are_no_filter_are_refused(place: int, bytes_: bytes, message: str) -> None:
    data = bytearray(random_filter(4, True).pack())
    data[place : place + len(bytes_)] = bytes_
    with pytest.raises(TincError, match=message):
        Filter.parse(bytes(data))
    for cut in (0, 5, len(data) - 1, len(data) - 4):
        with pytest.raises(TincError):
            Filter.parse(random_filter(4, True).pack()[:cut])


def test_terms_are_means_of_neighbours_less_the_value() -> None:
    values = np.random.default_rng(1).random((6, 7, 8)).astype(np.float32)
    padded = np.pad(values, 3, mode="edge")
    for orbit, term in zip(ORBITS, terms.terms(padded), strict=True):
        signs = itertools.product((1, -1), repeat=3)
        mirrors = {tuple(a * b for a, b in zip(orbit, sign, strict=True)) for sign in signs}
        at = [padded[tuple(slice(3 + d, 3 + d + n) for d, n in zip(m, values.shape, strict=True))] for m in mirrors]
        np.testing.assert_allclose(term, np.mean(at, axis=0) - values, atol=1e-6)


@pytest.mark.parametrize("slab", [1, 700, 2**16])
def test_slabs_change_no_bit(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = random_filter(8, True).apply(waves(), (600, 1400))
    monkeypatch.setattr(terms, "SLAB_VOXELS", slab)
    np.testing.assert_array_equal(random_filter(8, True).apply(waves(), (600, 1400)), expected)


@pytest.mark.parametrize("value_range", [(5.0, 5.0), (-1.7e308, 1.7e308)])
def test_no_range_no_filter(value_range: tuple[float, float]) -> None:
    values = waves(dtype="f8")
    assert random_filter(1, False).apply(values, value_range).tobytes() == values.tobytes()


def test_values_stay_within_the_range_and_the_dtype() -> None:
    values = np.random.default_rng(2).integers(0, 256, (9, 9, 9)).astype("u1")
    filtered = Filter(np.full((1, 14), 4000, np.int32), 4, 1.0).apply(values, (10, 200))
    assert filtered.dtype == np.uint8 and filtered.min() >= 10 and filtered.max() <= 200


def test_a_filter_that_does_not_pay_is_none() -> None:
    original = np.random.default_rng(3).random((16, 16, 16))
    decoded = np.random.default_rng(4).random((16, 16, 16))
    assert fit_filter([(original, original)], (0, 1), 10_000, 1.0, 1000) is None
    assert fit_filter([], (0, 1), 10_000, 1.0, 1000) is None
    assert fit_filter([(original, decoded)], (0, 1), 100_000, 1.0, 5) is None
    assert fit_filter([(original, decoded)], (0, 1), 100_000, 1.0, 1000) is not None  # the mean is nearer than noise


@pytest.fixture(scope="module")
def volume() -> tinc.TincVolume:
    return tinc.compress(waves(), nbytes=2200, method="predictive")


def test_a_filter_lowers_the_error_at_equal_bytes(volume: tinc.TincVolume) -> None:
    plain = tinc.compress(waves(), nbytes=2200, method="predictive", calibration="none")
    assert volume.parts.filter is not None and plain.parts.filter is None and volume.nbytes_compressed <= 2200
    assert tinc.compare(waves(), volume).psnr > tinc.compare(waves(), plain).psnr + 0.2
    assert plain.uncalibrated() is plain and not plain.calibrated


def test_what_the_file_says_is_of_the_filtered_values(volume: tinc.TincVolume) -> None:
    volume.verify()
    quality = tinc.compare(waves(), volume)
    assert volume.provenance["psnr"] == f"{quality.psnr:08.3f}" and quality.max_error <= volume.error_bound
    assert volume.leaves["rmse"] == pytest.approx(quality.rmse, rel=0.07)
    gained = quality.psnr - tinc.compare(waves(), volume.uncalibrated()).psnr
    assert float(volume.provenance["filter"]) == pytest.approx(gained, abs=0.002)


def test_without_its_filter(volume: tinc.TincVolume, tmp_path: Path) -> None:
    plain = volume.uncalibrated()
    assert volume.calibrated and not plain.calibrated and np.isnan(plain.leaves["rmse"]).all()
    values = np.asarray(plain)
    assert (values != np.asarray(volume)).any()
    assert tinc.compare(waves(), plain).max_error <= plain.error_bound
    plain.save(tmp_path / "plain.tinc")
    again = tinc.open(tmp_path / "plain.tinc")
    np.testing.assert_array_equal(np.asarray(again), values)
    assert again.parts.filter is None and "filter" not in again.provenance
    np.testing.assert_array_equal(np.asarray(volume[3:5, 2:9]), np.asarray(volume)[3:5, 2:9])


def test_a_file_written_again_keeps_its_filter(volume: tinc.TincVolume) -> None:
    again = volume.rewritten(spacing=(2, 1, 1), units="mm", axis_labels="zyx")
    np.testing.assert_array_equal(np.asarray(again), np.asarray(volume))
    assert again.calibrated


def test_blocks_and_channels_share_a_filter() -> None:
    array = np.stack([waves((20, 26, 40)), 2 * waves((20, 26, 40))])
    volume = tinc.compress(array, ratio=16, method="predictive", block=24)
    assert volume.parts.filter is not None and len(volume.parts.start) == 4
    assert tinc.compare(array, volume).psnr > tinc.compare(array, volume.uncalibrated()).psnr
    second = volume.select(1)
    np.testing.assert_array_equal(np.asarray(second), np.asarray(volume)[1])
    assert second.calibrated


@pytest.mark.parametrize("options", [{"max_error": 12}, {"max_error": 0}, {"nbytes": 60_000, "method": "predictive"}])
def test_no_filter_under_a_bound(options: dict[str, float]) -> None:
    volume = tinc.compress(waves(), **options)
    assert volume.parts.filter is None and tinc.compare(waves(), volume).max_error <= options.get("max_error", 0)


def test_a_psnr_takes_fewer_bytes() -> None:
    plain = tinc.compress(waves(), psnr=31, method="predictive", calibration="none")
    volume = tinc.compress(waves(), psnr=31, method="predictive")
    assert volume.parts.filter is not None and volume.nbytes_compressed < plain.nbytes_compressed
    assert tinc.compare(waves(), volume).psnr >= 31


def test_info_and_log_say_what_the_filter_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "v.npy", waves())
    file, log = str(tmp_path / "v.tinc"), tmp_path / "log.jsonl"
    arguments = ["compress", str(tmp_path / "v.npy"), file, "--ratio", "13", "--method", "predictive"]
    assert main([*arguments, "--log", str(log)]) == 0
    capsys.readouterr()
    assert main(["info", file]) == 0
    assert "coefficients in" in (told := capsys.readouterr().out) and "dB" in told
    assert "coefficients in" in json.loads(log.read_text().splitlines()[-1])["filter"]
