"""The leaves of a compressed image layer as overlays: outlines in 2D, boxes in 3D, a map of their error.

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
from .columns import COLUMNS, badness, table
from .maps import NOTHING, SHADES, LeafMap, limits, shade, wireframes

DIFFERENCE = "absolute"  # in the metadata of a difference layer: whether it is one without signs
COLORMAP = "viridis"  # readable by the colour-blind, and in grey
ERRORS = ("RMSE", "PSNR (dB)", "max error")  # the columns that are errors
CHOSEN = (1.0, 1.0, 1.0, 1.0)  # colour of the box of the leaf that was chosen
OUTLINES_3D = 2**15  # voxels of the outlines that napari slices in 3D before it tells us to hide them
CLICK = 3  # pixels that a mouse may move between press and release
MOST_BOXES = 256  # more are a fog
UNCALIBRATED = "Errors measured, without calibration."

_views: weakref.WeakKeyDictionary[Image | Labels, LeafView] = weakref.WeakKeyDictionary()


def leaf_view(viewer: Any, image: Image | Labels) -> LeafView:
    """The one view of an image layer's leaves in a viewer."""
    view = _views.get(image)
    if view is None or view.viewer is not viewer:
        view = _views[image] = LeafView(viewer, image)
    return view


class Values(NamedTuple):
    """Values of the leaves, and where their errors come from.

    Attributes
    ----------
    rows : of ``TincVolume.leaves``, or with errors measured against an original.
    before : the same without calibration, once measured.
    summary : what was measured, in words.
    original : the layer that they were measured against, unless it is gone.
    original_name : its name then; "" where nothing was measured.
    """

    rows: NDArray[Any]
    before: NDArray[Any] | None = None
    summary: str = ""
    original: weakref.ref[Layer] | None = None
    original_name: str = ""


class LeafView:
    """What is shown of one image layer's leaves.

    Attributes
    ----------
    values : of the leaves, and where their errors come from.
    column : title of what colours the outlines and boxes, of :data:`~.leaf_maps.COLUMNS`.
    worst : how many boxes 3D shows.
    outlines, boxes, map : the overlays; None where they are not shown.
    changed : emitted when any of these, or whether they are visible, has changed.
    """

    changed = Signal()

    def __init__(self, viewer: Any, image: Image | Labels) -> None:
        self._viewer, self._image = weakref.ref(viewer), weakref.ref(image)  # both hold on to what is kept in _views
        self.values = Values(image.metadata[VOLUME].leaves)
        if not len(self.rows):
            raise TincError("all of its leaves are missing: the file was cut off")
        self.column, self.worst = self.known_columns()[0], MOST_BOXES
        self.outlines: Labels | None = None
        self.boxes: Vectors | None = None
        self.map: Image | None = None
        self._chosen, self._selected = -1, 1  # leaf, label
        self._other: Values | None = None  # of the other calibration

    @property
    def viewer(self) -> Any:
        viewer = self._viewer()
        assert viewer is not None  # who calls has it
        return viewer

    @property
    def image(self) -> Image | Labels:
        image = self._image()
        assert image is not None  # who calls has it
        return image

    @property
    def name(self) -> str:
        return base_name(self.image.name)

    @property
    def rows(self) -> NDArray[Any]:
        return self.values.rows

    @property
    def summary(self) -> str:
        return self.values.summary

    def known_columns(self) -> list[str]:
        """Titles of the columns that have values: a small file may not say its errors."""
        return [title for title, field in COLUMNS.items() if np.isfinite(self.rows[field].astype(float)).any()]

    def show_leaves(self) -> None:
        """Outlines in 2D, boxes in 3D; whichever the viewer shows is switched with it."""
        if self.outlines is None:
            numbers = np.arange(1, len(self.rows) + 1, dtype=np.int32)
            levels = LeafMap(self.image.metadata[VOLUME].shape, self.rows, numbers).levels(OUTLINES_3D)
            self.outlines = Labels(
                [levels[0], levels[-1]] if len(levels) > 1 else levels[0], multiscale=len(levels) > 1,
                name=f"{self.name} leaves", opacity=1, features=self._features(), colormap=self._colors(),
                visible=self.viewer.dims.ndisplay == 2, **self._common(),
            )  # fmt: skip
            # napari slices outlines in 3D once, before it tells us to hide them, and would pop up a warning of that.
            warnings.filterwarnings("ignore", "Contours are not displayed during 3D rendering", UserWarning)
            self.outlines.contour = 1
            self.outlines.editable = False
            self.outlines.mouse_drag_callbacks.append(self._on_press)
            self._add(self.outlines)
            self._selected = self.outlines.selected_label
            self.outlines.events.selected_label.connect(self._on_selected)
            self.viewer.dims.events.ndisplay.connect(self._on_ndisplay)
            self._watch()
        self._switch(True)
        self.viewer.layers.selection.active = self.outlines

    @property
    def leaves_shown(self) -> bool:
        layer = self.outlines if self.viewer.dims.ndisplay == 2 else self.boxes
        return layer is not None and layer in self.viewer.layers and layer.visible

    @property
    def map_column(self) -> str | None:
        """What the map shows, if there is one."""
        return self.map.metadata["column"] if self.map is not None and self.map in self.viewer.layers else None

    def hide_leaves(self) -> None:
        self._switch(False)

    def show_map(self, column: str) -> None:
        """A map of one value a leaf, with a colour bar.

        Raises
        ------
        ValueError
            If that value is not known.
        """
        if column not in self.known_columns():
            raise ValueError(
                f"{self.image.name}: the file does not say the {column} of its leaves; measure it: "
                "open Plugins > TINC > Leaves, choose the original, and press Measure"
            )
        self.hide_map()
        values = self.rows[COLUMNS[column]].astype(np.float32)
        values[~np.isfinite(values)] = limits(values)[1]  # a PSNR without an error
        levels = LeafMap(self.image.metadata[VOLUME].shape, self.rows, values).levels(OVERVIEW_VOXELS)
        several = len(levels) > 1
        self.map = Image(
            [*levels[:-1], np.asarray(levels[-1])] if several else np.asarray(levels[0]), multiscale=several,
            name=f"{self.name} leaf {'error' if column in ERRORS else column}", colormap=COLORMAP, opacity=0.6,
            contrast_limits=limits(values), interpolation2d="nearest", interpolation3d="nearest",
            blending="translucent_no_depth", **self._common(),
        )  # fmt: skip
        self.map.metadata["column"] = column
        self.map.colorbar.visible = True
        table_of = self.viewer.layers.selection.active
        self._add(self.map)
        self._watch()
        if table_of is None or table_of is not self.outlines:  # whose table of features would be gone
            self.viewer.layers.selection.active = self.map
        self.changed.emit()

    def hide_map(self) -> None:
        if self.map is not None and self.map in self.viewer.layers:
            self.viewer.layers.remove(self.map)

    def color_by(self, column: str) -> None:
        self.column = column
        self._refresh()
        self.changed.emit()

    def show_worst(self, count: int) -> None:
        self.worst = count
        self._draw_boxes()

    def measured(
        self, rows: NDArray[Any], before: NDArray[Any] | None, summary: str, original: Layer
    ) -> None:  # fmt: skip
        """Show errors that were measured against an original."""
        self._show(Values(rows, before, summary, weakref.ref(original), original.name))

    def update(self, rows: NDArray[Any], before: NDArray[Any] | None = None) -> None:
        """Show other values for the same leaves: those of another calibration."""
        self._show(Values(rows, before))

    def toggle(self, leaves: NDArray[Any]) -> None:
        """The same leaves with or without calibration: as they were measured, or else as the file says them."""
        shown, other = self.values, self._other
        if shown.before is not None:
            other = shown._replace(rows=shown.before, before=None, summary=UNCALIBRATED)
        self._show(other or Values(leaves))
        self._other = shown

    def _show(self, values: Values) -> None:
        self.values, self._other = values, None
        if self.column not in self.known_columns():
            self.column = self.known_columns()[0]
        self._refresh()
        if self.outlines is not None:
            self.outlines.features = self._features()
        if self.map is not None:
            column = self.map.metadata["column"]
            self.show_map(column) if column in self.known_columns() else self.hide_map()
        # The status bar tells what is under the mouse, which may be at rest.
        if self.viewer.mouse_over_canvas and self.viewer.dims.ndisplay == 2:
            self.viewer.update_status_from_cursor()
        self.changed.emit()

    def go_to(self, leaf: int) -> None:
        """Show the middle of a leaf, and its box in white. ``leaf`` counts from 0."""
        row = self.rows[leaf]
        centre = self.image.data_to_world((row["start"] + row["stop"] - 1) // 2)
        dims = self.viewer.dims
        axes = range(dims.ndim - 3, dims.ndim)
        dims.set_point(axes, centre)
        camera = self.viewer.scene.camera
        camera.center = tuple(float(dims.point[axis]) for axis in dims.displayed)
        self._chosen = leaf
        self._draw_boxes()

    def _features(self) -> pd.DataFrame:
        return pd.DataFrame(table(self.rows, self.values.before))

    def _common(self) -> dict[str, Any]:
        image = self.image
        return {key: getattr(image, key) for key in PLACE} | {"metadata": {OVERLAY: self._image}}

    @property
    def limits(self) -> tuple[float, float]:
        """The values that have the first and the last of the colours."""
        return limits(self.rows[COLUMNS[self.column]])

    def _shades(self) -> NDArray[np.float32]:
        """A colour for every leaf, RGBA."""
        values = self.rows[COLUMNS[self.column]]
        palette = ensure_colormap(COLORMAP).map(np.linspace(0, 1, SHADES))
        return np.concatenate([palette, [NOTHING]])[shade(values, self.limits)].astype(np.float32)

    def _colors(self) -> DirectLabelColormap:
        colors: dict[int | None, Any] = dict(enumerate(self._shades(), start=1))
        return DirectLabelColormap(color_dict=colors | {None: np.zeros(4), 0: np.zeros(4)})

    def _draw_boxes(self) -> None:
        if self.boxes is None:
            return
        order = np.argsort(-badness(self.rows, self.column), kind="stable")[: self.worst]
        colors = self._shades()[order]
        if self._chosen >= 0:
            order, colors = np.append(order, self._chosen), np.concatenate([colors, [CHOSEN]])
        self.boxes.data = wireframes(self.rows["start"][order], self.rows["stop"][order])
        self.boxes.edge_color = np.repeat(colors, 12, axis=0)

    def _refresh(self) -> None:
        if self.outlines is not None:
            self.outlines.colormap = self._colors()
        self._draw_boxes()

    def _add(self, layer: Layer) -> None:
        """Above all images, which would hide it, and moved with its own. The active layer stays active."""
        viewer, layers = self.viewer, self.viewer.layers
        active, over_canvas = layers.selection.active, viewer.mouse_over_canvas
        viewer.mouse_over_canvas = False  # in 3D napari fails to tell what is under a mouse that has not moved yet
        layers.insert(above_images(layers, maps=layer is not self.map), layer)
        layers.selection.active = active
        viewer.mouse_over_canvas = over_canvas
        link_layers([self.image, layer], PLACE)
        layer.events.visible.connect(self._on_visible)

    def _watch(self) -> None:
        self.viewer.layers.events.removed.connect(self._on_removed)

    def _on_visible(self) -> None:
        self.changed.emit()

    def _on_ndisplay(self) -> None:
        self._switch(any(layer is not None and layer.visible for layer in (self.outlines, self.boxes)))

    def _switch(self, on: bool) -> None:
        """Show the overlay that suits the viewer's dimensions, or none."""
        solid = self.viewer.dims.ndisplay == 3
        if solid and on and self.boxes is None and self.outlines is not None:
            self.boxes = Vectors(
                np.zeros((0, 2, 3)), ndim=3, name=f"{self.name} leaf boxes", vector_style="line", opacity=1,
                edge_width=max(self.image.metadata[VOLUME].shape) / 160, **self._common(),
            )  # fmt: skip
            self._draw_boxes()
            self._add(self.boxes)
        for layer, wanted in ((self.outlines, on and not solid), (self.boxes, on and solid)):
            if layer is not None and layer.visible != wanted:
                layer.visible = wanted

    def _on_selected(self) -> None:
        before, self._selected = self._selected, self.outlines.selected_label if self.outlines is not None else 1
        if self._selected != before and 1 <= self._selected <= len(self.rows):  # also told when colours change
            self.go_to(int(self._selected) - 1)

    def _on_press(self, layer: Labels, event: Any) -> Iterator[None]:
        """A click selects the leaf under it, and the row of the table, without moving anything."""
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.array(event.pos) - start).max() > CLICK:
            return
        value = layer.get_value(
            event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
        )
        leaf = value[1] if isinstance(value, tuple) else value
        if leaf:
            self._selected = layer.selected_label = int(leaf)

    def _on_removed(self, event: Any) -> None:
        removed = event.value
        overlays = [layer for layer in (self.outlines, self.boxes, self.map) if layer is not None]
        gone = overlays if removed is self._image() else [removed] if removed is self.map else []
        if removed in (self.outlines, self.boxes):
            gone = [layer for layer in (self.outlines, self.boxes) if layer is not None]
        for layer in gone:
            if layer is self.map:
                self.map = None
            elif layer is self.outlines:
                self.viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
                self.outlines = None
            else:
                self.boxes = None
        for layer in gone:
            image = self._image()
            if image is not None:
                unlink_layers([image, layer], PLACE)
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        if gone:
            self.changed.emit()


def above_images(layers: Sequence[Layer], maps: bool) -> int:
    """Where in a layer list something is seen that belongs over images: above the last, and above ``maps`` or not."""
    below = [
        at for at, layer in enumerate(layers)
        if isinstance(layer, Image | Labels)
        and (OVERLAY not in layer.metadata or DIFFERENCE in layer.metadata or (maps and isinstance(layer, Image)))
    ]  # fmt: skip
    return max(below, default=-1) + 1
