"""Drawings of a measurement: how errors are distributed, and which detail is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import Qt

from ...correlation import THRESHOLDS
from .detail import crossings, frequency_title
from .original import Measurement

COLOR = "#33bb99"
THRESHOLD_COLOR = "#cc6677"
CURVE_RANGE = (-0.05, 1.05)  # Of the correlation that is shown: below 0 is noise.


def draw_histogram(plot: Any, measurement: Measurement) -> None:
    """Draw how the errors are distributed."""
    import pyqtgraph

    plot.clear()
    left, right = measurement.edges[:-1], measurement.edges[1:]
    plot.addItem(pyqtgraph.BarGraphItem(x0=left, x1=right, height=100 * measurement.counts, brush=COLOR, pen=None))
    plot.show()


def draw_correlation(plot: Any, measurement: Measurement) -> None:
    """Draw the correlation over the frequency, the two thresholds, and where the curve first falls below them."""
    import pyqtgraph

    plot.clear()
    correlation = measurement.correlation
    if correlation is None or not len(correlation.frequencies):
        plot.hide()
        return
    for threshold in THRESHOLDS:
        plot.addItem(
            pyqtgraph.InfiniteLine(threshold, 0, pen=pyqtgraph.mkPen(THRESHOLD_COLOR, style=Qt.PenStyle.DashLine))
        )
    plot.plot(correlation.frequencies, correlation.correlations, pen=pyqtgraph.mkPen(COLOR, width=2))
    points = crossings(correlation, THRESHOLDS)
    if len(points):
        plot.plot(*points.T, pen=None, symbol="o", symbolSize=7, symbolBrush=THRESHOLD_COLOR, symbolPen=None)
    plot.setLabel("bottom", frequency_title(correlation))
    plot.getAxis("left").setTicks([[(each, f"{each:g}") for each in (1, *THRESHOLDS)]])
    plot.setXRange(0, float(np.max(correlation.frequencies)), padding=0.02)
    plot.setYRange(*CURVE_RANGE, padding=0)
    plot.show()
