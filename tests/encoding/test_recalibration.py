"""Another calibration of the same networks: what changes, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from volumes import brighter, small_array, small_volume

import napari_tinc as tinc
from napari_tinc.encoding.recalibration import recalibrated, uncalibrated
from napari_tinc.format.chunks import Ancillary
from napari_tinc.format.networks_file import Calibration


def test_a_volume_is_calibrated_for_another_original_and_says_how_good_it_is() -> None:
    volume, original = small_volume(), brighter()
    found = recalibrated(volume, original)
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
    once = recalibrated(small_volume(), brighter())
    np.testing.assert_array_equal(np.asarray(recalibrated(once, brighter())), np.asarray(once))


def test_without_calibration_the_networks_are_the_same_and_nothing_is_claimed() -> None:
    volume = recalibrated(small_volume(), brighter())
    plain = uncalibrated(volume)
    assert plain.header.calibration is Calibration.NONE and uncalibrated(plain) is plain
    networks = [v.parts.part(0, 0).network.vector for v in (plain, volume)]
    np.testing.assert_array_equal(*networks)
    assert (plain.leaves["gain"] == 1).all() and (plain.leaves["offset"] == 0).all()
    assert Ancillary.QUALITY not in [chunk.role for chunk in plain.parts.entries()]
    assert not np.array_equal(np.asarray(plain), np.asarray(volume))


def test_a_constant_volume_has_nothing_to_calibrate() -> None:
    volume = tinc.compress(np.full((9, 10, 11), 7, np.uint8), ratio=2)
    np.testing.assert_array_equal(np.asarray(recalibrated(volume, np.full((9, 10, 11), 9))), 7)


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
        recalibrated(small_volume(), original)


def test_without_networks_there_is_nothing_to_calibrate() -> None:
    with pytest.raises(ValueError, match="no networks"):
        recalibrated(tinc.compress(small_array(), max_error=1), small_array())
