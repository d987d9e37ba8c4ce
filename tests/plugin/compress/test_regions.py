"""Regions in the Compress dock: Labels and Shapes layers say what is kept exactly, and what is important."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compress_dock import finish
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes

import napari_tinc as tinc
from napari_tinc.plugin.compress.form import MAX_ERROR
from napari_tinc.plugin.compress.region_layers import mask_of
from napari_tinc.plugin.compress.widget import CompressWidget
from napari_tinc.plugin.layers.origin import PROMISE, VOLUME

SHAPE = (12, 20, 24)


def image(**arguments: Any) -> Image:
    z, y, x = np.indices(SHAPE)
    values = 100 + 30 * np.sin(z / 3) + 20 * np.cos(y / 4) + x + np.random.default_rng(0).normal(0, 3, SHAPE)
    return Image(values.astype(np.uint8), name="brain", **arguments)


def painted() -> np.ndarray:
    labels = np.zeros(SHAPE, np.int32)
    labels[2:7, 5:15, 6:12] = 3
    return labels


def test_shapes_in_one_slice_count_in_all_slices() -> None:
    rectangle = np.array([[4, 5, 6], [4, 5, 15], [4, 14, 15], [4, 14, 6]], float)
    mask = mask_of(Shapes([rectangle], shape_type="rectangle"), image())
    assert mask.shape == SHAPE and (mask == mask[0]).all()
    assert mask[0, 6:13, 7:14].all() and not mask[0, :4].any() and not mask[0, :, 17:].any()


def test_shapes_in_several_slices_count_between_them() -> None:
    rectangle = np.array([[0, 5, 6], [0, 5, 15], [0, 14, 15], [0, 14, 6]], float)
    shapes = Shapes([rectangle + np.array([at, 0, 0]) for at in (3, 8)], shape_type="rectangle", scale=(2, 1, 1))
    mask = mask_of(shapes, image(scale=(2, 1, 1)))
    assert mask.any(axis=(1, 2)).nonzero()[0].tolist() == list(range(3, 9))
    flat = mask_of(Shapes([rectangle[:, 1:]], shape_type="ellipse"), image())
    assert flat.all(axis=0).any() and flat.sum() < 12 * 100


@pytest.mark.parametrize(("layer", "message"), [
    (Labels(np.zeros((3, 4, 5), int), name="cells"), r"cells has the shape \(3, 4, 5\), expected that of brain"),
    (Labels(np.zeros(SHAPE, int), name="cells"), "cells marks no voxel of brain"),
    (Labels(painted(), name="cells", scale=(2, 1, 1)), r"cells has the scale \[2.0, 1.0, 1.0\]"),
    (Shapes([[[1, 2, 3], [4, 5, 6]]], shape_type="line", name="lines"), "lines marks no voxel"),
])  # fmt: skip
def test_layers_that_mark_nothing_are_refused(layer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mask_of(layer, image())


def test_a_region_is_kept_and_reported(qtbot: Any) -> None:
    viewer = ViewerModel()
    viewer.add_layer(image())
    widget = CompressWidget(viewer)
    qtbot.addWidget(widget.native)
    assert len(widget.exact.choices) == 1  # nothing
    labels = viewer.add_labels(painted(), name="tumour")
    widget.reset_choices()
    widget.image.value = viewer.layers["brain"]
    assert labels in widget.exact.choices and labels in widget.importance.choices
    widget.target.value, widget.max_error.value = MAX_ERROR, "20"
    widget.exact.value = labels
    assert "Keeps 300 voxels (5 % of the volume) bit for bit" in widget.plan_text.value
    assert not widget.importance.enabled
    widget.isolate.value = False
    widget.start()
    status = finish(qtbot, widget)
    assert "300 voxels bit for bit; every other voxel within 20" in status
    (copy,) = [layer for layer in viewer.layers if VOLUME in layer.metadata]
    volume = copy.metadata[VOLUME]
    assert isinstance(volume, tinc.TincVolume) and "300 voxels bit for bit" in copy.metadata[PROMISE]
    assert (np.asarray(volume)[painted() > 0] == viewer.layers["brain"].data[painted() > 0]).all()
    assert copy not in widget.exact.choices


def test_a_conflict_is_said_before_the_job(qtbot: Any) -> None:
    viewer = ViewerModel()
    viewer.add_layer(image())
    labels = viewer.add_labels(painted(), name="tumour")
    widget = CompressWidget(viewer)
    qtbot.addWidget(widget.native)
    widget.image.value = viewer.layers["brain"]
    widget.target.value, widget.max_error.value = MAX_ERROR, "2"
    widget.exact.value, widget.exact_max_error.value = labels, "3"
    assert "can only be kept better than the rest" in widget.plan_text.value
    assert not widget.compress.enabled
