"""Let the mouse drag the line of a curtain in the canvas. Elsewhere it moves the picture as always. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.layers import Image

GRAB_PIXELS = 6  # The mouse grabs the line up to so many pixels beside it.
CURSOR = "pointing"  # The cursor over the line; napari has none with two arrows.


class CurtainDrag:
    """Let the line of a curtain layer be dragged in 2D.

    ``move`` is called with its new place, as a share of the volume's extent, 0 to 1.
    """

    def __init__(self, viewer: Any, curtain: Image, move: Callable[[float], None]) -> None:
        self._viewer, self._curtain, self._move = viewer, curtain, move
        self._cursor: Any = None  # The style of the cursor away from the line.
        viewer.mouse_drag_callbacks.append(self._on_press)
        viewer.mouse_move_callbacks.append(self._on_hover)

    def stop(self) -> None:
        """Leave the mouse to napari."""
        self._viewer.mouse_drag_callbacks.remove(self._on_press)
        self._viewer.mouse_move_callbacks.remove(self._on_hover)
        self._show_cursor(False)

    def _place_of_mouse(self, event: Any) -> float:
        """Return where the mouse is along the curtain's axis, in voxels."""
        return float(self._curtain.world_to_data(event.position)[self._curtain.metadata["curtain"].axis])

    def _is_near(self, event: Any) -> bool:
        """Tell whether the mouse is near enough to the line to grab it."""
        if self._viewer.dims.ndisplay != 2 or not self._curtain.visible:
            return False
        source = self._curtain.metadata["curtain"]
        step = np.zeros((2, 3))
        step[1, source.axis] = 1
        first_point, second_point = map(np.asarray, map(self._curtain.data_to_world, step))
        pixels = np.linalg.norm(second_point - first_point) * event.camera_zoom  # Per voxel.
        return bool(abs(self._place_of_mouse(event) - source.place) * pixels <= GRAB_PIXELS)

    def _on_hover(self, viewer: Any, event: Any) -> None:
        self._show_cursor(self._is_near(event))

    def _show_cursor(self, near_line: bool) -> None:
        """Show the cursor for the line, or the one before."""
        cursor = self._viewer.cursor
        if near_line and self._cursor is None:
            self._cursor, cursor.style = cursor.style, CURSOR
        elif not near_line and self._cursor is not None:
            cursor.style, self._cursor = self._cursor, None

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Move the line with the mouse, while the camera stays."""
        near_line = self._is_near(event)
        self._show_cursor(near_line)  # A press may come without a move before it.
        if event.button != 1 or not near_line:
            return
        camera = viewer.scene.camera
        could_pan, camera.mouse_pan = camera.mouse_pan, False
        yield
        while event.type == "mouse_move":
            source = self._curtain.metadata["curtain"]
            self._move(min(max(self._place_of_mouse(event) / source.volume.shape[source.axis], 0.0), 1.0))
            yield
        camera.mouse_pan = could_pan
