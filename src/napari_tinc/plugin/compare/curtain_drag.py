"""The mouse on a curtain's line in the canvas: it drags the line, and elsewhere moves the picture as always. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.layers import Image

GRAB_PIXELS = 6  # pixels to each side of the line in which the mouse has hold of it
CURSOR = "pointing"  # shown over the line; napari has no arrow to left and right


class CurtainDrag:
    """Lets the line of a curtain layer be dragged in 2D; ``move`` is called with its share of the way, 0..1."""

    def __init__(self, viewer: Any, curtain: Image, move: Callable[[float], None]) -> None:
        self._viewer, self._curtain, self._move = viewer, curtain, move
        self._cursor: Any = None  # what the cursor was elsewhere
        viewer.mouse_drag_callbacks.append(self._on_press)
        viewer.mouse_move_callbacks.append(self._on_hover)

    def stop(self) -> None:
        """Leave the mouse to napari again."""
        self._viewer.mouse_drag_callbacks.remove(self._on_press)
        self._viewer.mouse_move_callbacks.remove(self._on_hover)
        self._show_cursor(False)

    def _place_of_mouse(self, event: Any) -> float:
        """Where the mouse is along the curtain's axis, in voxels."""
        return float(self._curtain.world_to_data(event.position)[self._curtain.metadata["curtain"].axis])

    def _is_near(self, event: Any) -> bool:
        if self._viewer.dims.ndisplay != 2 or not self._curtain.visible:
            return False
        source = self._curtain.metadata["curtain"]
        step = np.zeros((2, 3))
        step[1, source.axis] = 1
        here, there = map(np.asarray, map(self._curtain.data_to_world, step))
        pixels = np.linalg.norm(there - here) * event.camera_zoom  # of a voxel
        return bool(abs(self._place_of_mouse(event) - source.place) * pixels <= GRAB_PIXELS)

    def _on_hover(self, viewer: Any, event: Any) -> None:
        self._show_cursor(self._is_near(event))

    def _show_cursor(self, near_line: bool) -> None:
        cursor = self._viewer.cursor
        if near_line and self._cursor is None:
            self._cursor, cursor.style = cursor.style, CURSOR
        elif not near_line and self._cursor is not None:
            cursor.style, self._cursor = self._cursor, None

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Move the line with the mouse, while the camera stays."""
        near_line = self._is_near(event)
        self._show_cursor(near_line)  # a press may come without a move before it
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
