"""Let napari draw lazy layers at once, coarsely where nothing is decoded yet, and again as threads decode them.

``layer.data`` has true values for everybody, always: only the request with which napari slices a layer for its canvas
is answered provisionally. That request has no public hook, so :func:`install` wraps the one method of napari's image
and labels layers that makes their slicing state. Where napari has changed too much for this, nothing is wrapped, and
layers are drawn when they are decoded. Layers without a visible window are drawn so, too.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import fields, is_dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...decoding.lazy_array import LazyArray
from .refining import Refinable, Refiner, give_way

T = TypeVar("T")
TICK_MS = 50  # Between two looks whether pictures have become better.
SHARE = 8  # A canvas that took a second to draw is not drawn again for so many seconds, unless a picture is finished.
FIRST_EDGE = 32  # Voxels along an axis of the first solid picture: without a GPU it takes 0.3 s to draw, of 128 0.6 s.
LEAST_SECONDS = 0.1  # Pictures that are being refined are drawn this far apart at least.
TELL_SECONDS = 0.3  # Work that takes longer is named in the status bar.
IDLE_TICKS = 20  # The timer stops after so many ticks without work.
NEEDED = {"id", "slice_input", "data_at_data_level", "data_at_thumbnail_level", "corner_pixels", "multiscale"}
UNLOADED = -2  # The id of a slice that is not the one napari waits for.


def install() -> None:
    """Have napari draw layers of refinable data at once. Calling it again changes nothing.

    Without a napari that could draw, as in a script that only reads a file, nothing is imported for it.
    """
    if "napari.layers" not in sys.modules:
        return
    from napari.layers import Image, Labels

    for kind in (Image, Labels):
        make = getattr(kind, "_get_layer_slicing_state", None)
        if make is not None and not hasattr(make, "tinc"):
            kind._get_layer_slicing_state = _wrapped(make)


def _wrapped(make: Callable[..., Any]) -> Callable[..., Any]:
    def _get_layer_slicing_state(layer: Any, data: Any, cache: bool) -> Any:
        state = make(layer, data, cache)
        request = getattr(state, "_slice_request_class", None)
        if refinable(data) is not None and hasattr(state, "_set_loaded") and _fields_of(request) >= NEEDED:
            state._slice_request_class = partial(_request, weakref.ref(layer), request)
        return state

    _get_layer_slicing_state.tinc = True  # type: ignore[attr-defined]
    return _get_layer_slicing_state


def _fields_of(request: Any) -> set[str]:
    return {field.name for field in fields(request)} if is_dataclass(request) else set()


def refinable(data: Any) -> Refinable | None:
    """What a lazy array, or the finest of several levels, is of, if it can be drawn before it is decoded."""
    finest = data if isinstance(data, LazyArray) else next(iter(data), None) if isinstance(data, Sequence) else None
    if isinstance(finest, LazyArray) and hasattr(finest.volume, "quick"):
        return finest.volume  # type: ignore[return-value]
    return None


def _request(layer: weakref.ref[Any], kind: Any, **values: Any) -> Any:
    """What napari calls for a slice; made in the window's thread."""
    request = kind(**values)
    if refinable(request.data_at_data_level) is None or not _has_window():
        return request
    painter().start()
    return Drawn(layer, request)


def _has_window() -> bool:
    """Tell whether a window of napari is on the screen. A script that has none imports nothing to find out."""
    if "napari.viewer" not in sys.modules:
        return False
    import napari

    window = getattr(napari.current_viewer(), "window", None)
    return window is not None and bool(window._qt_window.isVisible())


def while_drawing(work: Callable[[], T]) -> T:
    """Do work that takes a moment, and let the window draw itself meanwhile; clicks and keys wait until it is done."""
    if threading.current_thread() is not threading.main_thread() or not _has_window():
        return work()
    from qtpy.QtCore import QEventLoop
    from qtpy.QtWidgets import QApplication

    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        future = pool.submit(work)
        while not wait([future], TICK_MS / 1000).done:
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
        return future.result()


class Drawn:
    """A slice request of napari that is answered at once. Called by its window's thread, or by its slicing thread."""

    def __init__(self, layer: weakref.ref[Any], request: Any) -> None:
        self._layer, self._request, self.id = layer, request, request.id

    def __call__(self) -> Any:
        request = self._request
        picture = _PictureOf(self._layer, request.data_at_data_level.volume)
        whole = _shows_all(request)
        thumbnail = _ThumbnailOf(request.data_at_thumbnail_level.volume, whole)
        response = replace(
            request,
            data_at_data_level=replace(request.data_at_data_level, volume=picture),
            data_at_thumbnail_level=replace(request.data_at_thumbnail_level, volume=thumbnail),
        )()
        if whole and not response.empty:
            response = replace(response, thumbnail=response.image)
        if request.slice_input.ndisplay == 3 and not picture.refined and not response.empty:
            response = _thinned(response)
        if threading.current_thread() is threading.main_thread():
            if (layer := self._layer()) is not None:
                layer._slicing_state._set_loaded(picture.complete)
            return response
        return response if picture.complete else replace(response, request_id=UNLOADED)


class _PictureOf:
    """A source whose values are as good as they can be now."""

    def __init__(self, client: weakref.ref[Any], source: Refinable) -> None:
        self._client, self._source, self.complete, self.refined = client, source, True, True

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._source.dtype

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        drawing = painter().refiner.draw(self._client, self._source, factor, tuple(ranges))
        self.complete, self.refined = drawing.complete, drawing.refined
        return drawing.values


def _thinned(response: Any) -> Any:
    """A response of few enough voxels along each axis to be drawn at once without a GPU, in the same place."""
    raw, displayed = response.image.raw, response.slice_input.displayed
    step = -(-max(raw.shape[:3]) // FIRST_EDGE)
    if step == 1:
        return response
    image = type(response.image).from_view(raw[(slice(step // 2, None, step),) * 3])
    place = response.tile_to_data
    scale, translate = place.scale.copy(), place.translate.copy()
    translate[displayed] += step // 2 * scale[displayed]
    scale[displayed] *= step
    thin_place = type(place)(scale=scale, translate=translate, ndim=place.ndim, name=place.name)
    return replace(response, image=image, tile_to_data=thin_place)


def _shows_all(request: Any) -> bool:
    """Whether the picture of a request is of all of its plane, not only of what a camera sees of it."""
    level = request.data_at_data_level.shape
    displayed = list(request.slice_input.displayed)
    (first, last) = (np.asarray(corner)[displayed] for corner in request.corner_pixels)
    shape = np.array(level)[displayed]
    return not request.multiscale or request.slice_input.ndisplay == 3 or bool(((last - first + 1) >= shape).all())


class _ThumbnailOf:
    """A source whose values are good enough for 32 x 32 pixels; ``unused`` ones are only of the right shape."""

    def __init__(self, source: Refinable, unused: bool) -> None:
        self._source, self._unused = source, unused

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._source.dtype

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        if self._unused:
            return np.zeros([len(axis) for axis in ranges], self.dtype)
        return self._source.quick(factor, tuple(ranges))


class Painter:
    """Draws layers again whose pictures have become better. All but :attr:`refiner` is for the window's thread.

    Attributes
    ----------
    refiner : makes the pictures, a client a layer.
    """

    def __init__(self) -> None:
        self.refiner: Refiner[weakref.ref[Any]] = Refiner()
        self._timer: Any = None
        self._last = self._next = 0.0
        self._drew = False
        self._idle = 0
        self._since: float | None = None  # There has been work since then.
        self._told: list[tuple[Any, str]] = []  # Viewers, and what their status bars say.

    def start(self) -> None:
        """Look for better pictures from now on."""
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        self._idle = 0
        if self._timer is None:
            self._timer = QTimer(QApplication.instance())
            self._timer.destroyed.connect(self._on_destroyed)
            self._timer.timeout.connect(self.tick)
            self._timer.setInterval(TICK_MS)
        if not self._timer.isActive():
            self._last = time.perf_counter()
            self._timer.start()

    def tick(self) -> None:
        """Draw what has become better, if the window has time for it."""
        now = time.perf_counter()
        if self._drew:  # What drawing took shows in how late this is.
            self._next = now + max(LEAST_SECONDS, SHARE * (now - self._last - TICK_MS / 1000))
        self._drew = False
        self._last = now
        self._leave_out()
        for client in self.refiner.progressed():
            if (layer := client()) is not None and (now >= self._next or self.refiner.finished(client)):
                layer.refresh(extent=False, highlight=False)
                self._drew = True
        self._report()
        self._tell(now)
        self._idle = 0 if self.refiner.clients() else self._idle + 1
        if self._idle > IDLE_TICKS and self._timer is not None:
            self._timer.stop()

    def _leave_out(self) -> None:
        """Forget what nobody looks at any more, and let those wait that are hidden."""
        viewers = _viewers()
        for client in self.refiner.clients():
            layer = client()
            if layer is None or not any(layer in viewer.layers for viewer in viewers):
                self.refiner.forget(client)
            elif not layer.visible:
                self.refiner.pause(client)

    def _report(self) -> None:
        from napari.utils.notifications import notification_manager

        for error in self.refiner.errors():
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def _tell(self, now: float) -> None:
        """Name in the status bar what is being decoded, once it has taken a moment; at the end take that back."""
        working = [client() for client in self.refiner.clients()]
        layers = [layer for layer in working if layer is not None and layer.visible]
        self._since = (self._since or now) if layers else None
        if self._since is not None and now - self._since < TELL_SECONDS:
            return
        told = []
        for viewer in _viewers():
            names = ", ".join(layer.name for layer in layers if layer in viewer.layers)
            if names:
                told.append((viewer, f"Decoding {names}"))
        for viewer, text in self._told:
            if (viewer, text) not in told and viewer.status == text:
                viewer.status = "Ready"
        for viewer, text in told:
            if (viewer, text) not in self._told:
                viewer.status = text
        self._told = told

    def _on_destroyed(self) -> None:
        self._timer = None


@cache
def painter() -> Painter:
    """The one of this process."""
    made = Painter()
    atexit.register(made.refiner.close)
    return made


def _viewers() -> list[Any]:
    """The viewers of all open windows."""
    import napari
    from qtpy.QtWidgets import QApplication

    windows = [getattr(widget, "_qt_viewer", None) for widget in QApplication.topLevelWidgets()]
    viewers = [window.viewer for window in windows if window is not None]
    current = napari.current_viewer()
    return viewers if current is None or current in viewers else [*viewers, current]
