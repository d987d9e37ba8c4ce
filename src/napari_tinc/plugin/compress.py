"""The dock widget that compresses an image layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, Container, Label, ProgressBar, PushButton, SpinBox
from napari.layers import Image
from napari.utils.notifications import Notification, notification_manager, show_error
from qtpy.QtCore import QEvent, QObject

from ..pipeline import STEPS
from ..training import Control, Progress
from .activity import activity_bar, advance
from .forms import labelled, row, wrapped
from .jobs import JobError, Request, Result, find_devices
from .layers import geometry, intensities
from .leaf_view import unwrapped
from .preferences import read_preferences
from .worker import start_job, start_task

# Of the original layer, for its compressed copy to look the same at the same place.
COPIED = (
    "affine", "attenuation", "axis_labels", "blending", "colormap", "contrast_limits", "depiction", "gamma",
    "interpolation2d", "interpolation3d", "iso_threshold", "opacity", "rendering", "rotate", "scale", "shear",
    "translate", "units",
)  # fmt: skip


@dataclass(slots=True, eq=False)
class Running:
    """The job under way: the layer it was started from, what its copy takes over, and the means to end it."""

    source: Image
    look: dict[str, Any]
    control: Control
    activity: Any
    done: bool = False
    outcome: str = "Cancelled."


class CompressWidget(Container):
    """Compress an image layer in the background and add the result beside it.

    One job at a time. It lands on the layer it was started from, whatever is selected by then; if that layer is gone
    the result is added on top, and if the widget or its viewer is gone the job is cancelled.
    """

    def __init__(self, napari_viewer: Any) -> None:
        preferences = read_preferences()
        self.image = ComboBox(choices=self._images, tooltip="The layer to compress: a 3D volume.")
        self.ratio = SpinBox(
            value=preferences.ratio, min=1, max=100_000,
            tooltip="Bytes of the raw volume / bytes of the file. 64 to 512 is common.",
        )  # fmt: skip
        self.preset = ComboBox(
            value=preferences.preset, choices=list(STEPS),
            tooltip="How long to train. Longer training gives a better image of the same size.",
        )  # fmt: skip
        self.device = ComboBox(value="auto", choices=["auto", "cpu"], tooltip='"auto" takes a GPU if there is one.')
        self.sizes = Label(value="")
        self.compress = PushButton(text="Compress")
        self.stop = PushButton(text="Stop && keep", tooltip="Finish now, with what has been learnt so far.")
        self.cancel = PushButton(text="Cancel", tooltip="Give up; nothing is kept.")
        self.bar = ProgressBar(value=0, min=0, max=1)
        self.status = Label(value="")
        super().__init__(
            scrollable=True, labels=False,
            widgets=[
                labelled("Image", self.image), labelled("Ratio", self.ratio), labelled("Preset", self.preset),
                labelled("Device", self.device), self.sizes, row(self.compress, self.stop, self.cancel), self.bar,
                self.status,
            ],
        )  # fmt: skip
        self._viewer = unwrapped(napari_viewer)
        self._running: Running | None = None
        self._gone = False
        self._preferred_device = preferences.device
        wrapped(self.sizes, self.status)
        self.root_native_widget.widget().layout().addStretch()
        self.root_native_widget.destroyed.connect(self._abandon)
        self._orphaned = _Orphaned(self._abandon)
        self.root_native_widget.installEventFilter(self._orphaned)
        self.image.changed.connect(self._describe)
        self.ratio.changed.connect(self._describe)
        self.compress.clicked.connect(self.start)
        self.stop.clicked.connect(self._stop)
        self.cancel.clicked.connect(self._cancel)
        self.image.reset_choices()
        # Not a compressed copy, if there is anything else: nobody means to compress that again.
        active = self._viewer.layers.selection.active
        preferred = sorted(self._images(), key=lambda layer: ("tinc" in layer.metadata, layer is not active))
        if preferred:
            self.image.value = preferred[0]
        self._describe()
        self._show_buttons()
        start_task(find_devices, self._on_devices, self._on_no_devices)

    @property
    def native(self) -> Any:
        """The scroll area; magicgui would give napari only what is inside of it."""
        return self.root_native_widget

    def start(self) -> None:
        """Start to compress the chosen layer; says why if that cannot be."""
        if self._running or not self.compress.enabled:
            return
        layer = self.image.value
        if layer is None:
            self._refuse("Open a 3D image first.")
            return
        data, arguments, _ = layer.as_layer_data_tuple()
        try:
            volume = intensities(data, arguments)
        except ValueError as error:
            self._refuse(str(error))
            return
        request = Request(
            layer.name, volume, geometry(arguments), self.ratio.value, self.preset.value, self.device.value
        )
        control = Control()
        self.compress.enabled = False  # making a bar, napari handles other clicks
        running = Running(layer, {key: arguments[key] for key in COPIED}, control, activity_bar(layer.name))
        self._running = running
        self.bar.max = 0  # busy, without an end in sight
        self.status.value = "Starting ..."
        self._show_buttons()
        start_job(
            request, control, read_preferences().eager_megavoxels * 10**6,
            on_event=lambda event: self._on_event(running, event),
            on_error=lambda error: self._on_error(running, error),
            on_end=lambda: self._on_end(running),
        )  # fmt: skip

    def _stop(self) -> None:
        if self._running:
            self._running.control.stop.set()
            self.status.value = "Stopping: finishing what has been learnt ..."
            self._show_buttons()

    def _cancel(self) -> None:
        if self._running:
            self._running.control.cancel.set()
            self.status.value = "Cancelling ..."
            self._show_buttons()

    def _abandon(self) -> None:
        """The widget is gone: end its job, and touch nothing of it again."""
        self._gone = True
        running, self._running = self._running, None
        if running:
            running.control.cancel.set()
            running.activity.close()

    def _on_event(self, running: Running, event: Progress | Result) -> None:
        if running is not self._running or running.control.cancel.is_set():
            return
        if isinstance(event, Result):
            self._add(running, event)
            running.done, running.outcome = True, _summary(event)
            return
        self.status.value = _progress_text(event, running.control.stop.is_set())
        packing = event.phase == "packing"
        self.bar.max, self.bar.value = (0, 0) if packing else (event.steps, event.step)
        if running.activity.is_canceled:
            self._cancel()
        advance(running.activity, event)  # last, as this may be where the job ends

    def _on_error(self, running: Running, error: JobError) -> None:
        if running is self._running:
            running.outcome = f"Failed: {error}"
        if isinstance(error.__cause__, ValueError | TypeError):  # the user's to mend: no traceback
            show_error(str(error))
        else:
            notification_manager.dispatch(Notification.from_exception(error))

    def _on_end(self, running: Running) -> None:
        running.activity.close()
        if running is self._running:
            self._running = None
            self.bar.max, self.bar.value = 1, int(running.done)
            self.status.value = running.outcome
            self._show_buttons()

    def _add(self, running: Running, result: Result) -> None:
        """Add the result above its original, or on top if that is gone."""
        layers = self._viewer.layers
        layer = Image(result.data, multiscale=isinstance(result.data, list), **result.arguments | running.look)
        layers.insert(layers.index(running.source) + 1 if running.source in layers else len(layers), layer)

    def _images(self, _: Any = None) -> list[Image]:
        viewer = getattr(self, "_viewer", None)  # magicgui asks once before there is one
        return [layer for layer in viewer.layers if isinstance(layer, Image)] if viewer else []

    def _describe(self) -> None:
        """Say what the chosen layer is and what it would become, or why it cannot be compressed."""
        layer = self.image.value
        if layer is None:
            self.sizes.value = "Open a 3D image to compress. Label images cannot be: they would not survive exactly."
            return
        try:
            volume: Any = intensities(
                layer.data, {"name": layer.name, "rgb": layer.rgb, "multiscale": layer.multiscale}
            )
        except ValueError as error:
            self.sizes.value = str(error)
            return
        dtype = np.dtype(volume.dtype)
        nbytes = math.prod(volume.shape) * dtype.itemsize
        shape = " x ".join(map(str, volume.shape))
        self.sizes.value = f"{shape} {dtype}\n{_bytes(nbytes)} will become {_bytes(nbytes / self.ratio.value)}"

    def _show_buttons(self) -> None:
        control = self._running.control if self._running else None
        ending = control is not None and control.cancel.is_set()
        self.compress.enabled = control is None
        self.cancel.enabled = control is not None and not ending
        self.stop.enabled = control is not None and not ending and not control.stop.is_set()

    def _on_devices(self, found: list[str]) -> None:
        if self._gone:
            return
        chosen = self.device.value
        self.device.choices = found
        if chosen == "auto" and self._preferred_device in found:
            self.device.value = self._preferred_device

    def _on_no_devices(self, error: JobError) -> None:
        if not self._gone:
            self.status.value = str(error)

    def _refuse(self, reason: str) -> None:
        self.status.value = reason
        show_error(reason)


class _Orphaned(QObject):
    """Calls back when napari closes the dock, which takes the widget out of it but does not destroy it."""

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self._callback = callback

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self._callback()
        return False


def _progress_text(event: Progress, stopping: bool) -> str:
    """How far, how good, how big."""
    lines = ["Stopping, what has been learnt is kept."] if stopping else []
    if event.phase == "packing":
        lines.append("Packing and measuring ...")
    else:
        lines.append(f"{_duration(event.seconds_left)} left, step {event.step} of {event.steps}")
    lines.append(f"PSNR {event.psnr:.1f} dB, loss {event.loss:.3g}")
    if event.nbytes is not None:
        lines.append(f"Weights {_bytes(event.nbytes)}")
    return "\n".join(lines)


def _summary(result: Result) -> str:
    volume, quality = result.volume, result.quality
    return (
        f"Ratio {quality.ratio:.1f}: {_bytes(volume.nbytes)} became {_bytes(volume.nbytes_compressed)}\n"
        f"PSNR {quality.psnr:.2f} dB, SSIM {quality.ssim:.4f}\n"
        f"{_duration(result.seconds)}\n\n"
        f'To save it: File > Save Selected Layers, type "TINC compressed volume".'
    )


def _bytes(count: float) -> str:
    """Three digits and an SI prefix: 32.8 kB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
