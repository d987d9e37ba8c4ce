"""Show the leaves in napari's own table of features, which scrolls to the leaf that is chosen."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QTableView

TABLE_PLUGIN = "napari"  # The plugin that brings the table.
TABLE_WIDGET = "Features table widget"  # The name of the table in that plugin.
TABLE_HEIGHT = 260  # Pixels that the table gets at the bottom of the window when it is opened first.
SCROLLS_KEY = "tinc_scrolls"  # The Qt property that marks a table which scrolls already.


def open_features_table(viewer: Any) -> None:
    """Open the table of features at the bottom of the window; show it again where it was hidden."""
    dock, widget = viewer.window.add_plugin_dock_widget(TABLE_PLUGIN, TABLE_WIDGET)
    if not dock.property(SCROLLS_KEY):
        dock.setProperty(SCROLLS_KEY, True)
        window = dock.parent()
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)  # At the bottom, since its rows are long.
        window.resizeDocks([dock], [TABLE_HEIGHT], Qt.Orientation.Vertical)
        scroll_to_selection(widget.table)
    dock.show()
    dock.raise_()


def scroll_to_selection(table: QTableView) -> None:
    """Let a table scroll to the row that is chosen elsewhere. It does not move if that row is visible."""
    timer = QTimer(table)  # Later, as Qt crashes if a selection is read while it changes.
    timer.setSingleShot(True)

    def scroll() -> None:
        rows = table.selectionModel().selectedIndexes()
        if rows:
            column = max(table.columnAt(0), 0)  # The leftmost visible column, so that the table does not jump sideways.
            table.scrollTo(table.model().index(rows[0].row(), column))

    timer.timeout.connect(scroll)
    table.selectionModel().selectionChanged.connect(lambda: timer.start(0))
