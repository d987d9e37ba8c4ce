"""The Leaves dock: overlays of the leaves, errors against the original, calibration and table."""

from __future__ import annotations

from typing import Any

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, Container, Label, PushButton, Slider
from napari.layers import Image, Layer
from numpy.typing import NDArray

from ...decoding.bounded_box import BoundedBox
from ...decoding.network_box import NetworkBox
from ...decoding.volume import TincVolume
from ...encoding.recalibration import recalibrate
from ...errors import TincError
from ...format.widths import SCALAR
from ...networks.calibration import WORTH_DB
from ..compare.original import (
    FILTER_STAYS,
    NO_NETWORKS,
    Measurement,
    ShownVolume,
    describe_measurement,
    is_calibrated,
    measure,
    show_volume,
    why_not_toggled,
)
from ..compare.pair import CHOOSE, NO_VOLUME, Pair
from ..forms import (
    enable_unless,
    help_button,
    keep_keyboard_on_slider,
    labelled_row,
    prepare_dock,
    row,
    set_accessible_name,
    show_focus,
    watch_closing,
    wrap_long_lines,
)
from ..layers.compressed import why_not_comparable
from ..layers.from_volume import promise_of_volume
from ..layers.origin import VOLUME
from ..proxies import unproxied
from .calibration import start_calibration_toggle
from .columns import COLUMNS, column_values, with_unit
from .features_table import open_features_table
from .legend import Legend
from .overlays import COLORMAP, MOST_BOXES, UNCALIBRATED, LeafView, leaf_view

LEGEND_ROW = 4  # The colour scale stands below the choice of the colour.
# What is shown if a recalibration gains too little.
NOT_WORTH_IT = f"Calibration would gain less than {WORTH_DB} dB here, so none is stored."


class LeavesWidget(Container):
    """Show the leaves of one compressed layer: the active one, until another is chosen."""

    @unproxied
    def __init__(self, napari_viewer: Any) -> None:
        self._viewer = napari_viewer
        self._closed = False
        self._read_failure = ""  # Why the leaves of the chosen layer cannot be read.
        self._followed: LeafView | None = None
        self.pair = Pair(self._viewer, self._refresh, self._refresh)
        self.outlines = CheckBox(text="Outlines (boxes in 3D)", tooltip="Click on a leaf to find it in the table.")
        self.column = ComboBox(choices=list(COLUMNS), tooltip="What colours the outlines and boxes.")
        self.worst = Slider(
            value=MOST_BOXES, min=1, max=4096, tooltip="How many boxes 3D shows, the worst by the colour first."
        )
        self.map_column = ComboBox(choices=list(COLUMNS), tooltip="What the map shows.")
        self.map = CheckBox(text="Map", tooltip="One value per leaf, with a colour bar.")
        self.table = PushButton(text="Table", tooltip="One row per leaf. Choose a row to go to its leaf.")
        self.measure = PushButton(text="Measure", tooltip="The error of every leaf, against the original.")
        self.signed, self.absolute = self.pair.signed, self.pair.absolute
        self.calibrated = CheckBox(
            text="Calibration",
            tooltip="Gain and offset of the leaves, or the filter of blocks without networks, on or off.",
        )
        self.recalibrate = PushButton(
            text="Recalibrate", tooltip="Find gains and offsets anew against the original; networks stay as they are."
        )
        self.status = Label(value="")
        super().__init__(
            scrollable=True, labels=False,
            widgets=[
                row(labelled_row("Volume", self.pair.image), help_button("leaves")),
                labelled_row("Original", self.pair.original),
                self.outlines, labelled_row("Colour", self.column), labelled_row("Boxes", self.worst),
                row(self.map, self.map_column), row(self.measure, self.signed, self.absolute),
                row(self.calibrated, self.recalibrate), self.table, self.pair.progress, self.status,
            ],
        )  # fmt: skip
        self.legend = Legend(COLORMAP)
        self.root_native_widget.widget().layout().insertWidget(LEGEND_ROW, self.legend)
        show_focus(self.root_native_widget)
        prepare_dock(self.root_native_widget)
        set_accessible_name("Map of", self.map_column)
        keep_keyboard_on_slider(self.worst)
        wrap_long_lines(self.status)
        self.root_native_widget.widget().layout().addStretch()
        self.outlines.changed.connect(self._on_outlines)
        self.column.changed.connect(self._on_column)
        self.worst.changed.connect(self._on_worst)
        self.map.changed.connect(self._on_map)
        self.map_column.changed.connect(self._on_map)
        self.table.clicked.connect(self._on_table)
        self.measure.clicked.connect(lambda: self.pair.measure(lambda image, measurement: None))
        self.calibrated.changed.connect(self._on_calibrated)
        self.recalibrate.clicked.connect(self._on_recalibrate)
        watch_closing(self.root_native_widget, self._refresh, self._on_destroyed)
        self.pair.start()

    @property
    def native(self) -> Any:
        """Return the scroll area; magicgui would give napari only what is inside of it."""
        return self.root_native_widget

    @property
    def view(self) -> LeafView | None:
        """Return what is shown of the leaves of the chosen layer; None if no layer is chosen or it cannot be read."""
        image = self.pair.image.value
        self._read_failure = ""
        if image is None or image not in self._viewer.layers:
            return None
        try:
            return leaf_view(self._viewer, image)
        except (TincError, OSError) as error:
            self._read_failure = f"The leaves of {image.name} cannot be read: {error}"
            return None

    def reset_choices(self, *_: Any) -> None:
        """List the layers anew. napari calls this when layers come and go."""
        self.pair.reset_choices()
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        """Bring all controls and texts of the dock up to date with the layers."""
        if self._closed:
            return
        view = self.view
        if view is not self._followed:
            if self._followed is not None:
                self._followed.changed.disconnect(self._refresh)
            self._followed = view
            if view is not None:
                view.changed.connect(self._refresh)
        self._update_enabled(view)
        self.legend.setVisible(view is not None)
        if view is None:
            self.status.value = self._why_no_leaves or "Open a .tinc file, or compress a layer, to see its leaves."
            return
        self.legend.show_values(with_unit(view.column), column_values(view.rows, view.column), view.color_limits)
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
        self.status.value = self.pair.busy or describe_leaves(view, self.pair.original.value)
        if self.pair.why_not_ready == CHOOSE:
            self.status.value += f"\n{CHOOSE}"

    @property
    def _why_no_leaves(self) -> str:
        """Return why the active layer has no leaves to show; "" if it has, or was never compressed."""
        return self._read_failure or why_not_comparable(self._viewer.layers.selection.active)

    def _update_enabled(self, view: LeafView | None) -> None:
        """Enable the controls that can be used now. The tooltips of the others say why not."""
        busy = f"Wait for this to end: {self.pair.busy}" if self.pair.busy else ""
        reason = self._why_no_leaves or NO_VOLUME if view is None else busy
        for widget in (self.outlines, self.column, self.worst, self.map, self.map_column, self.table):
            enable_unless(widget, reason)
        networks = view is None or view.image.metadata[VOLUME].error_bound is None
        enable_unless(self.calibrated, reason or (why_not_toggled(view.image) if view is not None else ""))
        self.pair.update_buttons(self.measure)
        filtered = view is not None and view.image.metadata[VOLUME].parts.filter is not None
        no_networks = FILTER_STAYS if filtered else NO_NETWORKS
        enable_unless(self.recalibrate, self.pair.why_not_ready if networks else no_networks)

    def _on_destroyed(self) -> None:
        """Let go of the viewer. The Qt widgets no longer exist, so nothing may touch them again."""
        self._closed = True
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
        """Open napari's table of features, for the outlines."""
        if view := self.view:
            view.show_leaves()
            open_features_table(self._viewer)
            self._viewer.layers.selection.active = view.outlines
            self._refresh()

    def _on_calibrated(self) -> None:
        """Turn the calibration on or off as the box says."""
        view = self.view
        if view is not None and is_calibrated(view.image) != self.calibrated.value:
            start_calibration_toggle(self._viewer, view.image, lambda: None)
            self._refresh()  # The box shows the old state until the new one is decoded.

    def _on_recalibrate(self) -> None:
        """Calibrate against the original in a thread, and show the result and what it gains."""
        layer, original = self.pair.image.value, self.pair.original.value

        def work(_: TincVolume, values: Any) -> tuple[ShownVolume, Measurement]:
            shown = ShownVolume.of(recalibrate(layer.metadata[VOLUME], values), layer)
            return shown, measure(shown.volume, values)

        def on_result(image: Image, result: tuple[ShownVolume, Measurement]) -> None:
            (shown, measurement), view = result, leaf_view(self._viewer, image)
            added_bytes = shown.volume.nbytes_compressed - image.metadata[VOLUME].nbytes_compressed
            show_volume(image, shown, keep_other=False)
            stored = f"{added_bytes:+d} bytes. To keep it, save the layer."
            outcome = NOT_WORTH_IT if measurement.uncalibrated_rows is None else stored
            text = f"{describe_measurement(measurement)}\n{outcome}"
            view.show_measured(measurement.rows, measurement.uncalibrated_rows, text, original)

        self.pair.run("Calibrating ...", work, on_result)


def describe_leaves(view: LeafView, original: Layer | None) -> str:
    """Describe a layer's leaves, a fact a line. Measured errors are told only for the chosen original."""
    volume, values = view.image.metadata[VOLUME], view.values
    lines = [leaf_counts(view.rows, volume)]
    if missing := volume.n_missing:
        lines.append(
            f"Incomplete: the file was cut off, and {missing} parts are missing. They are shown coarsely or grey."
        )
    of_this_original = values.original is None or (original is not None and values.original() is original)
    summary = values.summary if of_this_original else ""
    if (promised := promise_of_volume(volume)) and not summary:  # The summary of a measurement repeats the promise.
        lines.append(f"Promised: {promised}")
    lines.append(f"{volume.nbytes_compressed:,} bytes, ratio {volume.ratio:.1f}")
    if volume.error_bound is None:
        lines.append(_calibration_range(view))
    elif volume.parts.filter is not None:
        described = volume.parts.filter.describe(volume.provenance.get("filter"))
        lines.append(f"Filter: {described}" if is_calibrated(view.image) else "Filter switched off")
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


def leaf_counts(rows: NDArray[Any], volume: TincVolume) -> str:
    """Count the leaves, or blocks, by kind: "64 leaves: 64 on level 2; 8 of one value, 3 smooth parts"."""
    count = len(rows)
    if volume.error_bound is not None:
        n_blocks = sum(1 for _ in volume.boxes())
        leaves = f", in {count} leaves" if count > n_blocks else ""
        return f"{n_blocks} block{'s'[: n_blocks > 1]}, coded without networks (predictive coder){leaves}"
    levels = np.bincount(rows["level"])
    counts_by_level = [f"{on_level} on level {level}" for level, on_level in enumerate(levels) if on_level]
    kinds = "".join(f"; {text}" for text in [_others_than_networks(volume)] if text)
    return f"{count} {'leaves' if count > 1 else 'leaf'}: {', '.join(counts_by_level)}{kinds}"


def _others_than_networks(volume: TincVolume) -> str:
    """Count what has no network: leaves of one value, blocks that are smooth, and blocks of the predictive coder."""
    parts = [part for _, _, part in volume.boxes() if part is not None]
    blocks = [part for part in parts if isinstance(part, BoundedBox)]
    trees = [part for part in parts if isinstance(part, NetworkBox)]
    smooth = sum(part.background is not None and bool(part.background.hidden.all()) for part in blocks)
    coded = len(blocks) - smooth
    counts = {
        "of one value": sum(int((tree.header.widths == SCALAR).sum()) for tree in trees),
        f"smooth block{'s'[: smooth > 1]} (a polynomial)": smooth,
        f"block{'s'[: coded > 1]} without networks (predictive coder)": coded,
    }
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count > 0)


def _calibration_range(view: LeafView) -> str:
    """Return the ranges of the gains and offsets of the leaves, in words."""
    if not is_calibrated(view.image):
        return "Not calibrated" if why_not_toggled(view.image) else "Calibration switched off"
    with_network = view.rows[view.rows["network"] >= 0]  # A leaf of one value has no gain.
    gain, offset = with_network["gain"], with_network["offset"]
    return f"Gain {gain.min():.3f} to {gain.max():.3f}, offset {offset.min():.3g} to {offset.max():.3g}"
