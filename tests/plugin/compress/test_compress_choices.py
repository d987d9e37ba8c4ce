"""What can be chosen in the Compress dock, on a viewer without a window: channels, method, results, reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from compress_dock import finish
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QApplication
from superqt.utils import WorkerBase
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.encoding import choice, without_networks
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.events import Finished, Progress
from napari_tinc.plugin import dialogs
from napari_tinc.plugin.compress import save_results
from napari_tinc.plugin.compress.widget import CompressWidget
from napari_tinc.plugin.layers.leading_axes import axes_of_file
from napari_tinc.plugin.layers.origin import base_name
from napari_tinc.plugin.leaves.widget import LeavesWidget
from napari_tinc.training import task


@pytest.fixture
def make_widget(qtbot: Any) -> Iterator[Callable[[Any], CompressWidget]]:
    widgets: list[CompressWidget] = []

    def make(viewer: Any) -> CompressWidget:
        widget = CompressWidget(viewer)
        qtbot.addWidget(widget.native)
        widgets.append(widget)
        qtbot.waitUntil(lambda: widget.device.value == "cpu" and not WorkerBase._worker_set, timeout=30_000)
        QApplication.processEvents()
        return widget

    yield make
    for widget in widgets:
        widget.queue.cancel_all()
        qtbot.waitUntil(lambda widget=widget: widget.queue.running is None, timeout=20_000)


def is_shown(widget: Any) -> bool:
    return bool(widget.native.isVisibleTo(widget.native.window()))


def ome_tiff(path: Path) -> Path:
    array = np.stack([small_array(), small_array()[::-1]])
    metadata = {"axes": "CZYX", "Channel": {"Name": ["DAPI", "GFP"], "Color": [0x0000FFFF, 0x00FF00FF]}}
    tifffile.imwrite(path, array, ome=True, metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("brain", "brain"), ("brain (tinc)", "brain"), ("brain (tinc 64x)", "brain"), ("ct (tinc ±5) [1]", "ct"),
        ("a (tinc) (tinc)", "a"), ("a (tinc) [2] (tinc 8x)", "a"), ("a [1]", "a [1]"), ("a (raw)", "a (raw)"),
        ("c GFP (tinc lossless)", "c GFP"),
    ],
)  # fmt: skip
def test_the_base_name(name: str, base: str) -> None:
    assert base_name(name) == base


def test_a_compressed_layer_is_compressed_again_under_one_suffix(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a (tinc 64x)")
    widget = make_widget(viewer)
    widget.start()
    finish(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a (tinc 64x)", "a (tinc 12x)"]


def test_channels_of_an_ome_tiff_stay_channels(
    qtbot: Any, make_widget: Any, npe2pm: PluginManager, tmp_path: Path
) -> None:
    npe2pm.register(PluginManifest.from_distribution("napari"))
    npe2pm.register(PluginManifest.from_distribution("napari-tinc"))
    viewer = ViewerModel()
    viewer.open(ome_tiff(tmp_path / "cells.ome.tif"), plugin="napari")
    widget = make_widget(viewer)
    qtbot.waitUntil(lambda: "channels DAPI, GFP" in widget.plan_text.value, timeout=10_000)
    assert widget.volumes.value == "all, in one file" and not is_shown(widget._axes_row)
    widget.start()
    finish(qtbot, widget)
    name = viewer.layers[0].name
    assert [layer.name for layer in viewer.layers][1:] == [f"{name} DAPI (tinc 12x)", f"{name} GFP (tinc 12x)"]
    np.testing.assert_allclose(viewer.layers[2].colormap.colors[-1], [0, 1, 0, 1])

    (result,) = widget._outcome().results
    volume, lost = result.current_volume()
    assert volume.axis_labels == "czyx" and lost == ""
    volume.save(tmp_path / "x.tinc")
    reopened = viewer.open(tmp_path / "x.tinc", plugin="napari-tinc")
    assert [layer.name for layer in reopened] == ["x DAPI", "x GFP"]
    viewer.layers.selection.active = reopened[1]
    leaves = LeavesWidget(viewer)
    qtbot.addWidget(leaves.native)
    assert leaves.pair.image.value is reopened[1]


@pytest.mark.parametrize(("axis", "letters"), [("points in time", "t"), ("channels", "c"), ("something else", "q")])
def test_what_an_axis_without_a_name_is(qtbot: Any, make_widget: Any, axis: str, letters: str) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.stack([small_array(), small_array()[::-1]]), name="c")
    widget = make_widget(viewer)
    assert is_shown(widget._axes_row) and widget.axes.value == "points in time"
    widget.axes.value = axis
    widget.start()
    finish(qtbot, widget)
    (result,) = widget._outcome().results
    assert result.volume.axis_labels == f"{letters}zyx" and len(result.layers) == (2 if letters == "c" else 1)
    widget.volumes.value = "0"
    assert not is_shown(widget._axes_row)
    viewer.add_image(np.stack([small_array()] * 2), name="d", axis_labels=("c", "z", "y", "x"))
    widget.reset_choices()  # as napari does
    widget.choice.follow()
    assert widget.image.value.name == "d" and not is_shown(widget._axes_row)


def test_a_file_that_says_nothing_of_axes(tmp_path: Path) -> None:
    array = np.stack([small_array()] * 2)
    np.save(tmp_path / "a.npy", array)
    assert not axes_of_file(str(tmp_path / "a.npy"), array.shape).letters
    assert not axes_of_file(str(tmp_path / "none.tif"), array.shape).letters
    path = str(ome_tiff(tmp_path / "a.ome.tif"))
    assert axes_of_file(path, array.shape).letters == "c" and not axes_of_file(path, (3, 4, 5, 6)).letters


def test_several_results_are_saved_into_a_folder(
    qtbot: Any, make_widget: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogs, "get_save_history", lambda: [str(tmp_path)])
    monkeypatch.setattr(save_results, "update_save_history", lambda path: None)
    viewer = ViewerModel()
    viewer.add_image(np.stack([small_array(), small_array()[::-1]]), name="c")
    widget = make_widget(viewer)
    widget.volumes.value = "all, one file each"
    widget.start()
    finish(qtbot, widget)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3 and widget.queue.running is None, timeout=60_000)
    assert all(layer.visible for layer in viewer.layers)  # none is another's older copy
    (tmp_path / "c [0].tinc").write_bytes(b"old")
    widget.save.native.click()
    widget._saving.dialog.fileSelected.emit(str(tmp_path))
    widget._saving.dialog.reject()
    qtbot.waitUntil(lambda: "Saved " in widget.status.value, timeout=20_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c [0] 2.tinc", "c [0].tinc", "c [1].tinc"]
    assert (tmp_path / "c [0].tinc").read_bytes() == b"old"


def test_a_result_that_was_edited_is_not_saved_as_it_was(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a")
    widget = make_widget(viewer)
    widget.start()
    finish(qtbot, widget)
    viewer.layers[1].data[:] = 7
    (result,) = widget._outcome().results
    with pytest.raises(ValueError, match="was changed since it was made"):
        result.current_volume()


def test_the_method_reaches_the_fit_and_is_told(qtbot: Any, make_widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_networks, "MOST_RATIO", 300)  # as outside of tests
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a")
    widget = make_widget(viewer)
    assert widget.method_text.value == "Networks, or the predictive coder where that is better"
    widget.method.value = "networks"
    assert widget.method_text.value == "An octree of networks"
    widget.start()
    assert "An octree of 9 networks" in finish(qtbot, widget)
    widget.method.value, widget.weights.value = "predictive", "int8"
    assert widget.method_text.value == "The predictive coder, without networks" and not widget.networks_text.value
    assert not widget.weights.enabled and "method is predictive" in widget.weights.native.toolTip()
    widget.start()
    assert "Without networks: 1 block, predictive coder" in finish(qtbot, widget)
    widget.method.value = "auto"
    assert widget.method_text.value == "An octree of networks"  # which int8 weights ask for
    widget.target.value = "Max error"
    assert widget.method_text.value == "The predictive coder, without networks"
    assert not widget.method.enabled and "without them" in widget.method.native.toolTip()


def test_why_a_method_was_taken(qtbot: Any, make_widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a")
    widget = make_widget(viewer)
    (made,) = [
        event for event in tinc.fit(small_array(), ratio=12, preset="fast", device="cpu") if isinstance(event, Finished)
    ]
    reason = choice.reason_without_networks(None)
    monkeypatch.setattr(
        encoding_compress, "fit", lambda *_, **__: iter([Finished(made.volume, made.quality, 3.0, reason)])
    )
    widget.start()
    assert f"An octree of 9 networks with 8 leaves ({reason}), in 3 s." in finish(qtbot, widget)


def test_compress_is_off_while_the_line_says_why_not(make_widget: Any, tmp_path: Path) -> None:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a")
    widget = make_widget(viewer)

    def refused(reason: str) -> bool:
        told = reason in widget.plan_text.value and reason in widget.compress.native.toolTip()
        return told and not widget.compress.enabled

    widget.target.value, widget.max_error.value = "Max error", "5,5"
    assert refused('max error is "5,5"')
    widget.max_error.value = "5.5"
    assert widget.compress.enabled and widget.compress.native.toolTip() == "Start to compress this layer."
    widget.target.value, widget.widths.value = "Ratio", "300"
    assert refused("expected each 1 to 256")
    widget.widths.value, widget.log.value = "", str(tmp_path / "none" / "log")
    assert refused("there is no folder")
    widget.log.value = ""
    assert widget.compress.enabled
    viewer.layers[0].data = np.zeros((5, 6))
    assert refused("only volumes of 3")
    viewer.layers.clear()
    widget.reset_choices()
    assert refused("Open a 3D image, or labels")


def test_disabled_buttons_say_why(qtbot: Any, make_widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a")
    widget = make_widget(viewer)
    tips = [button.native.toolTip() for button in (widget.stop, widget.cancel)]
    assert tips == ["Nothing is being compressed."] * 2
    monkeypatch.setattr(encoding_compress, "fit", lambda *_, **options: until(options["control"]))
    widget.target.value = "Max error"
    assert "without them" in widget.preset.native.toolTip()
    widget.start()
    assert widget.stop.native.toolTip() == "A largest error is kept everywhere or not at all."
    assert widget.cancel.enabled and widget.compress.native.toolTip() == "a is being compressed; this starts after it."
    widget.cancel.native.click()
    assert widget.cancel.native.toolTip() == "It is being cancelled."
    assert finish(qtbot, widget) == "Cancelled."
    widget.max_error.value = "3"
    assert widget.status.value == ""


def test_the_preview_can_be_taken_away(qtbot: Any, make_widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 10**6)
    viewer = ViewerModel()
    source = viewer.add_image(small_array(), name="a")
    widget = make_widget(viewer)
    widget.start()
    widget._request_preview()
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=20_000)
    assert source in widget.image.choices and viewer.layers["a preview"] not in widget.image.choices
    widget.preview.value = False
    assert "a preview" not in viewer.layers
    widget.preview.value = True
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=20_000)


def until(control: Any) -> Iterator[Progress]:
    """A fit that lasts until it is cancelled."""
    while not control.cancel.wait(0.01):
        yield Progress("blocks", 1, 2, 1.0, 1.0, 0.1, 30.0, None)
