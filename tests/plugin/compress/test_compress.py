"""The compress widget; all but the last tests on a viewer without a window."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from superqt.utils import WorkerBase
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.control import Control
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.encoding.options import Options
from napari_tinc.events import Progress
from napari_tinc.isolation import caller
from napari_tinc.plugin import writer
from napari_tinc.plugin.compress import plan
from napari_tinc.plugin.compress import widget as compress_widget
from napari_tinc.plugin.compress.widget import CompressWidget
from napari_tinc.plugin.jobs.job import JobError, Request
from napari_tinc.plugin.jobs.worker import start_job
from napari_tinc.plugin.layers.geometry import Geometry
from napari_tinc.plugin.preferences import Preferences
from napari_tinc.training import fit_tree, task

LONG = 10**6  # steps: a job that lasts until it is ended
QUICK = Preferences(ratio=12, preset="fast", device="cpu", isolate=False)  # where tests can reach it


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 1)
    monkeypatch.setattr(compress_widget, "read_preferences", lambda: QUICK)


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a", scale=(2, 0.5, 0.5), units=("um",) * 3, axis_labels=("z", "y", "x"))
    return viewer


@pytest.fixture
def make_widget(qtbot: Any) -> Iterator[Callable[[Any], CompressWidget]]:
    widgets: list[CompressWidget] = []

    def make(viewer: Any) -> CompressWidget:
        widget = CompressWidget(viewer)
        qtbot.addWidget(widget.native)
        widgets.append(widget)
        qtbot.waitUntil(lambda: widget.device.value == "cpu", timeout=30_000)  # torch's devices were found
        return widget

    yield make
    for widget in widgets:
        if widget.queue.running:
            widget.queue.running.control.cancel.set()
            qtbot.waitUntil(lambda widget=widget: widget.queue.running is None, timeout=20_000)


def finish(qtbot: Any, widget: CompressWidget) -> str:
    qtbot.waitUntil(lambda: widget.queue.running is None, timeout=60_000)
    return widget.status.value


def started(qtbot: Any, widget: CompressWidget) -> None:
    widget.start()
    qtbot.waitUntil(lambda: "step" in widget.status.value, timeout=30_000)


def buttons(widget: CompressWidget) -> tuple[bool, bool, bool]:
    return widget.compress.enabled, widget.stop.enabled, widget.cancel.enabled


def test_the_widget_says_what_it_would_do(viewer: ViewerModel, make_widget: Any) -> None:
    widget = make_widget(viewer)
    assert widget.image.value is viewer.layers["a"]
    assert widget.sizes.value.startswith("20 x 24 x 28 uint16\n26.9 kB will become 2.2 kB\nin about ")
    assert re.search(r"\nwith at most about 4\d\d MB of memory$", widget.sizes.value)
    widget.ratio.value = 100
    assert "will become 269 bytes\n" in widget.sizes.value
    widget.target.value = "Size (kB)"
    widget.size.value = 1.5
    assert "will become 1.5 kB\n" in widget.sizes.value
    widget.target.value = "PSNR (dB)"
    assert "the smallest file of 35 dB" in widget.sizes.value and "about" not in widget.sizes.value
    assert buttons(widget) == (True, False, False)
    assert "GB free" in widget.memory.value
    assert list(widget.preset.choices) == ["fast", "balanced", "best"]
    assert widget.native.sizeHint().width() <= 350


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
    assert reason in widget.sizes.value
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
    assert widget.image.value is None and widget.sizes.value == "Open a 3D image, or labels, to compress."
    widget.start()
    assert widget.status.value == "Open a 3D image first."
    viewer.add_image(small_array(), name="a")
    widget.reset_choices()  # as napari does
    assert "uint16" in widget.sizes.value


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


def test_one_of_several_volumes_or_all(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    pair = np.stack([small_array(), small_array()[::-1]])
    viewer.add_image(pair, name="c", scale=(9, 2, 1, 1), translate=(7, 5, 3, 1), colormap="magma", rotate=0)
    widget = make_widget(viewer)
    assert (
        list(widget.part.choices) == ["all, in one file", "all, one file each", "0", "1"]
        and widget.part.value == "all, in one file"
    )
    widget.part.value = "1"
    widget.start()
    finish(qtbot, widget)
    result = viewer.layers["c [1] (tinc 12x)"]
    assert list(result.scale) == [2, 1, 1] and list(result.translate) == [5, 3, 1] and result.colormap.name == "magma"
    correlation = np.corrcoef(result.data.ravel(), pair[1].ravel())[0, 1]
    assert correlation > np.corrcoef(result.data.ravel(), pair[0].ravel())[0, 1]
    widget.image.value = viewer.layers["c"]
    widget.part.value = "all, one file each"
    assert widget.sizes.value.startswith("2 times 20 x 24 x 28")
    widget.start()
    assert len(widget.queue.waiting) == 1
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=60_000)
    finish(qtbot, widget)


def test_colours_of_an_rgb_volume(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.stack([(small_array() // 8).astype(np.uint8)] * 3, axis=-1), name="c", rgb=True)
    widget = make_widget(viewer)
    assert list(widget.part.choices)[2:5] == ["R", "G", "B"]
    widget.part.value = "G"
    widget.start()
    finish(qtbot, widget)
    assert viewer.layers["c [G] (tinc 12x)"].data.shape == (20, 24, 28)


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
    widget._look()
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=20_000)
    preview = viewer.layers["a preview"]
    assert preview.data.shape == (10, 12, 14) and widget.image.value is source
    for ends in (0, 1):  # of extents, which are between the centres of outer voxels
        edges = [layer.extent.world[ends] + (ends - 0.5) * layer.scale for layer in (preview, source)]
        np.testing.assert_allclose(*edges)
    values = preview.data
    widget._look()
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
        widget._look()
        qtbot.waitUntil(lambda: not widget.queue.running.control.look.is_set(), timeout=20_000)
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=20_000)
    viewer.layers.selection.active = viewer.layers["a preview"]
    widget.stop.native.click()
    assert "\nRatio 12." in finish(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)"]


def test_targets_and_options_reach_the_fit(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    given: list[dict[str, Any]] = []

    def note(_: object, options: Options, **__: object) -> Iterator[Progress]:
        given.append(vars(options))
        yield from ()

    monkeypatch.setattr(encoding_compress, "fit", note)
    widget = make_widget(viewer)
    assert "8 leaves, widths " in widget.networks.value
    widget.seed.value, widget.weights.value, widget.levels.value = 7, "int8", 3
    assert widget.networks.value.startswith("64 leaves")
    for target, value in (("Size (kB)", {"nbytes": 1500}), ("PSNR (dB)", {"psnr": 35})):
        widget.target.value = target
        widget.size.value = 1.5
        widget.start()
        finish(qtbot, widget)
        assert given[-1].items() >= (value | {"seed": 7, "weights": "int8", "levels": 3, "preset": "fast"}).items()
    widget.log.value = str(tmp_path / "log.jsonl")
    widget.start()
    finish(qtbot, widget)
    assert (tmp_path / "log.jsonl").exists()
    widget.log.value = str(tmp_path / "none" / "log.jsonl")
    widget.start()
    assert "there is no folder" in widget.status.value and widget.queue.running is None


def test_widths_and_calibration(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = make_widget(viewer)
    entropy = plan.estimate(widget, small_array()).n_parameters
    widget.weights.value = "float16"
    assert plan.estimate(widget, small_array()).n_parameters < entropy / 2
    widget.weights.value = "entropy"
    widget.widths.value = "10, 4"
    assert widget.networks.value.startswith("8 leaves, widths 10, 4: ") and not widget.levels.enabled
    for text, reason in (
        ("a", "expected numbers"),
        ("300", "expected each 1 to 256"),
        ("250", "weights take at least"),
    ):
        widget.widths.value = text
        assert reason in widget.networks.value
        widget.start()
        assert reason in widget.status.value and widget.queue.running is None
    widget.widths.value, widget.calibration.value = "10 4", "none"
    widget.start()
    assert finish(qtbot, widget).startswith("Ratio")
    header = viewer.layers["a (tinc 12x)"].metadata["tinc"].header
    assert header.widths[0] == 10 and header.calibration.name == "NONE"
    widget.target.value = "PSNR (dB)"  # which chooses them
    assert not widget.widths.enabled and widget.levels.enabled and widget.chosen_widths() is None


def test_settings_are_remembered(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    from napari_tinc.plugin.preferences import read_preferences, remember

    widget = make_widget(viewer)
    widget.ratio.value, widget.target.value, widget.size.value = 13, "Size (kB)", 2.5
    widget.start()
    finish(qtbot, widget)
    found = read_preferences()
    assert (found.ratio, found.preset, found.target, found.size) == (13, "fast", "Size (kB)", 2.5)
    assert not found.isolate
    remember(target="Ratio", ratio=64, size=100.0, preset="balanced", isolate=True)  # settings outlive a test


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


def test_where_no_process_can_be_started_none_is_offered(
    viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/napari/napari")
    monkeypatch.setattr(compress_widget, "read_preferences", lambda: replace(QUICK, isolate=True))
    widget = make_widget(viewer)
    assert not widget.isolate.enabled and not widget.isolate.value


def test_a_compressed_copy_is_not_what_is_chosen_first(viewer: ViewerModel, make_widget: Any) -> None:
    viewer.add_image(small_array(), name="a (tinc 12x)", metadata={"tinc": object()})
    assert make_widget(viewer).image.value.name == "a"


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
    assert notification_manager.records[-1].message.startswith("Cannot open bad.tinc: not a .tinc file")

    monkeypatch.setitem(task.STEPS, "fast", LONG)
    started(qtbot, widget)
    control = widget.queue.running.control
    for ndisplay in (3, 2):  # while it runs
        viewer.dims.ndisplay = ndisplay
        viewer.screenshot(flash=False)
        widget._look()
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


def test_all_volumes_in_one_file(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    series = np.stack([small_array(), small_array()[::-1]])
    viewer.add_image(series, name="c", scale=(9, 2, 1, 1), translate=(7, 5, 3, 1), colormap="magma")
    widget = make_widget(viewer)
    widget.part.value = "all, in one file"
    assert widget.sizes.value.startswith("2 x 20 x 24 x 28 uint16\n53.8 kB will become 4.5 kB")
    widget.start()
    assert finish(qtbot, widget).startswith("Ratio 12")
    result = viewer.layers["c (tinc 12x)"]
    assert result.metadata["tinc"].axis_labels == "tzyx" and result.data.shape == series.shape
    assert list(result.scale) == [9, 2, 1, 1] and list(result.translate) == [7, 5, 3, 1]
    assert result.colormap.name == "magma" and not widget.queue.waiting


def test_channels_of_a_mask_in_one_file(qtbot: Any, make_widget: Any) -> None:
    """Names are never channels with colours: they stay one layer, which had the axes of three."""
    viewer = ViewerModel()
    mask = np.stack([small_array() > 300, small_array() > 900])
    viewer.add_image(mask, name="c", axis_labels=("c", "z", "y", "x"))
    widget = make_widget(viewer)
    widget.part.value = "all, in one file"
    widget.start()
    assert "bit for bit" in finish(qtbot, widget)
    np.testing.assert_array_equal(viewer.layers["c (tinc lossless)"].data, mask)


def test_colours_in_one_file_become_layers(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.stack([(small_array() // 8).astype(np.uint8)] * 3, axis=-1), name="c", rgb=True)
    widget = make_widget(viewer)
    widget.part.value = "all, in one file"
    widget.start()
    assert finish(qtbot, widget).startswith("Ratio 12")
    assert [layer.name for layer in viewer.layers] == ["c", "c R (tinc 12x)", "c G (tinc 12x)", "c B (tinc 12x)"]
    np.testing.assert_allclose(viewer.layers["c G (tinc 12x)"].colormap.colors[-1], [0, 1, 0, 1])


def test_a_largest_error_and_what_it_makes_of_the_other_choices(
    qtbot: Any, viewer: ViewerModel, make_widget: Any
) -> None:  # fmt: skip
    widget = make_widget(viewer)
    fitted = (widget.preset, widget.device, widget.seed, widget.weights, widget.levels, widget.widths, widget.preview)
    widget.target.value = "Max error"
    assert widget.max_error.value == "lossless" and "every voxel bit for bit" in widget.sizes.value
    assert not any(choice.enabled for choice in fitted)
    widget.max_error.value = "12.5"
    assert "every voxel within 12.5\n" in widget.sizes.value
    widget.start()
    assert not widget.stop.enabled and widget.cancel.enabled
    assert "Checked: every voxel within 12.5\nPSNR" in finish(qtbot, widget)
    layer = viewer.layers["a (tinc ±12.5)"]
    assert layer.metadata["tinc"].error_bound == 12.5 and layer.metadata["tinc_promise"] == "every voxel within 12.5"
    assert np.abs(layer.data.astype(float) - small_array()).max() <= 12.5
    widget.target.value = "Ratio"
    assert all(choice.enabled for choice in fitted)


@pytest.mark.parametrize("text", ["abc", "-1", "inf", "nan", "1,5"])
def test_a_largest_error_that_is_none(viewer: ViewerModel, make_widget: Any, text: str) -> None:
    widget = make_widget(viewer)
    widget.target.value, widget.max_error.value = "Max error", text
    assert f'max error is "{text}", expected a number' in widget.sizes.value
    widget.start()
    assert widget.queue.running is None and widget.status.value == widget.sizes.value


def test_labels_are_kept_bit_for_bit(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    names = (small_array() > 300).astype(np.int64) * 70_000
    labels = viewer.add_labels(names.copy(), name="cells", scale=(2, 0.5, 0.5), opacity=0.3)
    viewer.layers.selection.active = viewer.layers["a"]
    widget = make_widget(viewer)
    widget.image.value = labels
    assert (widget.target.value, widget.max_error.value) == ("Max error", "lossless")
    assert not (widget.target.enabled or widget.max_error.enabled)
    assert "int32" in widget.sizes.value and "Labels and masks are always kept" in widget.sizes.value
    widget.start()
    labels.data[:] = 9  # painted on while it is compressed
    assert "every voxel bit for bit" in finish(qtbot, widget)
    copy = viewer.layers["cells (tinc lossless)"]
    assert isinstance(copy, Labels) and copy.metadata["tinc"].labels
    assert (list(copy.scale), copy.opacity) == ([2, 0.5, 0.5], 0.3)
    np.testing.assert_array_equal(copy.data, names)
    widget.image.value = viewer.layers["a"]
    assert widget.target.value == "Ratio" and widget.target.enabled and widget.preset.enabled

    viewer.add_labels(names << 40, name="far")
    widget.reset_choices()  # as napari does
    widget.image.value = viewer.layers["far"]
    widget.start()
    assert "does not fit into int32" in finish(qtbot, widget)


def test_layers_that_come_leave_the_other_choices_alone(make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.stack([small_array()] * 3), name="t")
    widget = make_widget(viewer)
    widget.device.choices = ["auto", "cpu", "cuda"]
    widget.device.value, widget.part.value = "cuda", "1"
    viewer.add_image(small_array(), name="a")
    widget.reset_choices()  # as napari does
    assert (widget.image.value.name, widget.part.value, widget.device.value) == ("t", "1", "cuda")
    assert len(widget.part.choices) == 5


def test_a_mask_that_is_an_image(qtbot: Any, make_widget: Any, tmp_path: Any) -> None:
    viewer = ViewerModel()
    mask = small_array() > 300
    viewer.add_image(mask, name="mask")
    widget = make_widget(viewer)
    assert not widget.target.enabled and "bit for bit" in widget.sizes.value
    widget.start()
    assert "bit for bit" in finish(qtbot, widget)
    copy = viewer.layers["mask (tinc lossless)"]
    assert isinstance(copy, Image)
    np.testing.assert_array_equal(copy.data, mask)
    data, arguments, _ = copy.as_layer_data_tuple()
    (path,) = writer.write(str(tmp_path / "mask.tinc"), data, arguments)
    assert tinc.open(path).dtype == bool
