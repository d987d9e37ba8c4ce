"""The Compress dock in a real napari window, by mouse: start to saved file, closing during a job, focus, the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLabel, QMessageBox, QPushButton
from superqt.utils import WorkerBase
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.plugin import dialogs, writer
from napari_tinc.plugin.compress import closing, form, save_results
from napari_tinc.plugin.compress import widget as compress_widget
from napari_tinc.plugin.compress.widget import CompressWidget
from napari_tinc.plugin.preferences import Preferences
from napari_tinc.training import task

LONG = 10**6  # steps: a job that lasts until it is ended
WINDOW = (900, 700)  # pixels: without a GPU, a larger one takes longer to draw
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", 1)
    settings = Preferences(ratio=12, preset="fast", device="cpu", isolate=False)
    monkeypatch.setattr(compress_widget, "read_preferences", lambda: settings)
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)


@pytest.fixture
def opened(make_napari_viewer: Any, qtbot: Any, quick: None) -> Iterator[tuple[Any, CompressWidget]]:
    """Open a viewer with an image, and the dock by its menu; cancel at the end what still runs."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(*WINDOW)
    viewer.add_image(small_array(), name="a", scale=(2, 1, 1), translate=(5, 6, 7))
    get_app_model().commands.execute_command("napari-tinc.compress_widget")
    widget = viewer.window.dock_widgets["Compress (TINC)"]
    qtbot.waitUntil(lambda: widget.device.value == "cpu", timeout=30_000)
    yield viewer, widget
    widget.queue.cancel_all()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=20_000)


def click(button: Any) -> None:
    native = button if isinstance(button, QAbstractButton) else button.native
    assert native.isVisible() and native.isEnabled()
    QTest.mouseClick(native, LEFT)


def run(qtbot: Any, widget: CompressWidget) -> None:
    click(widget.compress)
    assert widget.queue.running is not None
    qtbot.waitUntil(lambda: widget.queue.running is None, timeout=60_000)


def start_long(qtbot: Any, widget: CompressWidget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.STEPS, "fast", LONG)
    click(widget.compress)
    qtbot.waitUntil(lambda: "step" in widget.status.value, timeout=30_000)


def told() -> list[str]:
    return [note.message for note in notification_manager.records]


def job_label(viewer: Any) -> QLabel:
    return viewer.window._qt_window.statusBar().findChild(QLabel, "napari-tinc job")


def answer(qtbot: Any, text: str) -> None:
    (box,) = [each for each in QApplication.topLevelWidgets() if isinstance(each, QMessageBox) and each.isVisible()]
    assert "Compressing a: " in box.text()
    (button,) = [each for each in box.buttons() if each.text() == text]
    click(button)
    qtbot.waitUntil(lambda: not _boxes(), timeout=5000)


def _boxes() -> list[QMessageBox]:
    return [each for each in QApplication.topLevelWidgets() if isinstance(each, QMessageBox) and each.isVisible()]


def close_dock(qtbot: Any, widget: CompressWidget) -> None:
    qtbot.waitUntil(widget.native.isVisible, timeout=5000)
    QApplication.processEvents()  # its title bar is made anew
    click(widget.native.parent().titleBarWidget().findChild(QPushButton, "QTitleBarCloseButton"))


def save_as(qtbot: Any, widget: CompressWidget, choose: Callable[[QFileDialog], None]) -> None:
    click(widget.save)
    dialog = widget._saving.dialog
    qtbot.waitUntil(dialog.isVisible, timeout=5000)
    choose(dialog)
    dialog.accept()
    qtbot.waitUntil(lambda: "Saved " in widget.status.value, timeout=20_000)


def test_from_compress_to_a_saved_file(
    opened: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogs, "get_save_history", lambda: [str(tmp_path)])
    monkeypatch.setattr(save_results, "update_save_history", lambda path: None)
    viewer, widget = opened
    assert not widget.save.native.isVisible()
    run(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)"]
    assert told()[-1].startswith("Ratio 12.0, PSNR ") and not job_label(viewer).isVisible()
    assert widget.image.value is viewer.layers["a"] and "An octree of 9 networks" in widget.status.value
    assert widget.save.native.visibleRegion().boundingRect().height() > 10  # it was scrolled into sight

    viewer.layers["a (tinc 12x)"].scale = (3, 1, 1)
    names = []
    save_as(qtbot, widget, lambda dialog: names.extend(dialog.selectedFiles()))
    assert names == [str(tmp_path / "a.tinc")]
    volume = tinc.open(tmp_path / "a.tinc")
    assert volume.spacing == (3, 1, 1) and f"Saved a.tinc: 2.2 kB, ratio {volume.ratio:.1f}." in widget.status.value
    np.testing.assert_array_equal(np.asarray(volume), viewer.layers["a (tinc 12x)"].data)
    assert volume.affine[:3, 3].tolist() == [5, 6, 7]

    widget.target.value = "Max error"
    assert not widget.save.native.isVisible() and widget.status.value == "" and widget.bar.value == 0
    widget.target.value = "Ratio"
    assert widget.save.native.isVisible() and widget.status.value.startswith("Ratio 12.0")


def test_a_later_result_lies_on_top_and_hides_the_older(opened: Any, qtbot: Any) -> None:
    viewer, widget = opened
    viewer.add_image(small_array(), name="top")
    viewer.layers.selection.active = viewer.layers["a"]
    assert widget.image.value is viewer.layers["a"]  # it follows
    run(qtbot, widget)
    widget.ratio.value = 20
    run(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)", "a (tinc 20x)", "top"]
    assert [layer.visible for layer in viewer.layers] == [True, False, True, True]
    viewer.layers.selection.active = viewer.layers["a (tinc 20x)"]
    assert widget.image.value is viewer.layers["a"]


def test_stop_and_start_leave_the_keyboard_off_cancel(opened: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, widget = opened
    viewer.window._qt_window.activateWindow()
    widget.compress.native.setFocus()
    start_long(qtbot, widget, monkeypatch)
    assert job_label(viewer).isVisible() and job_label(viewer).text().startswith("Compressing a")
    assert viewer.window._task_status_manager.get_status() == [
        "TINC: a is still being compressed. Closing now throws that away."
    ]
    assert not widget.cancel.native.hasFocus()
    widget.stop.native.setFocus()
    click(widget.stop)
    assert not widget.cancel.native.hasFocus() and not widget.stop.enabled
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: widget.queue.running is None, timeout=60_000)
    assert "a (tinc 12x)" in viewer.layers


def test_closing_the_dock_asks_and_the_job_goes_on(opened: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, widget = opened
    start_long(qtbot, widget, monkeypatch)
    close_dock(qtbot, widget)
    answer(qtbot, closing.GO_ON)
    assert "Compress (TINC)" not in viewer.window.dock_widgets and widget.queue.running is not None
    get_app_model().commands.execute_command("napari-tinc.compress_widget")
    again = viewer.window.dock_widgets["Compress (TINC)"]
    assert again is not widget and again.queue is widget.queue
    qtbot.waitUntil(again.stop.native.isVisible, timeout=5000)
    click(again.stop)
    close_dock(qtbot, again)
    answer(qtbot, closing.GO_ON)
    qtbot.waitUntil(lambda: widget.queue.running is None, timeout=60_000)
    assert [layer.name for layer in viewer.layers] == ["a", "a (tinc 12x)"]
    assert told()[-1].startswith("Ratio 12.")
    get_app_model().commands.execute_command("napari-tinc.compress_widget")
    last = viewer.window.dock_widgets["Compress (TINC)"]
    qtbot.waitUntil(last.save.native.isVisible, timeout=5000)  # what it made can still be saved
    assert last.status.value.startswith("Stopped early; ") and "\nRatio 12." in last.status.value


@pytest.mark.parametrize(("text", "layers"), [(closing.STOP, ["a", "a (tinc 12x)"]), (closing.CANCEL, ["a"])])
def test_closing_the_dock_can_end_the_job(
    opened: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, text: str, layers: list[str]
) -> None:
    viewer, widget = opened
    start_long(qtbot, widget, monkeypatch)
    close_dock(qtbot, widget)
    answer(qtbot, text)
    qtbot.waitUntil(lambda: widget.queue.running is None, timeout=60_000)
    assert [layer.name for layer in viewer.layers] == layers


def test_the_question_goes_when_the_job_ends(opened: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, widget = opened
    start_long(qtbot, widget, monkeypatch)
    click(widget.stop)
    close_dock(qtbot, widget)
    assert len(_boxes()) == 1
    qtbot.waitUntil(lambda: widget.queue.running is None and not _boxes(), timeout=60_000)
    assert "a (tinc 12x)" in viewer.layers
    get_app_model().commands.execute_command("napari-tinc.compress_widget")
    close_dock(qtbot, viewer.window.dock_widgets["Compress (TINC)"])  # nothing runs: nothing is asked
    assert not _boxes()


def test_the_list_follows_until_the_user_chooses(opened: Any, qtbot: Any) -> None:
    viewer, widget = opened
    flat = viewer.add_image(np.zeros((5, 6)), name="flat")
    assert widget.image.value is flat and not widget.compress.enabled
    assert "only volumes of 3 (z, y, x)" in widget.plan_text.value
    assert widget.compress.native.toolTip() == widget.plan_text.value
    combo = widget.image.native
    item = combo.model().item(combo.findText("flat"))
    assert not item.isEnabled() and "flat has 2 axes" in item.toolTip()
    viewer.add_shapes(name="s")
    assert widget.image.value is flat
    viewer.layers.selection.active = viewer.layers["a"]
    assert widget.image.value is viewer.layers["a"] and widget.compress.enabled
    second = viewer.add_image(small_array(), name="b")
    assert widget.image.value is second
    combo.setFocus()
    QTest.keyClick(combo, Qt.Key.Key_Home)  # the user takes "a"
    assert widget.image.value is viewer.layers["a"]
    viewer.layers.selection.active = flat
    assert widget.image.value is viewer.layers["a"]
    viewer.layers["a"].name = "renamed"
    assert widget.image.value is viewer.layers["renamed"]
    viewer.layers.remove("renamed")
    assert widget.image.value in (flat, second)
    viewer.layers.selection.active = flat
    assert widget.image.value is flat
    viewer.layers.selection.active = second
    assert widget.image.value is second
    viewer.close()


def test_the_palette_saves_the_selected_layers(
    opened: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogs, "get_save_history", lambda: [str(tmp_path)])
    monkeypatch.setattr(writer, "update_save_history", lambda path: None)
    settings = Preferences("Max error", max_error=0, isolate=False)
    monkeypatch.setattr(writer, "read_preferences", lambda: settings)
    viewer, _ = opened
    get_app_model().commands.execute_command("napari-tinc.write").result()
    (dialog,) = viewer.window._qt_window.findChildren(QFileDialog)
    qtbot.waitUntil(dialog.isVisible, timeout=5000)
    assert dialog.selectedFiles() == [str(tmp_path / "a.tinc")]
    dialog.accept()
    np.testing.assert_array_equal(np.asarray(tinc.open(tmp_path / "a.tinc")), small_array())
    assert tinc.open(tmp_path / "a.tinc").affine[:3, 3].tolist() == [5, 6, 7]
    viewer.layers.selection.clear()
    get_app_model().commands.execute_command("napari-tinc.write").result()
    assert told()[-1] == "Select the layers to save first."


def test_texts_do_not_move_the_controls_below(opened: tuple[Any, CompressWidget]) -> None:
    _, widget = opened
    root = widget.root_native_widget

    def heights() -> list[int]:
        QTest.qWait(50)
        controls = (widget.compress.native, widget.bar.native, widget.advanced_button)
        return [control.mapTo(root, control.rect().topLeft()).y() for control in controls]

    before = heights()
    for target in form.TARGETS:
        widget.target.value = target
        assert heights() == before, target
    for lines in (4, 1, 0):
        widget.status.value = "\n".join("x" * lines)
        assert heights() == before, lines
