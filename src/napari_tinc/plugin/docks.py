"""How our widgets share napari's dock areas: as tabs, and told when they are hidden or out of sight.

What is inside of the widgets is in the modules that make them.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget


class DockWatch(QObject):
    """Follows the dock that napari puts a widget into, and makes it a tab beside our other docks of the same area.

    Signals
    -------
    hidden : the user hid the dock, by its eye button or its menu entry. Closing it is another matter.
    in_sight : whether the dock can be seen, that is, whether its own tab and not another one is in front.
    """

    hidden = Signal()
    in_sight = Signal(bool)

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
                QTimer.singleShot(0, self._join)  # once napari has put the dock into its window
        return False

    def _join(self) -> None:
        """Become a tab of one of our docks in this area, in front of it."""
        dock = self._dock
        window = dock.parent() if dock is not None else None
        if dock is None or not isinstance(window, QMainWindow):
            return
        area = window.dockWidgetArea(dock)
        for other in window.findChildren(QDockWidget):
            ours = other is not dock and other.widget() is not None and other.widget().findChild(DockWatch)
            if ours and not other.isHidden() and not other.isFloating() and window.dockWidgetArea(other) == area:
                window.tabifyDockWidget(other, dock)
                QTimer.singleShot(0, self._raise)  # not heeded before the tabs are laid out
                return

    def _raise(self) -> None:
        if self._dock is not None:
            self._dock.raise_()

    def _on_visibility(self) -> None:
        QTimer.singleShot(0, self._tell)  # Qt also hides a dock for a moment while it is moved

    def _tell(self) -> None:
        dock = self._dock
        if dock is None:
            return
        was_hidden, self._was_hidden = self._was_hidden, dock.isHidden()
        if self._was_hidden:
            if not was_hidden:
                self.hidden.emit()
            return
        if was_hidden:
            dock.raise_()  # it would come back behind another tab
        self.in_sight.emit(not dock.visibleRegion().isEmpty())
