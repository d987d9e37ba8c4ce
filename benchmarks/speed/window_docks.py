"""How fluid napari's window stays while the docks work on large files:

    python -m benchmarks.speed.window_docks FOLDER [--edge 512]

Makes the files of window_large.py in FOLDER unless they are there. Each is opened beside the array that it was made
from, in a process and a window of its own. Then the menu entries and buttons of Compare and of Leaves are clicked, and
z is dragged through 40 slices while each result is on the screen. Gaps are the delays of a timer of 5 ms; "seconds" is
how long a click took until its result was there. Needs a screen and an idle machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import machine, markdown
from benchmarks.speed.window_large import SLICE_MS, Window, make, synthetic

SLICES = 40
MOST_SECONDS = 300
CLICKS = (
    ("Compare", "side by side"), ("Compare", "curtain"), ("Compare", "as they are"), ("Compare", "Measure"),
    ("Compare", "Difference"), ("Leaves", "Outlines (boxes in 3D)"), ("Leaves", "Map"), ("Leaves", "Measure"),
)  # fmt: skip


class Docks:
    """The plugin's docks in a window, by menus and mouse."""

    def __init__(self, window: Window) -> None:
        self.window, self.viewer = window, window.viewer

    def open(self, name: str) -> Any:
        """The dock of that name, chosen in the Plugins menu if it is not open, and in front."""
        from qtpy.QtWidgets import QComboBox, QDockWidget

        main = self.viewer.window._qt_window
        docks = [dock for dock in main.findChildren(QDockWidget) if dock.windowTitle().startswith(name)]
        if not docks:
            (menu,) = [a.menu() for a in main.menuBar().actions() if a.text().replace("&", "") == "Plugins"]
            menu.aboutToShow.emit()
            _action(menu, f"{name} (TINC)").trigger()
            return self.open(name)
        docks[0].raise_()
        for box in docks[0].findChildren(QComboBox):
            if box.currentText() == "-----" and (at := box.findText("original")) >= 0:
                box.setCurrentIndex(at)
        self.window.wait(200)
        return docks[0]

    def click(self, name: str, text: str) -> None:
        """Press the button of that text with the mouse."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QAbstractButton, QScrollArea

        dock = self.open(name)
        (button,) = [b for b in dock.findChildren(QAbstractButton) if b.text() == text and b.isVisible()]
        assert button.isEnabled(), f"{name} > {text} is greyed out"
        parent = button
        while (parent := parent.parentWidget()) is not None:
            if isinstance(parent, QScrollArea):
                parent.ensureWidgetVisible(button)
        self.window.wait(50)
        self.window.take_gaps()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton, pos=QPoint(9, button.height() // 2))

    def finish(self) -> None:
        """Wait until no worker is left, and every layer is drawn as it is."""
        from superqt.utils import WorkerBase

        end = time.perf_counter() + MOST_SECONDS
        self.window.wait(100)
        while time.perf_counter() < end and (WorkerBase._worker_set or not all(x.loaded for x in self.viewer.layers)):
            self.window.wait(20)

    def drag(self) -> np.ndarray:
        """Gaps while z is dragged through the middle."""
        middle = int(self.viewer.dims.nsteps[0]) // 2
        self.window.take_gaps()
        for z in range(middle - SLICES // 2, middle + SLICES // 2):
            self.viewer.dims.set_current_step(0, z)
            self.window.wait(SLICE_MS)
        return self.window.take_gaps()


def _action(menu: Any, text: str) -> Any:
    for action in menu.actions():
        if action.menu():
            action.menu().aboutToShow.emit()
            if (found := _action(action.menu(), text)) is not None:
                return found
        elif action.text().replace("&", "") == text:
            return action
    return None


def show(file: str, edge: str) -> None:
    """Print a row for each click on a file, as JSON."""
    window = Window(_adding(file, int(edge)))
    docks = Docks(window)
    docks.viewer.layers.selection.active = window.layer
    rows = []
    for name, text in CLICKS:
        began = time.perf_counter()
        docks.click(name, text)
        docks.finish()
        took, gaps = time.perf_counter() - began, window.take_gaps()
        dragged = docks.drag()
        docks.finish()
        rows.append([
            f"{name} > {text}", f"{took:.1f}", f"{gaps.max():.0f}", f"{np.median(dragged):.0f}", f"{dragged.max():.0f}"
        ])  # fmt: skip
    print(json.dumps(rows), flush=True)
    docks.viewer.close()


def _adding(file: str, edge: int) -> Callable[[Any], Any]:
    def add(viewer: Any) -> Any:
        viewer.add_image(synthetic(edge), name="original")
        return viewer.open(file, plugin="napari-tinc")[0]

    return add


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edge", type=int, default=512)
    arguments = parser.parse_args()
    files = make(arguments.folder, arguments.edge)
    rows = []
    for kind, edge in (("blocks", arguments.edge), ("networks", arguments.edge // 2)):
        code = f"from benchmarks.speed import window_docks; window_docks.show({str(files[kind])!r}, {edge})"
        done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        rows += [[f"{edge}^3 {kind}", *row] for row in json.loads(done.stdout.strip().splitlines()[-1])]
    columns = ["", "click", "seconds", "worst gap (ms)", "drag: median", "worst"]
    print(f"{markdown(columns, rows)}\n\n{machine()}.")


if __name__ == "__main__":
    main()
