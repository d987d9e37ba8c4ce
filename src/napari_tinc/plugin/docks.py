"""Put our docks into tabs beside each other, and report when one is hidden or shown.

The contents of the docks are in compress/, leaves/ and compare/.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget


class DockWatch(QObject):
    """Follow the dock that napari puts a widget into, and make it a tab beside our other docks of the same area.

    Signals
    -------
    hidden : emitted when the user hides the dock by its eye button or its menu entry, not when it is closed.
    visibility_changed : emitted with True if the tab of the dock is in front, with False if another one is.
    """

    hidden = Signal()
    visibility_changed = Signal(bool)

    def __init__(self, native: QWidget) -> None:
        super().__init__(native)
        self._dock: QDockWidget | None = None
        self._was_hidden = False
        native.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.ParentChange and isinstance(watched, QWidget):
            parent = watched.parent()
            self._dock = parent if isinstance(parent, QDockWidget) else None
            if self._dock is not None:
                self._dock.visibilityChanged.connect(self._on_visibility)
                QTimer.singleShot(0, self._become_tab)  # Once napari has put the dock into its window.
        return False

    def _become_tab(self) -> None:
        """Make the dock a tab in front of another of our docks in this area, if there is one."""
        dock = self._dock
        window = dock.parent() if dock is not None else None
        if dock is None or not isinstance(window, QMainWindow):
            return
        area = window.dockWidgetArea(dock)
        for other in window.findChildren(QDockWidget):
            is_our_dock = other is not dock and other.widget() is not None and other.widget().findChild(DockWatch)
            if is_our_dock and not other.isHidden() and not other.isFloating() and window.dockWidgetArea(other) == area:
                window.tabifyDockWidget(other, dock)
                QTimer.singleShot(0, self._raise)  # Later, as it has no effect before the tabs are laid out.
                return

    def _raise(self) -> None:
        """Bring the tab of the dock to the front."""
        if self._dock is not None:
            self._dock.raise_()

    def _on_visibility(self) -> None:
        QTimer.singleShot(0, self._emit_visibility)  # Later, as Qt hides a dock for a moment while it is moved.

    def _emit_visibility(self) -> None:
        """Emit whether the dock was hidden, or is visible."""
        dock = self._dock
        if dock is None:
            return
        was_hidden, self._was_hidden = self._was_hidden, dock.isHidden()
        if self._was_hidden:
            if not was_hidden:
                self.hidden.emit()
            return
        if was_hidden:
            dock.raise_()  # It would come back behind another tab.
        self.visibility_changed.emit(not dock.visibleRegion().isEmpty())
