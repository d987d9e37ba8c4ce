"""Parts of the dock widgets by themselves: reasons in tooltips, the legend."""

from __future__ import annotations

from typing import Any

import numpy as np
from magicgui.widgets import FloatSlider, PushButton
from qtpy.QtWidgets import QAbstractSpinBox, QTextBrowser

from napari_tinc.plugin.forms import LINK_COLOR, enable_unless, show_guide
from napari_tinc.plugin.leaves.legend import Legend


def test_what_is_disabled_says_why_and_gets_its_tooltip_back(qtbot: Any) -> None:
    for widget in (PushButton(text="go", tooltip="Goes."), FloatSlider(value=0.5, min=0, max=1, tooltip="Goes.")):
        qtbot.addWidget(widget.native)
        enable_unless(widget, "Nothing to go with.")
        enable_unless(widget, "Wait.")
        assert not widget.enabled and widget.native.toolTip() == widget.tooltip == "Wait."
        assert not any(number.isEnabled() for number in widget.native.findChildren(QAbstractSpinBox))
        enable_unless(widget)
        assert widget.enabled and widget.native.toolTip() == widget.tooltip == "Goes."


def test_links_of_the_guide_can_be_read(qtbot: Any) -> None:
    dialog = show_guide("compress", None)
    qtbot.addWidget(dialog)
    html = dialog.findChild(QTextBrowser).toHtml()
    links = html.count('<a href="compare.md"') + html.count('<a href="leaves.md"')
    assert links >= 2 and html.count(LINK_COLOR) >= links


def test_a_legend_has_the_colours_and_numbers_of_the_values(qtbot: Any) -> None:
    legend = Legend("viridis")
    qtbot.addWidget(legend)
    legend.resize(200, legend.height())
    bar = legend.fontMetrics().height() + 6  # below the title
    legend.show_values("RMSE", np.array([1.0, np.nan, 3.5, 2.0]), (1.0, 3.5))
    assert legend.labels == ("1", "2.25", "3.5") and legend.toolTip() == "RMSE: 1 (dark) to 3.5 (bright)"
    assert legend.title == "RMSE"
    picture = legend.grab().toImage()
    dark, bright = picture.pixelColor(1, bar), picture.pixelColor(198, bar)
    assert dark.lightness() < 60 < 100 < bright.lightness() and bright.red() > 200
    legend.show_values("bytes", np.array([0.1234567, 24680.0]), (0.1234567, 24680.0))
    assert legend.labels == ("0.1235", "12340", "24680")
    legend.show_values("level", np.ones(8, np.int64), (0.5, 1.5))
    assert legend.labels == ("1",)
    picture = legend.grab().toImage()
    assert picture.pixelColor(1, bar) == picture.pixelColor(198, bar)
    legend.show_values("gain", np.full(3, np.nan), (0.0, 1.0))
    assert legend.labels == ()
