"""Jobs of the Compress dock, from start to layer; all but the last tests on a viewer without a window."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from compress_dock import finish
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from superqt.utils import WorkerBase
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.control import Control
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.encoding.options import Options
from napari_tinc.events import Progress
from napari_tinc.isolation import caller
from napari_tinc.plugin.compress import plan
from napari_tinc.plugin.compress.widget import CompressWidget
from napari_tinc.plugin.jobs.job import JobError, Request
from napari_tinc.plugin.jobs.worker import start_job
from napari_tinc.plugin.layers.geometry import Geometry
from napari_tinc.training import fit_tree, task

LONG = 10**6  # steps: a job that lasts until it is ended


def started(qtbot: Any, widget: CompressWidget) -> None:
    widget.start()
    qtbot.waitUntil(lambda: "step" in widget.status.value, timeout=30_000)


def buttons(widget: CompressWidget) -> tuple[bool, bool, bool]:
    return widget.compress.enabled, widget.stop.enabled, widget.cancel.enabled


def test_the_widget_says_what_it_would_do(viewer: ViewerModel, make_widget: Any) -> None:
    widget = make_widget(viewer)
    assert widget.image.value is viewer.layers["a"]
    assert widget.plan_text.value.startswith("20 x 24 x 28 uint16\n26.9 kB will become 2.2 kB\nin about ")
    assert re.search(r"\nwith at most about 4\d\d MB of memory$", widget.plan_text.value)
    widget.ratio.value = 100
    assert "will become 269 bytes\n" in widget.plan_text.value
    widget.target.value = "Size (kB)"
    widget.size.value = 1.5
    assert "will become 1.5 kB\n" in widget.plan_text.value
    widget.target.value = "PSNR (dB)"
    assert "the smallest file of 35 dB" in widget.plan_text.value and "about" not in widget.plan_text.value
    assert buttons(widget) == (True, False, False)
    assert "GB free" in widget.memory_text.value
    assert list(widget.preset.choices) == ["fast", "balanced", "best"]
    assert widget.native.sizeHint().width() <= 350


@pytest.mark.filterwarnings("ignore:the file does not keep blending")  # 80 bytes are for the place first
def test_a_job_from_start_to_layer(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    source = viewer.layers["a"]
    source.colormap, source.contrast_limits, source.translate, source.rotate = "magma", (50, 1500), (5, 6, 7), 30
    top = viewer.add_image(np.zeros((3, 3)), name="b")
    widget = make_widget(viewer)
    widget.image.value = source
    started(qtbot, widget)
    assert (
        buttons(widget) == (True, True, True)
        and widget.compress.text == "Compress"
        and "a is being compressed" in widget.compress.native.toolTip()
    )
    widget.image.value = top  # the user goes on
    assert finish(qtbot, widget) == ""  # the result is of another layer
    widget.image.value = source
    status = widget.status.value
    assert status.startswith("Ratio 12.") and "PSNR" in status and "SSIM" in status
    assert buttons(widget) == (True, False, False)
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)", "b"]
    result = viewer.layers["a (tinc 12x)"]
    for name in ("scale", "translate", "rotate", "contrast_limits"):
        np.testing.assert_allclose(getattr(result, name), getattr(source, name))
    assert (result.units, result.axis_labels) == (source.units, source.axis_labels)
    assert result.colormap.name == "magma"
    volume = result.metadata["tinc"]
    assert isinstance(volume, tinc.TincVolume) and (volume.spacing, volume.units) == ((2, 0.5, 0.5), "micrometer")


def test_the_result_is_saved_at_once(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from napari_tinc.plugin import writer

    widget = make_widget(viewer)
    widget.start()
    finish(qtbot, widget)
    monkeypatch.delattr(writer, "compress_layer")
    result = viewer.layers["a (tinc 12x)"]
    writer.write(str(tmp_path / "a.tinc"), *result.as_layer_data_tuple()[:2])
    np.testing.assert_array_equal(np.asarray(tinc.open(tmp_path / "a.tinc")), result.data)


def test_cancel(qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", LONG)
    widget = make_widget(viewer)
    started(qtbot, widget)
    widget.cancel.native.click()
    assert buttons(widget) == (True, False, False)
    assert finish(qtbot, widget) == "Cancelled."
    assert buttons(widget) == (True, False, False) and len(viewer.layers) == 1


def test_stop(qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", LONG)
    widget = make_widget(viewer)
    started(qtbot, widget)
    widget.stop.native.click()
    assert buttons(widget) == (True, False, True)
    assert finish(qtbot, widget).startswith("Stopped early; a longer training would be better.\nRatio 12.")
    assert viewer.layers[-1].name == "a (tinc 12x)"


def test_errors_of_the_job_are_shown_once(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Iterator[Progress]:
        yield Progress("training", 1, 2, 0.0, 0.0, 1.0, 10.0, None)
        raise RuntimeError("CUDA out of memory\nlong story")

    monkeypatch.setattr(encoding_compress, "fit", fail)
    widget = make_widget(viewer)
    before = len(notification_manager.records)
    widget.start()
    assert finish(qtbot, widget) == "Failed: RuntimeError: CUDA out of memory"
    assert [note.message for note in notification_manager.records[before:]] == ["RuntimeError: CUDA out of memory"]
    assert buttons(widget) == (True, False, False)


@pytest.mark.parametrize(
    ("array", "reason"),
    [(np.zeros((5, 6)), "2 axes"), (np.zeros((5, 6, 3), np.uint8), "RGB"), (np.zeros((1001, 1, 2, 2)), "1001 volumes")],
)
def test_layers_that_cannot_be_compressed(make_widget: Any, array: np.ndarray, reason: str) -> None:
    viewer = ViewerModel()
    viewer.add_image(array, name="b", rgb=array.shape[-1] == 3)
    widget = make_widget(viewer)
    assert reason in widget.plan_text.value
    widget.start()
    assert reason in widget.status.value and widget.queue.running is None
    assert reason in notification_manager.records[-1].message


def test_what_the_user_can_mend_is_one_line_without_a_traceback(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    widget = make_widget(viewer)
    widget.ratio.value = 90_000
    before = len(notification_manager.records)
    widget.start()
    assert "cannot become" in finish(qtbot, widget)
    (note,) = notification_manager.records[before:]
    assert "the smallest file is about" in note.message
    assert "Traceback" not in capfd.readouterr().err


def test_without_an_image_layer(make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_points(np.ones((4, 3)))
    widget = make_widget(viewer)
    assert widget.image.value is None and widget.plan_text.value == "Open a 3D image, or labels, to compress."
    widget.start()
    assert widget.status.value == "Open a 3D image first."
    viewer.add_image(small_array(), name="a")
    widget.reset_choices()  # as napari does
    assert "uint16" in widget.plan_text.value


def test_the_result_comes_even_if_its_original_is_gone(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    widget = make_widget(viewer)
    widget.start()
    viewer.layers.clear()
    widget.reset_choices()
    finish(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a (tinc 12x)"]


def test_two_widgets_work_at_the_same_time(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    other_viewer = ViewerModel()
    other_viewer.add_image(small_array()[::-1], name="other")
    widgets = make_widget(viewer), make_widget(other_viewer)
    for widget in widgets:
        widget.start()
    for widget in widgets:
        assert finish(qtbot, widget).startswith("Ratio")
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)"]
    assert [layer.name for layer in other_viewer.layers] == ["other", "other (tinc 12x)"]


def test_a_widget_that_is_gone_is_not_touched(qtbot: Any, viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", LONG)
    widget = CompressWidget(viewer)
    started(qtbot, widget)
    running = widget.queue.running
    with qtbot.waitSignal(widget.native.destroyed):
        widget.native.deleteLater()
    assert running.control.cancel.is_set()
    widget._on_devices({"auto": "", "cpu": "", "cuda": ""})
    widget._on_no_devices(JobError("no torch"))
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=10_000)
    assert len(viewer.layers) == 1


def test_closing_the_dock_cancels_its_job(qtbot: Any, viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """napari takes a closed dock's widget out of it and keeps it: once, its job ran on unseen and added a layer."""
    from qtpy.QtWidgets import QDockWidget

    monkeypatch.setitem(task.STEPS, "fast", LONG)
    widget, dock = CompressWidget(viewer), QDockWidget()
    qtbot.addWidget(dock)
    dock.setWidget(widget.native)
    started(qtbot, widget)
    running = widget.queue.running
    widget.native.setParent(None)
    assert running.control.cancel.is_set()
    qtbot.addWidget(widget.native)
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=10_000)
    assert len(viewer.layers) == 1


def test_jobs_wait_for_each_other(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    second = viewer.add_image(small_array()[::-1], name="b")
    widget = make_widget(viewer)
    widget.image.value = viewer.layers["a"]
    widget.start()
    widget.image.value = second
    widget.compress.native.click()
    assert len(widget.queue.waiting) == 1 and widget.queue.running.request.name == "a"
    qtbot.waitUntil(lambda: "b (tinc 12x)" in viewer.layers, timeout=60_000)
    finish(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)", "b", "b (tinc 12x)"]


def test_the_pace_is_that_of_the_last_job(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    widget = make_widget(viewer)
    for _ in range(3):
        widget.start()
    for count in range(3):
        qtbot.waitUntil(lambda count=count: len(viewer.layers) == 2 + count, timeout=60_000)
    finish(qtbot, widget)
    expected = plan.expected_seconds(widget, plan.estimate(widget, small_array()))
    assert widget.queue.pace * expected < 30  # seconds; once it was multiplied by every job that had waited


def test_what_waits_goes_on_after_a_cancel_and_not_after_the_widget(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(task.STEPS, "fast", LONG)
    widget = make_widget(viewer)
    started(qtbot, widget)
    for _ in range(2):
        widget.start()
    first = widget.queue.running
    widget.cancel.native.click()
    qtbot.waitUntil(lambda: widget.queue.running not in (first, None), timeout=20_000)
    assert len(widget.queue.waiting) == 1
    widget._abandon()
    assert widget.queue.running is None and not widget.queue.waiting


def test_a_preview_is_shown_in_place_and_goes(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(task.STEPS, "fast", LONG)
    monkeypatch.setattr(fit_tree, "PREVIEW_VOXELS", 2000)
    source = viewer.layers["a"]
    source.translate = (1, 2, 3)
    widget = make_widget(viewer)
    started(qtbot, widget)
    assert widget.queue.running.curve
    widget._request_preview()
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=20_000)
    preview = viewer.layers["a preview"]
    assert preview.data.shape == (10, 12, 14) and widget.image.value is source
    for ends in (0, 1):  # of extents, which are between the centres of outer voxels
        edges = [layer.extent.world[ends] + (ends - 0.5) * layer.scale for layer in (preview, source)]
        np.testing.assert_allclose(*edges)
    values = preview.data
    widget._request_preview()
    qtbot.waitUntil(lambda: preview.data is not values, timeout=20_000)
    widget.cancel.native.click()
    finish(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a"]


def test_looking_at_it_in_2d_and_3d_while_it_runs(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(task.STEPS, "fast", LONG)
    widget = make_widget(viewer)
    started(qtbot, widget)
    for ndisplay in (3, 2, 3):
        viewer.dims.ndisplay = ndisplay
        widget._request_preview()
        qtbot.waitUntil(lambda: not widget.queue.running.control.look.is_set(), timeout=20_000)
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=20_000)
    viewer.layers.selection.active = viewer.layers["a preview"]
    widget.stop.native.click()
    assert "\nRatio 12." in finish(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)"]


def test_a_process_of_its_own_that_dies_and_one_that_does_not(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(python: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([python, "-c", "exit(3)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    widget = make_widget(viewer)
    assert not widget.isolate.value
    widget.isolate.value, widget.target.value = True, "Max error"
    with monkeypatch.context() as patch:
        patch.setattr(caller, "_start", start)
        widget.start()
        assert finish(qtbot, widget) == "Failed: the compression process ended without a result (exit code 3)"
    assert widget.queue.running is None and len(viewer.layers) == 1
    widget.start()
    assert finish(qtbot, widget).startswith("Ratio")
    np.testing.assert_array_equal(viewer.layers["a (tinc lossless)"].data, small_array())


def test_without_torch_the_widget_says_so(viewer: ViewerModel, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    widget = CompressWidget(viewer)
    qtbot.addWidget(widget.native)
    qtbot.waitUntil(lambda: "PyTorch cannot be imported" in widget.status.value, timeout=10_000)


def test_in_a_real_viewer(make_napari_viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Open the widget from its menu's command, run a job, save and reopen the result, and close during another job."""
    from napari._app_model import get_app_model

    viewer = make_napari_viewer()
    viewer.add_image(small_array(), name="a", scale=(2, 1, 1))
    get_app_model().commands.execute_command("napari-tinc.compress_widget")
    widget = viewer.window.dock_widgets["Compress (TINC)"]
    qtbot.waitUntil(lambda: widget.device.value == "cpu", timeout=30_000)
    widget.compress.native.click()
    assert finish(qtbot, widget).startswith("Ratio")
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)"]
    assert isinstance(viewer.layers[1], Image) and viewer.layers.selection == {viewer.layers[1]}

    written = viewer.layers.save(str(tmp_path / "b.tinc"), selected=True, plugin="napari-tinc")
    (reopened,) = viewer.open(written, plugin="napari-tinc")
    np.testing.assert_array_equal(reopened.data, viewer.layers[1].data)
    assert list(reopened.scale) == [2, 1, 1]

    (tmp_path / "bad.tinc").write_bytes(b"no" * 50)
    assert viewer.open(tmp_path / "bad.tinc", plugin="napari-tinc") == []
    assert notification_manager.records[-1].message.endswith("Cannot open bad.tinc: this is not a .tinc file")

    monkeypatch.setitem(task.STEPS, "fast", LONG)
    started(qtbot, widget)
    control = widget.queue.running.control
    for ndisplay in (3, 2):  # while it runs
        viewer.dims.ndisplay = ndisplay
        viewer.screenshot(flash=False)
        widget._request_preview()
        qtbot.waitUntil(lambda: not control.look.is_set(), timeout=20_000)
        viewer.screenshot(flash=False)
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=20_000)
    viewer.close()
    qtbot.waitUntil(control.cancel.is_set, timeout=10_000)
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=10_000)


def test_a_job_ends_with_its_own_viewer_only(make_napari_viewer: Any, qtbot: Any) -> None:
    """napari's own workers end with the viewer that was current when they were started."""
    viewer, other = make_napari_viewer(), make_napari_viewer()
    options, place = Options(ratio=12, preset="best", device="cpu"), Geometry((1, 1, 1), None, "zyx")
    request = Request(name="a", data=small_array(), geometry=place, options=options)
    control, events, ended = Control(), [], []
    start_job(viewer, request, control, 0, on_event=events.append, on_error=print, on_end=lambda: ended.append(True))
    qtbot.waitUntil(lambda: bool(events), timeout=30_000)
    other.close()
    assert not control.cancel.is_set()
    assert viewer.window._task_status_manager.get_status() == [
        "TINC: a is still being compressed. Closing now throws that away."
    ]
    viewer.close()
    assert control.cancel.is_set()
    qtbot.waitUntil(lambda: bool(ended), timeout=20_000)
