"""Leaves and Compare for files of several volumes: channels work each by itself, other axes are refused with advice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from short_fits import shorten
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.plugin.compare.modes import Mode
from napari_tinc.plugin.compare.widget import CompareWidget
from napari_tinc.plugin.layers.from_volume import to_layer, to_layers
from napari_tinc.plugin.layers.origin import VOLUME
from napari_tinc.plugin.leaves.widget import LeavesWidget


def two() -> np.ndarray:
    """uint16 (2, 20, 24, 28)."""
    return np.stack([small_array(), small_array()[::-1]])


@pytest.mark.parametrize("how", [{"ratio": 12, "preset": "fast"}, {"max_error": 3, "block": 16}])
def test_each_channel_has_leaves_and_is_compared(qtbot: Any, monkeypatch: pytest.MonkeyPatch, how: Any) -> None:
    shorten(monkeypatch)
    viewer = ViewerModel()
    channels = [{"name": "DAPI"}, {"name": "GFP"}]
    volume = tinc.compress(two(), axis_labels="czyx", channels=channels, **how)
    for (data, arguments), values in zip(to_layers(volume, "cells", 10**6), two(), strict=True):
        viewer.add_image(values, name=arguments["name"])
        viewer.add_image(data, **arguments)
    leaves, compare = LeavesWidget(viewer), CompareWidget(viewer)
    for widget in (leaves, compare):
        qtbot.addWidget(widget.native)
    for name, values in zip(("cells DAPI", "cells GFP"), two(), strict=True):
        layer = next(layer for layer in viewer.layers if layer.name == f"{name} [1]")
        viewer.layers.selection.active = layer
        assert leaves.pair.layers == (viewer.layers[name], layer) == compare.pair.layers
        leaves.outlines.value = True
        assert f"{name} [1] leaves" in viewer.layers
        leaves.measure.native.click()
        qtbot.waitUntil(lambda: not leaves.pair.busy, timeout=30_000)
        quality = tinc.compare(values, layer.metadata[VOLUME])
        assert f"PSNR {quality.psnr:.2f} dB" in leaves.status.value
        compare.mode.value = str(Mode.CURTAIN)
        curtain = np.asarray(next(layer for layer in viewer.layers if layer.name.endswith("curtain")).data)
        np.testing.assert_array_equal(curtain[..., :14], values[..., :14])
        np.testing.assert_array_equal(curtain[..., 15:], np.asarray(layer.metadata[VOLUME])[..., 15:])
        compare.mode.value = str(Mode.OFF)


def test_several_points_in_time_are_refused_with_what_to_do(qtbot: Any) -> None:
    viewer = ViewerModel()
    data, arguments = to_layer(tinc.compress(two(), max_error=3, axis_labels="tzyx"), "cells", 10**6)
    viewer.add_image(data, **arguments)
    advice = "cells holds 2 volumes (axes t, z, y, x): compress one by itself to see its leaves or compare it"
    for kind in (LeavesWidget, CompareWidget):
        widget = kind(viewer)
        qtbot.addWidget(widget.native)
        assert widget.status.value == advice
