"""A compressed layer against its original: figures, other calibrations, what may be an original."""

from __future__ import annotations

import copy
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from volumes import brighter, small_array, small_volume, wide_array, wide_volume

import napari_tinc as tinc
from napari_tinc.plugin.compare import original
from napari_tinc.plugin.compare.original import (
    NO_NETWORKS,
    ShownVolume,
    describe_measurement,
    difference,
    is_calibrated,
    likely_original,
    measure,
    other_calibration,
    possible_originals,
    show_volume,
    why_not_toggled,
)
from napari_tinc.plugin.layers import origin
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.origin import unmodified_volume


def image(volume: tinc.TincVolume, eager: int = 10**6) -> Image:
    data, arguments = to_layer(volume, "a (tinc)", eager)
    return Image(data, **arguments)


def test_measured_figures_agree_with_each_other() -> None:
    volume = tinc.recalibrate(small_volume(), brighter())
    found = measure(volume, brighter())
    assert found.quality == tinc.compare(brighter(), volume)
    assert found.uncalibrated_rows is not None and found.uncalibrated_quality.psnr < found.quality.psnr
    assert found.counts.sum() == pytest.approx(0.999, abs=0.002)
    errors = list(found.percentile_errors)
    assert errors == sorted(errors) and errors[-1] <= found.quality.max_error
    voxels = (found.rows["stop"] - found.rows["start"]).prod(axis=1)
    assert np.sqrt((found.rows["rmse"] ** 2 * voxels).sum() / voxels.sum()) == pytest.approx(found.quality.rmse)
    text = describe_measurement(found)
    assert f"PSNR {found.quality.psnr:.2f} dB" in text and "Calibration gives +" in text


def test_a_volume_without_calibration_has_nothing_before() -> None:
    volume = tinc.compress(np.full((9, 10, 11), 7, np.uint8), ratio=2)
    found = measure(volume, np.asarray(volume))
    assert found.uncalibrated_rows is None and found.uncalibrated_quality is None and found.counts.sum() == 1
    assert "Calibration" not in describe_measurement(found)


def test_a_difference_is_signed_and_does_not_wrap_around() -> None:
    off, far = difference(np.array([[[200, 3]]], np.uint8), np.array([[[3, 200]]], np.uint8))
    assert off.dtype == np.float32 and off.tolist() == [[[-197, 197]]] and far == 197
    assert difference(small_array(), small_array())[1] == 1
    with pytest.raises(ValueError, match="NaN or infinite values that are others"):
        difference(np.array([[[np.nan]]]), np.ones((1, 1, 1)))
    holes = np.array([[[np.nan, np.inf, -np.inf, 2]]])
    assert difference(holes, holes + 1)[0].tolist() == [[[0, 0, 0, 1]]]
    assert np.isfinite(difference(np.full((1, 1, 1), 1e300), np.full((1, 1, 1), -1e300))[0]).all()
    with pytest.raises(ValueError, match="shapes differ"):
        difference(np.ones((2, 1, 1)), np.ones((1, 1, 1)))


def test_a_promise_that_was_made_of_another_original() -> None:
    volume = tinc.compress(small_array(), max_error=2)
    assert describe_measurement(measure(volume, small_array())).endswith("Promised: every voxel within 2")
    assert describe_measurement(measure(volume, small_array() // 2)).endswith("within 2: not of this original")


def test_a_volume_with_holes_is_measured() -> None:
    holes = brighter().astype(np.float32)
    holes[3, 4, 5], holes[0, 0, 0] = np.nan, np.inf
    for bound in (0, 0.5):
        found = measure(tinc.compress(holes, max_error=bound), holes)
        assert found.quality.max_error <= bound and np.isfinite(found.rows["rmse"]).all()
        assert not np.isnan(found.rows["psnr"]).any() and found.counts.sum() <= 1


def test_calibration_is_taken_away_and_given_back_without_decoding_again(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = tinc.recalibrate(small_volume(), brighter())
    layer = image(volume)
    values = layer.data
    show_volume(layer, other_calibration(layer), keep_other=True)
    assert not is_calibrated(layer) and not np.array_equal(layer.data, values)
    kept = unmodified_volume(*layer.as_layer_data_tuple()[:2])  # what File > Save writes is what is seen
    np.testing.assert_array_equal(np.asarray(kept), layer.data)
    monkeypatch.setattr(original, "to_layer", None)
    show_volume(layer, other_calibration(layer), keep_other=True)
    assert is_calibrated(layer) and layer.data is values
    assert unmodified_volume(*layer.as_layer_data_tuple()[:2]) is volume
    show_volume(layer, other_calibration(layer), keep_other=True)
    assert not is_calibrated(layer)
    copy.deepcopy(layer.metadata)  # as napari does for a duplicate


def test_lazy_layers_are_toggled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_tinc.plugin.layers.display.OVERVIEW_VOXELS", 2000)
    layer = image(tinc.recalibrate(wide_volume(), wide_array() // 2 + 30), 2000)
    assert layer.multiscale
    before = np.asarray(layer.data[0][3])
    show_volume(layer, other_calibration(layer), keep_other=True)
    assert layer.multiscale and not np.array_equal(np.asarray(layer.data[0][3]), before)
    assert unmodified_volume(*layer.as_layer_data_tuple()[:2]) is layer.metadata["tinc"]


def test_what_has_no_calibration_says_so() -> None:
    layer = image(tinc.compress(np.full((9, 10, 11), 7, np.uint8), ratio=2))
    with pytest.raises(ValueError, match=r"a \(tinc\) has no calibration; it can be calibrated against its original"):
        other_calibration(layer)


def test_a_recalibrated_volume_replaces_what_was_shown() -> None:
    layer = image(small_volume())
    shown = ShownVolume.of(tinc.recalibrate(small_volume(), brighter()), layer)
    assert isinstance(shown, ShownVolume)
    show_volume(layer, shown, keep_other=False)
    assert tinc.compare(brighter(), layer.data).psnr > tinc.compare(brighter(), small_volume()).psnr + 1
    assert unmodified_volume(*layer.as_layer_data_tuple()[:2]) is shown.volume
    assert not is_calibrated(image(shown.volume.uncalibrated()))


def test_originals_are_plain_images_of_the_same_shape_and_the_namesake_comes_first() -> None:
    viewer = ViewerModel()
    layer = viewer.layers.append(image(small_volume())) or viewer.layers[0]
    other = viewer.add_image(small_array(), name="z")
    viewer.add_image(small_array()[1:], name="y")
    viewer.add_image(np.zeros((20, 24, 28, 3), np.uint8), name="rgb", rgb=True)
    viewer.add_labels(np.zeros((20, 24, 28), np.uint8), name="labels")
    namesake = viewer.add_image(small_array(), name="a")
    assert possible_originals(viewer.layers, layer) == [namesake, other]


@pytest.mark.parametrize("name", ["a", "a [1]", "a (tinc)", "a (tinc 64x)", "a (tinc ±5) [2]", "a [1] (tinc lossless)"])
def test_an_original_is_chosen_by_its_name(name: str) -> None:
    layer = image(small_volume())
    layer.name = name
    stranger = Image(small_array(), name="b")
    assert likely_original([layer, stranger], layer) is None
    namesake = Image(small_array(), name="a")
    assert likely_original([layer, stranger, namesake], layer) is namesake


def test_an_original_is_the_layer_that_was_compressed_whatever_its_name() -> None:
    layer, source, namesake = image(small_volume()), Image(small_array(), name="b"), Image(small_array(), name="a")
    layer.metadata[origin.SOURCE] = weakref.ref(source)
    assert likely_original([layer, namesake, source], layer) is source
    assert possible_originals([layer, namesake, source], layer) == [source, namesake]
    assert likely_original([layer, namesake], layer) is None  # another one of that name


def test_calibration_is_not_proposed_for_what_has_no_networks() -> None:
    layer = image(tinc.compress(small_array(), max_error=2))
    assert why_not_toggled(layer) == NO_NETWORKS
    with pytest.raises(ValueError, match="no networks, so there is nothing to calibrate"):
        other_calibration(layer)
    assert why_not_toggled(image(small_volume())) == "Not calibrated. Use Recalibrate first."
    assert why_not_toggled(image(tinc.recalibrate(small_volume(), brighter()))) == ""
