"""What Measure tells besides errors: the correlation and its curve, the regions of a labels layer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compressed_layers import notified
from napari.components import ViewerModel
from volumes import brighter, small_volume

import napari_tinc as tinc
from napari_tinc.correlation import ShellCorrelation, fourier_shell_correlation
from napari_tinc.errors import Cancelled
from napari_tinc.plugin.compare import detail
from napari_tinc.plugin.compare.widget import CompareWidget
from napari_tinc.plugin.compare.work import Work


def labels_of(*values: int) -> np.ndarray[Any, Any]:
    """Slabs with one label each."""
    labels = np.zeros(brighter().shape, np.uint8)
    for at, value in enumerate(values):
        labels[2 * at : 2 * at + 2] = value
    return labels


def test_the_curve_and_its_line(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    pytest.importorskip("pyqtgraph")
    widget = make(CompareWidget, viewer)
    assert widget._curve.isHidden()
    widget.measure.native.click()
    qtbot.waitUntil(lambda: "Fourier shell correlation" in widget.status.value, timeout=30_000)
    assert not widget._curve.isHidden()
    volume = small_volume()
    expected = fourier_shell_correlation(brighter(), np.asarray(volume), volume.spacing)
    (curve, *_) = [item for item in widget._curve.listDataItems() if item.opts["pen"] is not None]
    np.testing.assert_allclose(curve.getData()[1], expected.correlations)
    widget.pair.original.value = viewer.add_image(brighter()[::-1], name="b")
    assert widget._curve.isHidden() and "Fourier" not in widget.status.value


def test_regions_of_a_labels_layer(viewer: ViewerModel, make: Any, qtbot: Any) -> None:
    widget = make(CompareWidget, viewer)
    viewer.add_labels(np.zeros((3, 4, 5), int), name="of something else")
    cells = viewer.add_labels(labels_of(3, 8), name="cells")
    assert widget.regions.choices == (None, cells) and widget.regions.value is None
    widget.regions.value = cells
    widget.measure.native.click()
    qtbot.waitUntil(lambda: "inside" in widget.status.value, timeout=30_000)
    inside = tinc.compare(brighter(), small_volume())
    assert f"all {inside.psnr:.2f} dB" in widget.status.value and "outside" in widget.status.value
    assert "Labels " in widget.status.value and "8: " in widget.status.value
    viewer.add_image(brighter()[::-1], name="b")  # the lists are filled anew
    assert "inside" in widget.status.value and widget.regions.value is cells
    viewer.layers.remove(cells)
    assert widget.regions.value is None and "inside" not in widget.status.value


def test_a_cancel_ends_the_thread(viewer: ViewerModel, make: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started, ended = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> ShellCorrelation:
        check: Callable[[], None] = arguments[-1]
        started.set()
        try:
            while True:
                check()
        finally:
            ended.set()

    monkeypatch.setattr(detail, "fourier_shell_correlation", slow)
    widget = make(CompareWidget, viewer)
    widget.measure.native.click()
    qtbot.waitUntil(lambda: started.is_set() and widget.pair._bar.value == 100 * detail.MEASURED, timeout=30_000)
    assert widget.pair._bar.max == 100
    widget.pair.cancel.native.click()
    assert ended.wait(10) and widget.measure.enabled and widget.status.value == "Cancelled."
    widget.signed.native.click()  # which does not tell how far it is
    assert widget.pair._bar.max == 0 and widget.pair.busy
    qtbot.waitUntil(lambda: "a difference" in viewer.layers and not widget.pair.busy, timeout=30_000)
    assert notified() == []


def test_regions_in_words() -> None:
    volume = small_volume()
    measured = detail.measure_detail(volume, brighter(), labels_of(1, 2, 3, 4, 5, 6, 7))
    *_, psnr, ssim, labels = detail.describe_detail(measured).splitlines()
    assert psnr.startswith("PSNR inside ") and ", outside " in psnr and ssim.startswith("SSIM inside ")
    assert labels.startswith("Worst labels ") and ", and 2 more, up to " in labels
    psnrs = [float(part.split(": ")[1].split()[0]) for part in labels.removeprefix("Worst labels ").split(", ")[:5]]
    assert psnrs == sorted(psnrs)
    assert detail.describe_detail(replace(measured, correlation=None, regions=())) == ""
    assert "inside" not in detail.describe_detail(detail.measure_detail(volume, brighter()))
    with pytest.raises(ValueError, match="the label image has shape"):
        detail.measure_detail(volume, brighter(), labels_of()[:3])


def test_where_a_curve_crosses_its_thresholds() -> None:
    curve = np.array([0.9, 0.6, 0.4, 0.2])
    shells = ShellCorrelation(np.arange(1, 5) / 8, curve, np.ones(4, np.int64), "voxels", 2.0, 1, (8, 8, 8))
    np.testing.assert_allclose(detail.crossings(shells, (0.5, 0.143)), [[2.5 / 8, 0.5]])
    assert shells.resolution(0.143) == 2 and detail.crossings(shells, (0.1,)).size == 0
    assert detail.frequency_title(shells) == "frequency (1/voxel)"
    assert detail.frequency_title(replace(shells, unit="millimeter")) == "frequency (1/millimeter)"


def test_work_ends_at_its_next_step() -> None:
    work = Work()
    work.reach(0.5)
    work.cancel()
    with pytest.raises(Cancelled):
        work.reach(0.7)
    assert work.share == 0.5


def test_values_that_are_no_measurements_are_left_out() -> None:
    array = np.random.default_rng(0).normal(100, 20, (12, 14, 16)).astype("int16")
    array[:, :5] = -32768
    measurement = detail.measure_detail(tinc.compress(array, max_error=4, fill=-32768), array)
    assert measurement.quality.max_error <= 4 and measurement.quality.psnr < 40 and not measurement.broken
    assert measurement.percentile_errors[-1] >= 3  # of zeros alone, were the others counted
