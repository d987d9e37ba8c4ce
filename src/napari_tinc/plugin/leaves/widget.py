"""The dock widget for the leaves of a compressed layer: overlays, errors against the original, calibration, table."""

from __future__ import annotations

from typing import Any

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, Container, Label, PushButton, Slider
from napari.layers import Image, Layer

from ...decoding.volume import TincVolume
from ...errors import TincError
from ...networks.calibration import WORTH_DB
from ..compare.original import (
    NO_NETWORKS,
    Measured,
    Shown,
    is_calibrated,
    measure,
    no_calibration,
    recalibrate,
    show,
    summary,
)
from ..compare.pair import CHOOSE, NO_VOLUME, Pair
from ..forms import allow, help_button, labelled, named, roomy, row, show_focus, steady, watch_end, wrapped
from ..layers.compressed import refusal
from ..layers.from_volume import promise
from ..layers.origin import VOLUME
from ..proxies import unproxied
from .calibration import start_toggle
from .columns import COLUMNS
from .features_table import show_table
from .legend import Legend
from .overlays import COLORMAP, MOST_BOXES, UNCALIBRATED, LeafView, leaf_view

LEGEND_PLACE = 4  # below the choice of the colour
NOT_WORTH_IT = f"Calibration would gain less than {WORTH_DB} dB here, so none is stored."


class LeavesWidget(Container):
    """Leaves of one compressed layer, that which is active when another is not chosen."""

    @unproxied
    def __init__(self, napari_viewer: Any) -> None:
        self._viewer = napari_viewer
        self._gone = False
        self._failure = ""  # why the leaves of the chosen layer cannot be read
        self._followed: LeafView | None = None
        self.pair = Pair(self._viewer, self._refresh, self._refresh)
        self.outlines = CheckBox(text="Outlines (boxes in 3D)", tooltip="Click on a leaf to find it in the table.")
        self.column = ComboBox(choices=list(COLUMNS), tooltip="What colours the outlines and boxes.")
        self.worst = Slider(
            value=MOST_BOXES, min=1, max=4096, tooltip="How many boxes 3D shows: those that are worst by the colour."
        )
        self.map_column = ComboBox(choices=list(COLUMNS), tooltip="What the map shows.")
        self.map = CheckBox(text="Map", tooltip="A value a leaf, with a colour bar.")
        self.table = PushButton(text="Table", tooltip="A row a leaf; choosing one shows the leaf.")
        self.measure = PushButton(text="Measure", tooltip="The error of every leaf, against the original.")
        self.signed, self.absolute = self.pair.signed, self.pair.absolute
        self.calibrated = CheckBox(text="Calibration", tooltip="Gain and offset of the leaves, on or off.")
        self.recalibrate = PushButton(
            text="Recalibrate", tooltip="Find gains and offsets anew against the original; networks stay as they are."
        )
        self.status = Label(value="")
        super().__init__(
            scrollable=True, labels=False,
            widgets=[
                row(labelled("Volume", self.pair.image), help_button("leaves")),
                labelled("Original", self.pair.original),
                self.outlines, labelled("Colour", self.column), labelled("Boxes", self.worst),
                row(self.map, self.map_column), row(self.measure, self.signed, self.absolute),
                row(self.calibrated, self.recalibrate), self.table, self.pair.progress, self.status,
            ],
        )  # fmt: skip
        self.legend = Legend(COLORMAP)
        self.root_native_widget.widget().layout().insertWidget(LEGEND_PLACE, self.legend)
        show_focus(self.root_native_widget)
        roomy(self.root_native_widget)
        named("Map of", self.map_column)
        steady(self.worst)
        wrapped(self.status)
        self.root_native_widget.widget().layout().addStretch()
        self.outlines.changed.connect(self._on_outlines)
        self.column.changed.connect(self._on_column)
        self.worst.changed.connect(self._on_worst)
        self.map.changed.connect(self._on_map)
        self.map_column.changed.connect(self._on_map)
        self.table.clicked.connect(self._on_table)
        self.measure.clicked.connect(lambda: self.pair.measure(lambda image, found: None))
        self.calibrated.changed.connect(self._on_calibrated)
        self.recalibrate.clicked.connect(self._on_recalibrate)
        watch_end(self.root_native_widget, self._refresh, self._on_destroyed)
        self.pair.start()

    @property
    def native(self) -> Any:
        """The scroll area; magicgui would give napari only what is inside of it."""
        return self.root_native_widget

    @property
    def view(self) -> LeafView | None:
        image = self.pair.image.value
        self._failure = ""
        if image is None or image not in self._viewer.layers:
            return None
        try:
            return leaf_view(self._viewer, image)
        except (TincError, OSError) as error:
            self._failure = f"The leaves of {image.name} cannot be read: {error}"
            return None

    def reset_choices(self, *_: Any) -> None:
        """Called by napari when layers come and go."""
        self.pair.reset_choices()
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        """Show the state that the layers are in."""
        if self._gone:
            return
        view = self.view
        if view is not self._followed:
            if self._followed is not None:
                self._followed.changed.disconnect(self._refresh)
            self._followed = view
            if view is not None:
                view.changed.connect(self._refresh)
        self._allow(view)
        self.legend.setVisible(view is not None)
        if view is None:
            self.status.value = self._why_not or "Open a .tinc file, or compress a layer, to see its leaves."
            return
        self.legend.show_values(view.column, view.rows[COLUMNS[view.column]], view.limits)
        columns = view.known_columns()
        shown = view.map_column or self.map_column.value
        for widget, value in ((self.column, view.column), (self.map_column, shown)):
            with widget.changed.blocked():
                widget.choices = columns
                widget.value = value if value in columns else columns[0]
        with self.worst.changed.blocked():
            self.worst.value = view.worst
        for box, on in (
            (self.outlines, view.leaves_shown), (self.map, view.map_column is not None),
            (self.calibrated, is_calibrated(view.image)),
        ):  # fmt: skip
            with box.changed.blocked():
                box.value = on
        self.status.value = self.pair.busy or describe(view, self.pair.original.value)
        if self.pair.wanting == CHOOSE:
            self.status.value += f"\n{CHOOSE}"

    @property
    def _why_not(self) -> str:
        """Why the active layer has no leaves to show, if it looks as if it had some."""
        return self._failure or refusal(self._viewer.layers.selection.active)

    def _allow(self, view: LeafView | None) -> None:
        """Enable what can do something now; the others say why they cannot."""
        busy = f"Wait for this to end: {self.pair.busy}" if self.pair.busy else ""
        reason = self._why_not or NO_VOLUME if view is None else busy
        for widget in (self.outlines, self.column, self.worst, self.map, self.map_column, self.table):
            allow(widget, reason)
        networks = view is None or view.image.metadata[VOLUME].error_bound is None
        allow(self.calibrated, reason or (no_calibration(view.image) if view is not None else ""))
        self.pair.allow(self.measure)
        allow(self.recalibrate, self.pair.wanting if networks else NO_NETWORKS)

    def _on_destroyed(self) -> None:
        """All of the window is gone, or the widget after it was closed: nothing of it may be touched again."""
        self._gone = True
        self.pair.stop()
        if self._followed is not None:
            self._followed.changed.disconnect(self._refresh)

    def _on_outlines(self, on: bool) -> None:
        if view := self.view:
            view.show_leaves() if on else view.hide_leaves()

    def _on_column(self, column: str) -> None:
        if view := self.view:
            view.color_by(column)

    def _on_worst(self, count: int) -> None:
        if view := self.view:
            view.show_worst(count)

    def _on_map(self) -> None:
        if view := self.view:
            view.show_map(self.map_column.value) if self.map.value else view.hide_map()

    def _on_table(self) -> None:
        """Show napari's own table of features, of the outlines."""
        if view := self.view:
            view.show_leaves()
            show_table(self._viewer)
            self._viewer.layers.selection.active = view.outlines
            self._refresh()

    def _on_calibrated(self) -> None:
        view = self.view
        if view is not None and is_calibrated(view.image) != self.calibrated.value:
            start_toggle(self._viewer, view.image, lambda: None)
            self._refresh()  # until it has been decoded, or could not be

    def _on_recalibrate(self) -> None:
        layer, against = self.pair.image.value, self.pair.original.value

        def work(_: TincVolume, original: Any) -> tuple[Shown, Measured]:
            shown = recalibrate(layer, original)
            return shown, measure(shown.volume, original)

        def on_result(image: Image, result: tuple[Shown, Measured]) -> None:
            (shown, found), view = result, leaf_view(self._viewer, image)
            grown = shown.volume.nbytes_compressed - image.metadata[VOLUME].nbytes_compressed
            show(image, shown, other=False)
            better = NOT_WORTH_IT if found.before is None else f"{grown:+d} bytes. To keep it, save the layer."
            view.measured(found.rows, found.before, f"{summary(found)}\n{better}", against)

        self.pair.work("Calibrating ...", work, on_result)


def describe(view: LeafView, original: Layer | None) -> str:
    """What there is to know of a layer's leaves; figures only of the original that is chosen."""
    volume, values = view.image.metadata[VOLUME], view.values
    lines = [_what(view, volume)]
    if missing := volume.n_missing:
        lines.append(
            f"Incomplete: the file was cut off, and {missing} parts are missing. They are shown coarsely or grey."
        )
    against_it = values.original is None or (original is not None and values.original() is original)
    summary = values.summary if against_it else ""
    if (promised := promise(volume)) and not summary:  # which says it, too
        lines.append(f"Promised: {promised}")
    lines.append(f"{volume.nbytes_compressed:,} bytes, ratio {volume.ratio:.1f}")
    if volume.error_bound is None:
        lines.append(_calibration(view))
    if summary:
        lines += [f"Against {values.original_name}:"] * (summary != UNCALIBRATED) + [summary]
    elif values.original_name:
        lines.append(f"Errors of the leaves were measured against {values.original_name}.")
    elif not np.isfinite(values.rows["rmse"]).any():
        lines.append("The file does not say its errors: choose the original and press Measure.")
    elif volume.error_bound is None:
        lines.append("Errors are from the file, within 6 %. Leaves that share a network share one error.")
    elif volume.error_bound:
        lines.append("Errors are from the file, within 6 %.")
    return "\n".join(lines)


def _what(view: LeafView, volume: TincVolume) -> str:
    """How many leaves there are, and what they are."""
    count = len(view.rows)
    if volume.error_bound is not None:
        return f"{count} block{'s'[: count > 1]}, coded without networks (predictive coder)"
    levels = np.bincount(view.rows["level"])
    parts = [f"{on_level} on level {level}" for level, on_level in enumerate(levels) if on_level]
    scalars = int((view.rows["network"] < 0).sum())
    of_one_value = f"; {scalars} of one value" if scalars else ""
    return f"{count} {'leaves' if count > 1 else 'leaf'}: {', '.join(parts)}{of_one_value}"


def _calibration(view: LeafView) -> str:
    """From where to where the gains and offsets of the leaves go."""
    if not is_calibrated(view.image):
        return "Not calibrated"
    served = view.rows[view.rows["network"] >= 0]  # a leaf of one value has no gain
    gain, offset = served["gain"], served["offset"]
    return f"Gain {gain.min():.3f} to {gain.max():.3f}, offset {offset.min():.3g} to {offset.max():.3g}"
