"""A person at the real napari window: menus by their QAction, the palette by typing, buttons by the mouse.

Whatever goes wrong on the way is collected in :attr:`Person.problems`: exceptions in slots and workers, and errors that
napari shows with a traceback. Dialogs that wait for an answer are closed, as by Escape, and are no problem.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QAction
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QDialog, QDockWidget, QMenu, QScrollArea, QWidget
from superqt.utils import WorkerBase

SETTLED_SECONDS = 0.15  # without a worker, after which what a click started counts as done
PATIENCE_SECONDS = 30


class Person:
    """Who clicks. As a context: problems are collected until it is left."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.window = viewer.window._qt_window
        self.problems: list[str] = []
        self.messages: list[str] = []  # what napari showed the user

    def __enter__(self) -> Person:
        self._hooks = sys.excepthook, threading.excepthook
        sys.excepthook = self._on_exception
        threading.excepthook = lambda args: self._on_exception(args.exc_type, args.exc_value, args.exc_traceback)
        notification_manager.notification_ready.connect(self._on_notification)
        self._timer = QTimer()
        self._timer.timeout.connect(self._dismiss)
        self._timer.start(50)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()
        notification_manager.notification_ready.disconnect(self._on_notification)
        sys.excepthook, threading.excepthook = self._hooks
        self.viewer = self.window = None

    def settle(self, seconds: float = SETTLED_SECONDS) -> None:
        """Let the window live until no worker is left and a moment has passed."""
        quiet = time.monotonic() + seconds
        patience = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < quiet:
            QApplication.processEvents()
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
            time.sleep(0.005)
            if WorkerBase._worker_set:
                quiet = time.monotonic() + seconds
            if time.monotonic() > patience:
                self.problems.append(f"still at work after {PATIENCE_SECONDS} s")
                return

    def start_afresh(self, path: Path) -> Any:
        """Close all of the plugin's docks and windows, and open a file; its first layer is then the active one."""
        self.close_all()
        self.viewer.open(str(path), plugin="napari-tinc")
        self.viewer.layers.selection.active = self.viewer.layers[0]
        self.settle(0.02)
        return self.viewer.layers[0]

    def close_all(self) -> None:
        """Close what the plugin has opened, docks, windows and layers."""
        for dialog in self.window.findChildren(QDialog):
            dialog.close()
        for name in list(self.viewer.window._wrapped_dock_widgets):
            if "TINC" in name or "table" in name:
                self.viewer.window.remove_dock_widget(self.viewer.window._wrapped_dock_widgets[name])
        self.settle(0.02)
        self.viewer.dims.ndisplay = 2
        self.viewer.layers.clear()

    def docks(self) -> list[QDockWidget]:
        """The plugin's open docks."""
        return [dock for dock in self.window.findChildren(QDockWidget) if "TINC" in dock.windowTitle()]

    def entries(self) -> list[tuple[str, QAction]]:
        """Every menu entry of the plugin, with the way to it."""
        tops = [action for action in self.window.menuBar().actions() if action.menu()]
        return [entry for top in tops for entry in _entries(top.menu(), _plain(top)) if "TINC" in entry[0]]

    def choose(self, entry: str) -> None:
        """Choose the one menu entry whose path ends with some words."""
        (action,) = [action for path, action in self.entries() if path.endswith(entry)]
        assert action.isEnabled(), f"{entry} is greyed out"
        action.trigger()
        self.settle()

    def commands(self) -> list[str]:
        """Open the command palette, search for the plugin, and read the titles that it lists; Escape."""
        line, listed = self._search()
        QTest.keyClick(line, Qt.Key.Key_Escape)
        return [command.title for command in listed if command.id.startswith("napari-tinc.")]

    def run_command(self, title: str) -> None:
        """Choose a command in the palette, with the arrow keys and Enter."""
        line, listed = self._search()
        for _ in range([command.title for command in listed].index(title)):
            QTest.keyClick(line, Qt.Key.Key_Down)
        QTest.keyClick(line, Qt.Key.Key_Return)
        self.settle()

    def _search(self) -> tuple[QWidget, list[Any]]:
        self.viewer.window._toggle_command_palette()
        palette = self.window._command_palette
        QTest.keyClicks(palette._line, "TINC")
        return palette._line, list(palette._list.iter_command())

    def buttons(self) -> list[QAbstractButton]:
        """What can be pressed in the plugin's open docks, top to bottom; not the title bars' own."""
        return [
            button for dock in self.docks() for button in dock.widget().findChildren(QAbstractButton)
            if button.isVisible() and button.isEnabled() and button.text()
        ]  # fmt: skip

    def press(self, button: QAbstractButton) -> None:
        """Scroll to a button and press it with the mouse."""
        parent: QWidget | None = button
        while (parent := parent.parentWidget()) is not None:
            if isinstance(parent, QScrollArea):
                parent.ensureWidgetVisible(button)
        QApplication.processEvents()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton, pos=_where(button))
        self.settle()

    def report(self, what: str) -> list[str]:
        """Take the problems since the last report, each with what was done."""
        problems, self.problems = self.problems, []
        return [f"{what}: {problem}" for problem in dict.fromkeys(problems)]

    def _on_exception(self, kind: type, value: BaseException, trace: Any) -> None:
        last = traceback.extract_tb(trace)[-1] if trace else None
        where = f" in {Path(last.filename).name}:{last.lineno} {last.name}" if last else ""
        self.problems.append(f"{kind.__name__}: {value}{where}")

    def _on_notification(self, notification: Notification) -> None:
        self.messages.append(str(notification.message))
        if (error := getattr(notification, "exception", None)) is not None:
            self.problems.append(f"shown with a traceback: {type(error).__name__}: {error}")

    def _dismiss(self) -> None:
        for widget in QApplication.topLevelWidgets():
            if isinstance(widget, QDialog) and widget.isVisible() and widget.isModal():
                widget.reject()


def _entries(menu: QMenu, path: str) -> Iterator[tuple[str, QAction]]:
    menu.aboutToShow.emit()
    for action in menu.actions():
        name = f"{path} > {_plain(action)}"
        if action.menu():
            yield from _entries(action.menu(), name)
        elif not action.isSeparator():
            yield name, action


def _plain(action: QAction) -> str:
    return action.text().replace("&", "")


def _where(button: QAbstractButton) -> Any:
    """A place inside that takes a click: of a check box, not the empty space right of its text."""
    return button.rect().center() if button.width() < 60 else button.rect().topLeft() + _offset(button)


def _offset(button: QAbstractButton) -> Any:
    from qtpy.QtCore import QPoint

    return QPoint(8, button.height() // 2)
