"""The dock widgets without a mouse: the order of Tab, Space and Enter, names for screen readers."""

from __future__ import annotations

from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QApplication, QComboBox, QRadioButton, QWidget
from superqt.utils import WorkerBase
from volumes import small_array, small_volume

from napari_tinc.plugin.compare.modes import Mode
from napari_tinc.plugin.compare.widget import CompareWidget
from napari_tinc.plugin.compress.widget import CompressWidget
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.leaves.widget import LeavesWidget


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(small_array(), name="a")
    data, arguments = to_layer(small_volume(), "a (tinc)", 10**6)
    viewer.add_image(data, **arguments)
    return viewer


def shown(qtbot: Any, widget: Any) -> QWidget:
    """Open in a window, as wide as the panel of a laptop."""
    native = widget.native
    qtbot.addWidget(native)
    native.resize(350, 700)
    native.show()
    qtbot.waitExposed(native)
    native.activateWindow()
    QApplication.processEvents()
    return native


def stops(native: QWidget) -> list[QWidget]:
    """Where Tab stops, in its order."""
    found, each = [], native.nextInFocusChain()
    while each is not native:
        tabbed = each.focusPolicy() & Qt.FocusPolicy.TabFocus and each.focusProxy() is None
        proxied = isinstance(each.parent(), QComboBox | QAbstractSpinBox)
        if tabbed and not proxied and each.isVisible() and each.isEnabled() and native.isAncestorOf(each):
            found.append(each)
        each = each.nextInFocusChain()
    return found


@pytest.mark.parametrize("kind", [CompressWidget, LeavesWidget, CompareWidget])
def test_tab_goes_down_the_panel_row_by_row(viewer: ViewerModel, qtbot: Any, kind: Any) -> None:
    widget = kind(viewer)
    native = shown(qtbot, widget)
    if kind is CompressWidget:
        widget.target.value = "Ratio"  # whatever the last one was: it is remembered
        widget.advanced_button.click()
    if kind is CompareWidget:
        widget.mode.value = str(Mode.CURTAIN)
    QApplication.processEvents()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=30_000)
    QApplication.processEvents()
    found = stops(native)
    centres = [each.mapTo(native, each.rect().center()) for each in found]
    assert centres == sorted(centres, key=lambda at: (round(at.y() / 20), at.x()))
    assert len(found) == {CompressWidget: 17, LeavesWidget: 14, CompareWidget: 13}[kind]
    for each in found:
        text = each.text() if isinstance(each, QAbstractButton) else ""
        assert each.accessibleName() or text, each
    if kind is CompareWidget:
        widget.mode.value = str(Mode.OFF)


def test_the_fold_and_the_buttons_take_space_and_enter(viewer: ViewerModel, qtbot: Any) -> None:
    widget = LeavesWidget(viewer)
    shown(qtbot, widget)
    for key, layers in ((Qt.Key.Key_Return, 3), (Qt.Key.Key_Space, 3)):
        QTest.keyClick(widget.signed.native, key)
        assert widget.pair.busy
        qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
        assert len(viewer.layers) == layers  # the second takes the first's place
    other = CompressWidget(viewer)
    shown(qtbot, other)
    for key, there in ((Qt.Key.Key_Return, True), (Qt.Key.Key_Space, False)):
        QTest.keyClick(other.advanced_button, key)
        assert other.seed.native.isVisible() is there
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=30_000)


def test_the_keyboard_stays_where_it_was_used(viewer: ViewerModel, qtbot: Any) -> None:
    widget = LeavesWidget(viewer)
    native = shown(qtbot, widget)
    native.activateWindow()
    widget.measure.native.setFocus()
    qtbot.waitUntil(widget.measure.native.hasFocus, timeout=5000)
    QTest.keyClick(widget.measure.native, Qt.Key.Key_Space)
    assert not widget.measure.native.hasFocus()  # it is disabled
    qtbot.waitUntil(lambda: not widget.pair.busy, timeout=30_000)
    assert widget.measure.native.hasFocus()
    slider = widget.worst._widget._qwidget
    slider.setFocus()
    QTest.keyClick(slider, Qt.Key.Key_Left)
    assert slider.hasFocus() and widget.worst.value == 255  # once its number took the keyboard at the first step


def test_arrows_choose_a_mode(viewer: ViewerModel, qtbot: Any) -> None:
    widget = CompareWidget(viewer)
    native = shown(qtbot, widget)
    assert not any(each.isEnabled() for each in widget.place.native.findChildren(QAbstractSpinBox))
    buttons = native.findChildren(QRadioButton)
    buttons[0].setFocus()
    qtbot.waitUntil(buttons[0].hasFocus, timeout=5000)
    QTest.keyClick(buttons[0], Qt.Key.Key_Down)
    assert widget.mode.value == str(Mode.SIDE)
    QTest.keyClick(buttons[1], Qt.Key.Key_Up)
    assert widget.mode.value == str(Mode.OFF)
