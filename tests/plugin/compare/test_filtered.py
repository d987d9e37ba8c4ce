"""Layers of files without networks whose values pass a filter: it is turned off and on like a calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

import napari_tinc as tinc
from napari_tinc.plugin.compare.original import (
    describe_measurement,
    is_calibrated,
    measure,
    other_calibration,
    show_volume,
    why_not_toggled,
)
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.leaves.overlays import leaf_view
from napari_tinc.plugin.leaves.widget import describe_leaves


def waves() -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(0, 9, n) for n in (20, 26, 30)], indexing="ij")
    return (1000 + 300 * np.sin(z + y) * np.cos(x) + np.random.default_rng(0).normal(0, 20, z.shape)).astype("u2")


@pytest.fixture(scope="module")
def volume() -> tinc.TincVolume:
    return tinc.compress(waves(), nbytes=2400, method="predictive")


def test_a_measurement_says_what_the_filter_gives(volume: tinc.TincVolume) -> None:
    found = measure(volume, waves())
    assert found.uncalibrated_rows is not None and not found.broken
    assert (found.uncalibrated_rows["rmse"] > found.rows["rmse"]).all()
    assert "Calibration gives +0." in describe_measurement(found)


def test_a_filter_is_turned_off_and_on(volume: tinc.TincVolume) -> None:
    viewer: Any = ViewerModel()
    data, arguments = to_layer(volume, "a (tinc)", 10**6)
    image = viewer.add_image(data, **arguments)
    assert is_calibrated(image) and why_not_toggled(image) == ""
    assert "coefficients in" in describe_leaves(leaf_view(viewer, image), None)
    values = image.data
    show_volume(image, other_calibration(image), keep_other=True)
    assert not is_calibrated(image) and why_not_toggled(image) == "" and (image.data != values).any()
    assert "Filter switched off" in describe_leaves(leaf_view(viewer, image), None)
    show_volume(image, other_calibration(image), keep_other=True)
    assert is_calibrated(image) and image.data is values
