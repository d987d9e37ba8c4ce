"""napari's own table of features, for the leaves: found or opened, in sight, and scrolled to what is chosen."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QTableView

PLUGIN, TABLE = "napari", "Features table widget"
HEIGHT = 260  # pixels
SCROLLS = "tinc_scrolls"  # Qt property of a table that scrolls to what is chosen


def show_table(viewer: Any) -> None:
    """Open the table of features at the bottom of the window; show it again where it was hidden."""
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, TABLE)
    if not dock.property(SCROLLS):
        dock.setProperty(SCROLLS, True)
        window = dock.parent()
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)  # its rows are long
        window.resizeDocks([dock], [HEIGHT], Qt.Orientation.Vertical)
        follow_choice(widget.table)
    dock.show()
    dock.raise_()


def follow_choice(table: QTableView) -> None:
    """Let a table scroll to the row that is chosen elsewhere. It stays where it is if that row is in sight."""
    timer = QTimer(table)  # Qt crashes if a selection is read while it changes
    timer.setSingleShot(True)

    def scroll() -> None:
        rows = table.selectionModel().selectedIndexes()
        if rows:
            column = max(table.columnAt(0), 0)  # the leftmost in sight: no jump sideways
            table.scrollTo(table.model().index(rows[0].row(), column))

    timer.timeout.connect(scroll)
    table.selectionModel().selectionChanged.connect(lambda: timer.start(0))
