"""Another calibration of the same networks: what changes, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from short_fits import short_fits
from volumes import brighter, small_array, small_volume

import napari_tinc as tinc
from napari_tinc.format import networks_file
from napari_tinc.format.networks_file import Calibration


def test_a_volume_is_calibrated_for_another_original_and_says_how_good_it_is() -> None:
    volume, original = small_volume(), brighter()
    found = tinc.recalibrate(volume, original)
    found.verify()
    assert found.header.calibration is not Calibration.NONE
    before, after = tinc.compare(original, volume), tinc.compare(original, found)
    assert after.psnr > before.psnr + 1
    assert abs(found.nbytes_compressed - volume.nbytes_compressed) < 40
    assert (found.spacing, found.units, found.shape) == (volume.spacing, volume.units, volume.shape)
    worst = np.abs(np.asarray(found).astype(float) - original).max()
    assert worst <= found.leaves["max_error"].max() <= 1.07 * worst
    if found.provenance:
        assert float(found.provenance["psnr"]) == pytest.approx(after.psnr, abs=1e-3)


def test_calibrating_again_changes_nothing() -> None:
    once = tinc.recalibrate(small_volume(), brighter())
    np.testing.assert_array_equal(np.asarray(tinc.recalibrate(once, brighter())), np.asarray(once))


@cache
def calibrated_blocks() -> tinc.TincVolume:
    """Two channels of several blocks of networks each, all calibrated."""
    array = np.stack([small_array(), small_array()[::-1]])
    with short_fits():
        volume = tinc.compress(array, ratio=6, block=16, preset="fast", method="networks")
    return tinc.recalibrate(volume, array // 2 + 30)


@pytest.mark.parametrize("make", [lambda: tinc.recalibrate(small_volume(), brighter()), calibrated_blocks])
def test_without_calibration_the_networks_are_the_same_and_nothing_is_claimed(
    make: Callable[[], tinc.TincVolume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = make()
    with monkeypatch.context() as patch:
        patch.setattr(networks_file, "pack", None)  # no file is made for it
        plain = volume.uncalibrated()
        assert volume.calibrated and not plain.calibrated and plain.uncalibrated() is plain
        shown = np.asarray(plain)
    networks = [v.parts.part(0, 0).network.vector for v in (plain, volume)]
    assert networks[0] is networks[1]
    served = plain.leaves["network"] >= 0
    assert (plain.leaves["gain"][served] == 1).all() and (plain.leaves["offset"][served] == 0).all()
    assert np.isnan(plain.leaves["rmse"]).all() and "psnr" not in plain.provenance
    assert not np.array_equal(shown, np.asarray(volume))
    assert (plain.shape, plain.nbytes_compressed) == (volume.shape, volume.nbytes_compressed)

    plain.save(tmp_path / "plain.tinc")  # what is saved is what was shown
    saved = tinc.open(tmp_path / "plain.tinc")
    saved.verify()
    np.testing.assert_array_equal(np.asarray(saved), shown)
    assert not saved.calibrated and np.isnan(saved.leaves["rmse"]).all() and "psnr" not in saved.provenance
    assert {part.header.calibration for _, _, part in saved.boxes()} == {Calibration.NONE}


def test_one_channel_without_calibration_stays_so_and_can_be_calibrated_again() -> None:
    volume = calibrated_blocks()
    plain = volume.uncalibrated().select(1)
    assert not plain.calibrated
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(volume.uncalibrated())[1])
    again = tinc.recalibrate(plain, np.asarray(volume)[1])
    assert tinc.compare(np.asarray(volume)[1], again).psnr > tinc.compare(np.asarray(volume)[1], plain).psnr


def test_a_constant_volume_has_nothing_to_calibrate() -> None:
    volume = tinc.compress(np.full((9, 10, 11), 7, np.uint8), ratio=2)
    np.testing.assert_array_equal(np.asarray(tinc.recalibrate(volume, np.full((9, 10, 11), 9))), 7)


@pytest.mark.parametrize(
    ("original", "message"),
    [
        (np.zeros((3, 3, 3)), r"original \(3, 3, 3\), compressed volume \(20, 24, 28\)"),
        (np.full((20, 24, 28), np.nan), "not finite"),
        (np.zeros((20, 24, 28), bool), "not finite real numbers"),
    ],
)
def test_what_cannot_be_an_original_is_refused(original: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tinc.recalibrate(small_volume(), original)


def test_without_networks_there_is_nothing_to_calibrate() -> None:
    with pytest.raises(ValueError, match="no networks"):
        tinc.recalibrate(tinc.compress(small_array(), max_error=1), small_array())


def test_a_path_in_place_of_a_volume_is_said() -> None:
    with pytest.raises(TypeError, match="volume is of type str, expected a TincVolume"):
        tinc.recalibrate("a.tinc", small_array())  # type: ignore[arg-type]


def test_a_filter_is_not_calibrated_anew() -> None:
    volume = tinc.open(Path(__file__).parents[1] / "golden" / "filtered-i2.tinc")
    with pytest.raises(ValueError, match="no networks: its filter was fitted to its original when it was compressed"):
        tinc.recalibrate(volume, np.asarray(volume))
