"""The dock widget for the leaves of a compressed layer: overlays, errors against the original, calibration, table."""

from __future__ import annotations

from typing import Any

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, Container, Label, PushButton, Slider
from napari.layers import Image
from qtpy.QtCore import Qt

from ..calibration import WORTH_DB
from ..framing import TincError
from ..volume import TincVolume
from .commands import start_toggle
from .door import unproxied
from .forms import labelled, named, roomy, row, show_focus, steady, watch_end, wrapped
from .layers import VOLUME, promise
from .leaf_maps import COLUMNS
from .leaf_view import MOST_BOXES, LeafView, leaf_view, refusal
from .originals import Measured, Shown, is_calibrated, measure, recalibrate, show, summary
from .pair import Pair

TABLE_HEIGHT = 260  # pixels
NOT_WORTH_IT = f"No calibration would give {WORTH_DB} dB."


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
        self.signed = PushButton(text="Difference", tooltip="Compressed minus original, voxel by voxel.")
        self.absolute = PushButton(text="Absolute", tooltip="How far off each voxel is.")
        self.calibrated = CheckBox(text="Calibration", tooltip="Gain and offset of the leaves, on or off.")
        self.recalibrate = PushButton(
            text="Recalibrate", tooltip="Find gains and offsets anew against the original; networks stay as they are."
        )
        self.status = Label(value="")
        super().__init__(
            scrollable=True, labels=False,
            widgets=[
                labelled("Volume", self.pair.image), labelled("Original", self.pair.original),
                self.outlines, labelled("Colour", self.column), labelled("Boxes", self.worst),
                row(self.map, self.map_column), row(self.measure, self.signed, self.absolute),
                row(self.calibrated, self.recalibrate), self.table, self.status,
            ],
        )  # fmt: skip
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
        self.measure.clicked.connect(lambda: self.pair.measure(self._on_measured))
        self.signed.clicked.connect(lambda: self.pair.subtract(False))
        self.absolute.clicked.connect(lambda: self.pair.subtract(True))
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
        for widget in (self.outlines, self.column, self.worst, self.map, self.map_column, self.table, self.calibrated):
            widget.native.setEnabled(view is not None and not self.pair.busy)  # of a slider, its number too
        for widget in (self.measure, self.signed, self.absolute, self.recalibrate):
            widget.enabled = view is not None and not self.pair.busy and self.pair.original.value is not None
        if view is not None and view.image.metadata[VOLUME].error_bound is not None:
            self.calibrated.enabled = self.recalibrate.enabled = False  # there is nothing to calibrate
        if view is None:
            why = self._failure or refusal(self._viewer.layers.selection.active)
            self.status.value = why or "Open a .tinc file, or compress a layer, to see its leaves."
            return
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
        self.status.value = self.pair.busy or describe(view)

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
        """napari's own table of features, of the outlines."""
        if view := self.view:
            view.show_leaves()
            dock, _ = self._viewer.window.add_plugin_dock_widget("napari", "Features table widget")
            window = dock.parent()
            window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)  # its rows are long
            window.resizeDocks([dock], [TABLE_HEIGHT], Qt.Orientation.Vertical)
            self._viewer.layers.selection.active = view.outlines
            self._refresh()

    def _on_measured(self, image: Image, found: Measured) -> None:
        view = leaf_view(self._viewer, image)
        view.update(found.rows, found.before)
        assert self.pair.original.value is not None  # Pair drops what was measured against another
        view.summary = f"Against {self.pair.original.value.name}:\n{summary(found)}"

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
            view.update(found.rows, found.before)
            better = NOT_WORTH_IT if found.before is None else f"{grown:+d} bytes. To keep it, save the layer."
            view.summary = f"Against {against.name}:\n{summary(found)}\n{better}"

        self.pair.work("Calibrating ...", work, on_result)


def describe(view: LeafView) -> str:
    """What there is to know of a layer's leaves."""
    volume = view.image.metadata[VOLUME]
    levels = np.bincount(view.rows["level"])
    per_level = ", ".join(f"{count} on level {level}" for level, count in enumerate(levels) if count)
    said, bounded = promise(volume), volume.error_bound is not None
    scalars = 0 if bounded else int((view.rows["network"] < 0).sum())
    what = f"block{'s'[: len(view.rows) > 1]} without networks" if bounded else "leaves"
    lines = [f"{len(view.rows)} {what}: {per_level}" + (f"; {scalars} of one value" if scalars else "")]
    if said and not view.summary:  # which says it, too
        lines.append(f"Promised: {said}")
    lines.append(f"{volume.nbytes_compressed:,} bytes, ratio {volume.ratio:.1f}")
    served = view.rows[view.rows["network"] >= 0]  # a leaf of one value has no gain
    gain, offset = served["gain"], served["offset"]
    if is_calibrated(view.image):
        lines.append(f"Gain {gain.min():.3f} to {gain.max():.3f}, offset {offset.min():.3g} to {offset.max():.3g}")
    elif not bounded:
        lines.append("Not calibrated")
    if view.summary:
        lines.append(view.summary)
    elif np.isfinite(view.rows["rmse"]).any():
        together = "" if bounded else ": those of all leaves of a network together"
        if volume.error_bound != 0:
            lines.append(f"Errors as the file says them, to 6 %{together}.")
    else:
        lines.append("The file does not say its errors: measure them against the original.")
    return "\n".join(lines)
