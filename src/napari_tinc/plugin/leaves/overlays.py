"""Show the leaves of a compressed layer as overlays: outlines in 2D, boxes in 3D, a map of their values.

Works on a viewer and its layers; a ``ViewerModel`` without a window will do. No Qt.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from napari.layers import Image, Labels, Layer, Vectors
from napari.layers.utils._link_layers import link_layers, unlink_layers
from napari.utils.colormaps import DirectLabelColormap, ensure_colormap
from numpy.typing import NDArray
from psygnal import Signal

from ...errors import TincError
from ..layers.appearance import PLACE
from ..layers.compressed import OVERLAY
from ..layers.display import OVERVIEW_VOXELS
from ..layers.origin import VOLUME, base_name
from .columns import COLUMNS, column_values, importance, table_columns, with_unit
from .maps import SHADES, UNKNOWN_COLOR, LeafMap, shade_numbers, value_limits, wireframes

DIFFERENCE = "absolute"  # Key in the metadata of a difference layer: True if its differences have no sign.
COLORMAP = "viridis"  # The colours of values: told apart by the colour-blind, and in grey.
CHOSEN_COLOR = (1.0, 1.0, 1.0, 1.0)  # White: the colour of the box of the leaf that was chosen.
OUTLINE_VOXELS_3D = 2**15  # A coarse level of outlines has at most so many: napari slices it in 3D before it is hidden.
CLICK_TOLERANCE = 3  # A press counts as a click if the mouse moves at most so many pixels before its release.
MOST_BOXES = 256  # 3D shows so many boxes at first. More hide each other.
UNCALIBRATED = "Errors measured, without calibration."  # The summary of leaves whose calibration was turned off.

_views: weakref.WeakKeyDictionary[Image | Labels, LeafView] = weakref.WeakKeyDictionary()


def leaf_view(viewer: Any, image: Image | Labels) -> LeafView:
    """Return the view of a layer's leaves in a viewer. There is one for each layer."""
    view = _views.get(image)
    if view is None or view.viewer is not viewer:
        view = _views[image] = LeafView(viewer, image)
    return view


class LeafValues(NamedTuple):
    """Hold the values of the leaves, and where their errors come from.

    Attributes
    ----------
    rows : of ``TincVolume.leaves``, or with errors measured against an original.
    uncalibrated_rows : the same without calibration; None until it was measured.
    summary : what was measured, in words.
    original : a reference to the layer that they were measured against; None if nothing was measured.
    original_name : the name of that layer at that time; "" if nothing was measured.
    """

    rows: NDArray[Any]
    uncalibrated_rows: NDArray[Any] | None = None
    summary: str = ""
    original: weakref.ref[Layer] | None = None
    original_name: str = ""


class LeafView:
    """Show the leaves of one layer in one viewer.

    Attributes
    ----------
    values : of the leaves, and where their errors come from.
    column : what colours the outlines and boxes, a title of :data:`~.columns.COLUMNS`.
    worst : how many boxes 3D shows, those first that are worst by the colour.
    outlines, boxes, map : the overlays; None where they are not shown.
    changed : emitted when any of these, or whether they are visible, has changed.
    """

    changed = Signal()

    def __init__(self, viewer: Any, image: Image | Labels) -> None:
        # Weak, since _views keeps this view as long as the layer lives.
        self._viewer, self._image = weakref.ref(viewer), weakref.ref(image)
        self.values = LeafValues(image.metadata[VOLUME].leaves)
        if not len(self.rows):
            raise TincError("all of its leaves are missing: the file was cut off")
        self.column, self.worst = self.known_columns()[0], MOST_BOXES
        self.outlines: Labels | None = None
        self.boxes: Vectors | None = None
        self.map: Image | None = None
        self._chosen_leaf = -1  # Number of the leaf with a white box, from 0; -1 for none.
        self._selected_label = 1
        self._other_values: LeafValues | None = None  # What is shown when calibration is toggled, once it was shown.

    @property
    def viewer(self) -> Any:
        """Return the viewer, which the caller holds."""
        viewer = self._viewer()
        assert viewer is not None
        return viewer

    @property
    def image(self) -> Image | Labels:
        """Return the compressed layer, which the caller holds."""
        image = self._image()
        assert image is not None
        return image

    @property
    def name(self) -> str:
        """Return what the names of the overlays begin with."""
        return base_name(self.image.name)

    @property
    def rows(self) -> NDArray[Any]:
        """Return a row per leaf, with the errors that are shown now."""
        return self.values.rows

    @property
    def summary(self) -> str:
        """Return what was measured, in words; "" if nothing was."""
        return self.values.summary

    def known_columns(self) -> list[str]:
        """Return the titles of the columns that have values. A small file does not store its errors."""
        return [title for title, field in COLUMNS.items() if np.isfinite(self.rows[field].astype(float)).any()]

    def show_leaves(self) -> None:
        """Show outlines in 2D and boxes in 3D. They follow when the viewer changes between the two."""
        if self.outlines is None:
            numbers = np.arange(1, len(self.rows) + 1, dtype=np.int32)
            levels = LeafMap(self.image.metadata[VOLUME].shape, self.rows, numbers).levels(OUTLINE_VOXELS_3D)
            self.outlines = Labels(
                [levels[0], levels[-1]] if len(levels) > 1 else levels[0], multiscale=len(levels) > 1,
                name=f"{self.name} leaves", opacity=1, features=self._features(), colormap=self._outline_colors(),
                visible=self.viewer.dims.ndisplay == 2, **self._shared_arguments(),
            )  # fmt: skip
            # napari slices outlines in 3D once, before it tells us to hide them, and would pop up a warning of that.
            warnings.filterwarnings("ignore", "Contours are not displayed during 3D rendering", UserWarning)
            self.outlines.contour = 1
            self.outlines.editable = False
            self.outlines.mouse_drag_callbacks.append(self._on_press)
            self._add(self.outlines)
            self._selected_label = self.outlines.selected_label
            self.outlines.events.selected_label.connect(self._on_selected)
            self.viewer.dims.events.ndisplay.connect(self._on_ndisplay)
            self._follow_removals()
        self._show_outlines_or_boxes(True)
        self.viewer.layers.selection.active = self.outlines

    @property
    def leaves_shown(self) -> bool:
        """Tell whether the leaves are visible in the present number of dimensions."""
        layer = self.outlines if self.viewer.dims.ndisplay == 2 else self.boxes
        return layer is not None and layer in self.viewer.layers and layer.visible

    @property
    def map_column(self) -> str | None:
        """Return the title of the column that the map shows; None without a map."""
        return self.map.metadata["column"] if self.map is not None and self.map in self.viewer.layers else None

    def hide_leaves(self) -> None:
        """Hide outlines and boxes."""
        self._show_outlines_or_boxes(False)

    def show_map(self, column: str) -> None:
        """Show a map of one value per leaf, with a colour bar. It replaces the map before.

        Raises
        ------
        ValueError
            If the values of that column are not known.
        """
        if column not in self.known_columns():
            raise ValueError(
                f"{self.image.name}: the file does not say the {column} of its leaves; measure it: "
                "open Plugins > TINC > Leaves, choose the original, and press Measure"
            )
        self.hide_map()
        values = column_values(self.rows, column).astype(np.float32)
        values[~np.isfinite(values)] = value_limits(values)[1]  # The PSNR of a leaf without an error is infinite.
        levels = LeafMap(self.image.metadata[VOLUME].shape, self.rows, values).levels(OVERVIEW_VOXELS)
        several = len(levels) > 1
        self.map = Image(
            [*levels[:-1], np.asarray(levels[-1])] if several else np.asarray(levels[0]), multiscale=several,
            name=f"{self.name} leaf {with_unit(column)}", colormap=COLORMAP, opacity=0.6,
            contrast_limits=value_limits(values), interpolation2d="nearest", interpolation3d="nearest",
            blending="translucent_no_depth", **self._shared_arguments(),
        )  # fmt: skip
        self.map.metadata["column"] = column
        self.map.colorbar.visible = True
        # The name is the title of the colour bar, which has none of its own.
        self.map.name_overlay.position = self.map.colorbar.position
        self.map.name_overlay.visible = True
        active = self.viewer.layers.selection.active
        self._add(self.map)
        self._follow_removals()
        if active is None or active is not self.outlines:  # napari's table shows the features of the active layer.
            self.viewer.layers.selection.active = self.map
        self.changed.emit()

    def hide_map(self) -> None:
        """Remove the map."""
        if self.map is not None and self.map in self.viewer.layers:
            self.viewer.layers.remove(self.map)

    def color_by(self, column: str) -> None:
        """Colour outlines and boxes by a column of :data:`~.columns.COLUMNS`."""
        self.column = column
        self._recolor()
        self.changed.emit()

    def show_worst(self, count: int) -> None:
        """Show so many boxes in 3D, those first that are worst by the colour."""
        self.worst = count
        self._draw_boxes()

    def show_measured(
        self, rows: NDArray[Any], uncalibrated_rows: NDArray[Any] | None, summary: str, original: Layer
    ) -> None:  # fmt: skip
        """Show errors that were measured against an original."""
        self.show_values(LeafValues(rows, uncalibrated_rows, summary, weakref.ref(original), original.name))

    def toggle_calibration(self, leaves: NDArray[Any]) -> None:
        """Show the leaves with or without calibration: errors as measured, or else as the file stores them."""
        shown, other = self.values, self._other_values
        if shown.uncalibrated_rows is not None:
            other = shown._replace(rows=shown.uncalibrated_rows, uncalibrated_rows=None, summary=UNCALIBRATED)
        self.show_values(other or LeafValues(leaves))
        self._other_values = shown

    def show_values(self, values: LeafValues) -> None:
        """Show other values for the same leaves in all overlays."""
        self.values, self._other_values = values, None
        if self.column not in self.known_columns():
            self.column = self.known_columns()[0]
        self._recolor()
        if self.outlines is not None:
            self.outlines.features = self._features()
        if self.map is not None:
            column = self.map.metadata["column"]
            self.show_map(column) if column in self.known_columns() else self.hide_map()
        # The status bar tells the value under the mouse, and napari updates it only when the mouse moves.
        if self.viewer.mouse_over_canvas and self.viewer.dims.ndisplay == 2:
            self.viewer.update_status_from_cursor()
        self.changed.emit()

    def go_to_leaf(self, leaf: int) -> None:
        """Show the middle of a leaf, and its box in white. ``leaf`` counts from 0."""
        row = self.rows[leaf]
        centre = self.image.data_to_world((row["start"] + row["stop"] - 1) // 2)
        dims = self.viewer.dims
        axes = range(dims.ndim - 3, dims.ndim)
        dims.set_point(axes, centre)
        camera = self.viewer.scene.camera
        camera.center = tuple(float(dims.point[axis]) for axis in dims.displayed)
        self._chosen_leaf = leaf
        self._draw_boxes()

    def _features(self) -> pd.DataFrame:
        """Return the leaf table, as napari takes it."""
        return pd.DataFrame(table_columns(self.rows, self.values.uncalibrated_rows))

    def _shared_arguments(self) -> dict[str, Any]:
        """Return the arguments that all overlays have: the place of the compressed layer, and a reference to it."""
        image = self.image
        return {key: getattr(image, key) for key in PLACE} | {"metadata": {OVERLAY: self._image}}

    @property
    def color_limits(self) -> tuple[float, float]:
        """Return the values that have the first and the last of the colours."""
        return value_limits(column_values(self.rows, self.column))

    def _leaf_colors(self) -> NDArray[np.float32]:
        """Return a colour for every leaf: RGBA, an array of shape (leaves, 4)."""
        values = column_values(self.rows, self.column)
        palette = ensure_colormap(COLORMAP).map(np.linspace(0, 1, SHADES))
        return np.concatenate([palette, [UNKNOWN_COLOR]])[shade_numbers(values, self.color_limits)].astype(np.float32)

    def _outline_colors(self) -> DirectLabelColormap:
        """Return the colours of the outlines. What lies outside of all leaves is transparent."""
        colors: dict[int | None, Any] = dict(enumerate(self._leaf_colors(), start=1))
        return DirectLabelColormap(color_dict=colors | {None: np.zeros(4), 0: np.zeros(4)})

    def _draw_boxes(self) -> None:
        """Draw the worst boxes, and above them that of the chosen leaf."""
        if self.boxes is None:
            return
        order = np.argsort(-importance(self.rows, self.column), kind="stable")[: self.worst]
        colors = self._leaf_colors()[order]
        if self._chosen_leaf >= 0:
            order, colors = np.append(order, self._chosen_leaf), np.concatenate([colors, [CHOSEN_COLOR]])
        self.boxes.data = wireframes(self.rows["start"][order], self.rows["stop"][order])
        self.boxes.edge_color = np.repeat(colors, 12, axis=0)

    def _recolor(self) -> None:
        """Colour outlines and boxes anew."""
        if self.outlines is not None:
            self.outlines.colormap = self._outline_colors()
        self._draw_boxes()

    def _add(self, layer: Layer) -> None:
        """Add an overlay above all images, which would hide it. It moves with its image; the active layer stays so."""
        viewer, layers = self.viewer, self.viewer.layers
        active, over_canvas = layers.selection.active, viewer.mouse_over_canvas
        viewer.mouse_over_canvas = False  # In 3D napari fails at a mouse that has not moved yet.
        layers.insert(index_above_images(layers, maps=layer is not self.map), layer)
        layers.selection.active = active
        viewer.mouse_over_canvas = over_canvas
        link_layers([self.image, layer], PLACE)
        layer.events.visible.connect(self._on_visible)

    def _follow_removals(self) -> None:
        self.viewer.layers.events.removed.connect(self._on_removed)

    def _on_visible(self) -> None:
        self.changed.emit()

    def _on_ndisplay(self) -> None:
        """Show boxes in place of outlines, or the other way round."""
        self._show_outlines_or_boxes(any(layer is not None and layer.visible for layer in (self.outlines, self.boxes)))

    def _show_outlines_or_boxes(self, on: bool) -> None:
        """Show outlines in 2D or boxes in 3D, or neither."""
        in_3d = self.viewer.dims.ndisplay == 3
        if in_3d and on and self.boxes is None and self.outlines is not None:
            self.boxes = Vectors(
                np.zeros((0, 2, 3)), ndim=3, name=f"{self.name} leaf boxes", vector_style="line", opacity=1,
                edge_width=max(self.image.metadata[VOLUME].shape) / 160, **self._shared_arguments(),
            )  # fmt: skip
            self._draw_boxes()
            self._add(self.boxes)
        for layer, wanted in ((self.outlines, on and not in_3d), (self.boxes, on and in_3d)):
            if layer is not None and layer.visible != wanted:
                layer.visible = wanted

    def _on_selected(self) -> None:
        """Go to the leaf that is selected in the outlines or in the table."""
        label = self.outlines.selected_label if self.outlines is not None else 1
        before, self._selected_label = self._selected_label, label
        if label != before and 1 <= label <= len(self.rows):  # napari also emits this when colours change.
            self.go_to_leaf(int(label) - 1)

    def _on_press(self, layer: Labels, event: Any) -> Iterator[None]:
        """Select the leaf under a click, and its row of the table, without moving anything."""
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.array(event.pos) - start).max() > CLICK_TOLERANCE:
            return
        value = layer.get_value(
            event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
        )
        leaf = value[1] if isinstance(value, tuple) else value
        if leaf:
            self._selected_label = layer.selected_label = int(leaf)

    def _on_removed(self, event: Any) -> None:
        """Remove the overlays with their image, and boxes together with outlines."""
        removed = event.value
        overlays = [layer for layer in (self.outlines, self.boxes, self.map) if layer is not None]
        to_remove = overlays if removed is self._image() else [removed] if removed is self.map else []
        if removed in (self.outlines, self.boxes):
            to_remove = [layer for layer in (self.outlines, self.boxes) if layer is not None]
        for layer in to_remove:
            if layer is self.map:
                self.map = None
            elif layer is self.outlines:
                self.viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
                self.outlines = None
            else:
                self.boxes = None
        for layer in to_remove:
            image = self._image()
            if image is not None:
                unlink_layers([image, layer], PLACE)
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        if to_remove:
            self.changed.emit()


def index_above_images(layers: Sequence[Layer], maps: bool) -> int:
    """Return the index in a layer list just above all images, so that none hides what is inserted there.

    ``maps`` tells whether it also lies above maps of leaves.
    """
    below = [
        at for at, layer in enumerate(layers)
        if isinstance(layer, Image | Labels)
        and (OVERLAY not in layer.metadata or DIFFERENCE in layer.metadata or (maps and isinstance(layer, Image)))
    ]  # fmt: skip
    return max(below, default=-1) + 1
