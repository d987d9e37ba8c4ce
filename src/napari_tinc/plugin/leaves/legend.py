"""A small colour scale with a title and numbers, for a dock widget."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.colormaps import ensure_colormap
from numpy.typing import NDArray
from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

BAR_HEIGHT = 10  # Pixels of the coloured bar.
GAP = 2  # Pixels between the bar and the texts above and below it.


class Legend(QWidget):
    """Show which colour stands for which value: a title, a bar from the smallest to the largest, and numbers."""

    def __init__(self, colormap: str) -> None:
        super().__init__()
        colors = (255 * ensure_colormap(colormap).map(np.linspace(0, 1, 256))).astype(np.uint8)
        self._bar = QImage(colors.tobytes(), 256, 1, 4 * 256, QImage.Format.Format_RGBA8888).copy()
        self.labels: tuple[str, ...] = ()
        self.title = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(BAR_HEIGHT + 2 * (GAP + self.fontMetrics().height()))

    def show_values(self, title: str, values: NDArray[Any], limits: tuple[float, float]) -> None:
        """Show the scale of values that are coloured from ``limits[0]`` to ``limits[1]``; empty without values."""
        finite = np.unique(np.asarray(values, np.float64)[np.isfinite(np.asarray(values, np.float64))])
        if finite.size > 1:
            middle = sum(limits) / 2
            self.labels = tuple(map(_four_digits, (limits[0], middle, limits[1])))
        else:
            self.labels = tuple(map(_four_digits, finite))
        span = f"{self.labels[0]} (dark) to {self.labels[-1]} (bright)" if finite.size > 1 else "one value"
        self.title, text = title, f"{title}: {span}"
        self.setToolTip(text)
        self.setAccessibleName(text)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        line = self.fontMetrics().height()
        bar = QRect(0, line + GAP, self.width(), BAR_HEIGHT)
        text = QRect(0, bar.bottom() + 1 + GAP, self.width(), line)
        painter.setPen(self.palette().color(self.foregroundRole()))
        sides = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
        painter.drawText(QRect(0, 0, self.width(), line), Qt.AlignmentFlag.AlignLeft, self.title)
        if len(self.labels) == 1:  # Every leaf has the colour of the middle.
            painter.fillRect(bar, QColor(self._bar.pixelColor(128, 0)))
            painter.drawText(text, sides[1], self.labels[0])
            return
        if self.labels:
            painter.drawImage(bar, self._bar)
        for label, side in zip(self.labels, sides, strict=False):
            painter.drawText(text, side, label)


def _four_digits(value: float) -> str:
    """Write four digits, or all before the point: 0.1234, 12340."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
