"""Show two image layers of one shape side by side, in turn, under a curtain, or as a difference. No Qt."""

from __future__ import annotations

import weakref
from enum import StrEnum
from typing import Any

import numpy as np
from napari.layers import Image
from napari.layers.utils._link_layers import link_layers, unlink_layers
from numpy.typing import NDArray
from psygnal import Signal

from ...decoding.lazy_array import LazyArray
from ..layers.appearance import PLACE
from ..layers.compressed import OVERLAY
from ..layers.display import OVERVIEW_VOXELS
from ..layers.origin import VOLUME, base_name, finest_level
from ..leaves.maps import round_limit
from ..leaves.overlays import DIFFERENCE, index_above_images
from .curtain_drag import CurtainDrag
from .lazy_pairs import Curtain, Difference

SHARED_LOOK = ("contrast_limits", "colormap", "gamma")  # Both layers keep these alike while they are compared.
# The compressed layer gets these from the original while they are compared.
COPIED_LOOK = (*SHARED_LOOK, "rendering", "iso_threshold", "attenuation", "interpolation2d", "interpolation3d")


class Mode(StrEnum):
    """Name the ways to compare two layers, as the dock shows them."""

    OFF = "as they are"
    SIDE = "side by side"
    BLINK = "blink"
    CURTAIN = "curtain"


class Comparison:
    """Show a pair of layers in one of the modes, and restore the viewer afterwards.

    Attributes
    ----------
    mode : the present mode.
    curtain : the layer that shows both in the mode CURTAIN; else None.
    moved : emitted when the mouse has dragged the curtain, with its place as a share of the extent, 0 to 1.
    """

    moved = Signal(float)

    def __init__(self, viewer: Any, original: Image, image: Image) -> None:
        self.viewer, self.original, self.image = viewer, original, image
        self.mode = Mode.OFF
        self.curtain: Image | None = None
        self._saved_settings: dict[Any, dict[str, Any]] = {}
        self._name_overlays: dict[Image, bool] = {}
        self._links: list[Any] = []
        self._camera: dict[str, Any] = {}
        self._ndisplay = 2
        self._grid: tuple[bool, int, tuple[int, int]] | None = None
        self._curtain_share = 0.5
        self._drag: CurtainDrag | None = None

    def show(self, mode: Mode) -> None:
        """Change to a mode."""
        self.restore()
        if mode is Mode.OFF:
            return
        self.mode = mode
        layers = self.viewer.layers
        self._saved_settings = {layer: {"visible": layer.visible} for layer in layers}
        self._saved_settings[self.image] |= {key: getattr(self.image, key) for key in COPIED_LOOK}
        self._name_overlays = {layer: layer.name_overlay.visible for layer in (self.original, self.image)}
        self._camera = {key: getattr(self.viewer.scene.camera, key) for key in ("center", "zoom", "angles")}
        self._ndisplay = self.viewer.dims.ndisplay
        for layer in layers:
            layer.visible = layer in (self.original, self.image)
        for key in COPIED_LOOK:
            setattr(self.image, key, getattr(self.original, key))
        # Links that the user had made before are not among these.
        self._links = link_layers([self.original, self.image], SHARED_LOOK)
        self.image.events.data.connect(self._on_data)
        if mode is Mode.SIDE:
            grid = self.viewer.canvas.grid
            self._grid = grid.enabled, grid.stride, grid.shape
            grid.shape = (1, 2)
            grid.stride = 1 if layers.index(self.original) < layers.index(self.image) else -1
            grid.enabled = True
            for layer in (self.original, self.image):
                layer.name_overlay.visible = True
        elif mode is Mode.BLINK:
            self.image.visible = False
        else:
            self._add_curtain()
        if mode is Mode.SIDE:
            self.viewer.reset_view()

    def restore(self) -> None:
        """Restore layers, camera and grid as they were before the comparison."""
        if self.mode is Mode.OFF:
            return
        self.mode = Mode.OFF
        layers = self.viewer.layers
        active = layers.selection.active
        curtain, self.curtain = self.curtain, None
        if self._drag is not None:
            self._drag.stop()
            self._drag = None
        if curtain is not None:
            self.viewer.dims.events.order.disconnect(self._on_dims)
            self.viewer.dims.events.ndisplay.disconnect(self._on_dims)
            if curtain in layers:
                layers.remove(curtain)
        if self._grid is not None:
            grid = self.viewer.canvas.grid
            grid.enabled, grid.stride, grid.shape = self._grid
            self._grid = None
        self.image.events.data.disconnect(self._on_data)
        if linked := {key for *_, key in self._links}:
            unlink_layers([self.original, self.image], linked)
        for layer, name in self._name_overlays.items():
            layer.name_overlay.visible = name
        for layer, state in self._saved_settings.items():
            if layer in layers:
                for key, value in state.items():
                    setattr(layer, key, value)
        self._saved_settings = {}
        if self.viewer.dims.ndisplay == self._ndisplay:  # A centre from 2D would be on the first slice in 3D.
            for key, value in self._camera.items():
                setattr(self.viewer.scene.camera, key, value)
        if active is curtain and self.image in layers:  # Else the user has chosen another layer.
            layers.selection.active = self.image

    def blink(self) -> str:
        """Show the other of the two layers, and return its name."""
        self.image.visible, self.original.visible = self.original.visible, self.image.visible
        return self.image.name if self.image.visible else self.original.name

    def move_curtain(self, share: float) -> None:
        """Place the curtain at a share of the extent, 0 to 1, along the axis that runs to the right."""
        if self.curtain is None:
            return
        self._curtain_share = share
        source = self.curtain.metadata["curtain"]
        # In 3D, x is what the camera shows at first; in 2D what the slice shows.
        dims = self.viewer.dims
        source.axis = max(0, dims.displayed[-1] - (dims.ndim - 3)) if dims.ndisplay == 2 else 2
        source.place = round(share * source.volume.shape[source.axis])
        self.curtain.refresh()

    def _add_curtain(self) -> None:
        """Add the layer that shows both, and hide the two."""
        source = Curtain(finest_level(self.original), self._volume())
        levels = source.levels(OVERVIEW_VOXELS)
        self.curtain = Image(
            levels if len(levels) > 1 else levels[0], multiscale=len(levels) > 1,
            name=f"{base_name(self.image.name)} curtain",
            metadata={OVERLAY: weakref.ref(self.image), "curtain": source},
            **{key: getattr(self.original, key) for key in (*PLACE, *COPIED_LOOK)},
        )  # fmt: skip
        self.original.visible = self.image.visible = False
        self.viewer.layers.append(self.curtain)
        link_layers([self.original, self.curtain], SHARED_LOOK)
        self.move_curtain(0.5)
        self._drag = CurtainDrag(self.viewer, self.curtain, self._on_drag)
        self.viewer.dims.events.order.connect(self._on_dims)
        self.viewer.dims.events.ndisplay.connect(self._on_dims)

    def _volume(self) -> Any:
        """Return the compressed volume, for a lazy layer with its cache of what has been decoded."""
        shown = finest_level(self.image)
        return shown.volume if isinstance(shown, LazyArray) else self.image.metadata[VOLUME]

    def _on_data(self) -> None:
        """Show the volume that the layer has now, after its calibration was changed."""
        if self.curtain is not None:
            self.curtain.metadata["curtain"].volume = self._volume()
            self.move_curtain(self._curtain_share)

    def _on_dims(self) -> None:
        self.move_curtain(self._curtain_share)

    def _on_drag(self, share: float) -> None:
        self.move_curtain(share)
        self.moved.emit(share)


def add_difference(
    viewer: Any, image: Image, difference: NDArray[np.float32] | Difference, limit: float, absolute: bool
) -> Image:  # fmt: skip
    """Add a difference as a layer: signed, in two colours around 0, or absolute.

    It replaces the difference before. ``limit`` is the difference that has the last colour: if a few voxels that are
    farther off had it, all others would look alike.
    """
    name, limit = base_name(image.name), round_limit(limit)
    data: Any = difference
    if isinstance(difference, Difference):
        data = Difference(difference.original, difference.volume, absolute).levels(OVERVIEW_VOXELS)
    elif absolute:
        data = np.abs(difference)
    layer = Image(
        data,
        multiscale=isinstance(data, list),
        name=f"{name} {'absolute difference' if absolute else 'difference'}",
        colormap="magma" if absolute else "PiYG",
        contrast_limits=(0, limit) if absolute else (-limit, limit),
        metadata={OVERLAY: weakref.ref(image), DIFFERENCE: absolute},
        **{key: getattr(image, key) for key in PLACE},
    )
    layer.colorbar.visible = True
    earlier = [other for other in viewer.layers if DIFFERENCE in other.metadata and other.metadata[OVERLAY]() is image]
    for old in earlier:
        viewer.layers.remove(old)
    viewer.layers.insert(index_above_images(viewer.layers, maps=False), layer)
    return layer
