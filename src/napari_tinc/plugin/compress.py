"""The dock widget that compresses an image layer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FloatSpinBox,
    Label,
    LineEdit,
    ProgressBar,
    PushButton,
    SpinBox,
)  # fmt: skip
from napari.layers import Image
from napari.utils.notifications import Notification, notification_manager, show_error
from qtpy.QtCore import QTimer
from superqt import QCollapsible

from ..allocation import MAX_LEVELS
from ..pipeline import STEPS, Preview, estimate
from ..training import Control, Progress
from .forms import labelled, plot, row, watch_end, wrapped
from .jobs import JobError, Request, Result, find_devices
from .layers import geometry, volumes_of
from .leaf_view import unwrapped
from .looks import look_of, preview_layer
from .preferences import read_preferences, remember
from .worker import start_job, start_task

TARGETS = ["Ratio", "Size (kB)", "PSNR (dB)"]
ALL = "all, one file each"
AUTO = "auto"
LOOK_SECONDS = 15  # between two previews
# Between two updates. Where there is no GPU each one has the whole window drawn anew, which takes a core 25 ms; that
# is why there is no bar in napari's activity: the animation that comes with it doubled the time of a fit.
DRAW_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Running:
    """A job, waiting or under way: the layer it was started from, what its copy takes over, and the means to end it."""

    request: Request
    source: Image
    look: dict[str, Any]
    expected: float  # seconds, at a pace of 1
    control: Control = field(default_factory=Control)
    drawn: float = 0.0  # when progress was last shown
    preview: Image | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    done: bool = False
    outcome: str = "Cancelled."


class CompressWidget(Container):
    """Compress an image layer in the background and add the result beside it.

    One job at a time, others wait. A result lands on the layer its job was started from, whatever is selected by then;
    if that layer is gone it is added on top, and if the widget or its viewer is gone all jobs are cancelled.
    """

    def __init__(self, napari_viewer: Any) -> None:
        preferences = read_preferences()
        self.image = ComboBox(choices=self._images, tooltip="The layer to compress: a 3D volume, or several.")
        self.part = ComboBox(choices=[ALL], tooltip="Which channel or point in time.")
        self.target = ComboBox(value=preferences.target, choices=TARGETS, tooltip="What is to be met: one of these.")
        self.ratio = SpinBox(
            value=preferences.ratio, min=1, max=100_000,
            tooltip="Bytes of the raw volume / bytes of the file. 64 to 512 is common.",
        )  # fmt: skip
        self.size = FloatSpinBox(value=preferences.size, min=0.2, max=1e7, step=10, tooltip="Largest size of the file.")
        self.psnr = FloatSpinBox(
            value=preferences.psnr,
            min=1,
            max=120,
            step=1,
            tooltip="Least quality, in the smallest file found; up to five fits.",
        )
        self.preset = ComboBox(
            value=preferences.preset, choices=list(STEPS),
            tooltip="How long to train. Longer training gives a better image of the same size.",
        )  # fmt: skip
        self.device = ComboBox(value="auto", choices=["auto", "cpu"], tooltip='"auto" takes a GPU if there is one.')
        self.seed = SpinBox(value=0, min=0, max=2**31 - 1, tooltip="The same seed gives the same bytes, on a CPU.")
        self.weights = ComboBox(
            choices=["entropy", "int8", "float16"], tooltip="How weights are stored; entropy-coded ones are smallest."
        )
        self.levels = ComboBox(
            choices=[AUTO, *range(1, MAX_LEVELS + 1)],
            tooltip="Of the octree of networks; two are best but for large files.",
        )
        self.networks = Label(value="", tooltip="Features of a node on each level, from the root.")
        self.log = LineEdit(value="", tooltip="A file for loss, PSNR, bytes and seconds as lines of JSON, or empty.")
        self.preview = CheckBox(value=True, text="Preview", tooltip="Show what has been learnt, a few times a minute.")
        self.memory = Label(value="")
        self.sizes = Label(value="")
        self.compress = PushButton(text="Compress", tooltip="Start; while another is compressed, wait for it.")
        self.stop = PushButton(text="Stop && keep", tooltip="Finish now, with what has been learnt so far.")
        self.cancel = PushButton(text="Cancel", tooltip="Give up; nothing is kept. What waits is started.")
        self.bar = ProgressBar(value=0, min=0, max=1)
        self.status = Label(value="")
        self._part_row = labelled("Part", self.part)
        self.size.visible = self.psnr.visible = False  # before the row is laid out, or it is as wide as all three
        self._target_row = row(self.target, self.ratio, self.size, self.psnr)
        advanced = Container(
            labels=False,
            widgets=[
                labelled("Device", self.device), self.memory, labelled("Seed", self.seed),
                labelled("Weights", self.weights), labelled("Levels", self.levels), self.networks,
                labelled("Log", self.log), self.preview,
            ],
        )  # fmt: skip
        advanced.margins = (0, 0, 0, 0)
        super().__init__(
            scrollable=True, labels=False,
            widgets=[
                labelled("Image", self.image), self._part_row, self._target_row,
                labelled("Preset", self.preset), self.sizes, row(self.compress, self.stop, self.cancel), self.bar,
                self.status,
            ],
        )  # fmt: skip
        self._viewer = unwrapped(napari_viewer)
        self._running: Running | None = None
        self._waiting: list[Running] = []
        self._memory: dict[str, str] = {}
        self._pace = 1.0  # seconds that jobs took / seconds expected
        self._gone = False
        self._preferred_device = preferences.device
        wrapped(self.sizes, self.status, self.memory, self.networks)
        layout = self.root_native_widget.widget().layout()
        self._plot = plot("seconds", "PSNR (dB)")
        if self._plot is not None:
            layout.addWidget(self._plot)
        fold = QCollapsible("Advanced")
        fold.setContent(advanced.native)
        fold.collapse(animate=False)
        self._advanced = advanced  # or magicgui lets go of its widgets
        layout.addWidget(fold)
        layout.addStretch()
        self._timer = QTimer(self.root_native_widget)
        self._timer.timeout.connect(self._look)
        watch_end(self.root_native_widget, self._abandon, self._abandon)
        self.image.changed.connect(self._on_image)
        self.target.changed.connect(self._on_target)
        self.device.changed.connect(self._on_device)
        for choice in (self.part, self.ratio, self.size, self.psnr, self.preset, self.levels):
            choice.changed.connect(self._describe)
        self.compress.clicked.connect(self.start)
        self.stop.clicked.connect(self._stop)
        self.cancel.clicked.connect(self._cancel)
        self.image.reset_choices()
        # Not a compressed copy, if there is anything else: nobody means to compress that again.
        active = self._viewer.layers.selection.active
        preferred = sorted(self._images(), key=lambda layer: ("tinc" in layer.metadata, layer is not active))
        if preferred:
            self.image.value = preferred[0]
        self._on_target()
        self._on_image()
        self._show_buttons()
        start_task(find_devices, self._on_devices, self._on_no_devices)

    @property
    def native(self) -> Any:
        """The scroll area; magicgui would give napari only what is inside of it."""
        return self.root_native_widget

    def start(self) -> None:
        """Compress the chosen layer, after those that were chosen before; says why if that cannot be."""
        if not self.compress.enabled:
            return
        layer = self.image.value
        if layer is None:
            self._refuse("Open a 3D image first.")
            return
        data, arguments, _ = layer.as_layer_data_tuple()
        try:
            found = volumes_of(data, arguments)
            log = self._log_file(len(found))
        except ValueError as error:
            self._refuse(str(error))
            return
        if len(found) > 1 and self.part.value != ALL:
            found = [pair for pair in found if pair[0] == self.part.value]
        for label, volume in found:
            request = Request(
                f"{layer.name} [{label}]" if label else layer.name, volume, geometry(arguments), self._target(),
                self.preset.value, self.device.value, self.seed.value, self.weights.value, self._levels(), log,
            )  # fmt: skip
            self._waiting.append(Running(request, layer, look_of(layer), (self._expected(volume) or 0.0) / self._pace))
        remember(
            target=self.target.value, ratio=self.ratio.value, size=self.size.value, psnr=self.psnr.value,
            preset=self.preset.value,
        )  # fmt: skip
        self._next()
        self._show_buttons()

    def _next(self) -> None:
        """Start what has waited longest, if nothing is under way."""
        if self._running or not self._waiting:
            return
        running = self._running = self._waiting.pop(0)
        self._show_buttons()
        self.bar.max, self.bar.value = 1, 0
        self.status.value = "Starting ..."
        self._timer.start(LOOK_SECONDS * 1000)
        start_job(
            running.request, running.control, read_preferences().eager_megavoxels * 10**6,
            on_event=lambda event: self._on_event(running, event),
            on_error=lambda error: self._on_error(running, error),
            on_end=lambda: self._on_end(running),
        )  # fmt: skip

    def _target(self) -> dict[str, Any]:
        if self.target.value == TARGETS[0]:
            return {"ratio": self.ratio.value}
        return {"nbytes": int(1000 * self.size.value)} if self.target.value == TARGETS[1] else {"psnr": self.psnr.value}

    def _levels(self) -> int | None:
        return None if self.levels.value == AUTO else self.levels.value

    def _log_file(self, count: int) -> Path | None:
        if not self.log.value.strip():
            return None
        path = Path(self.log.value.strip()).expanduser()
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError(f"log {path}: there is no folder {path.parent}, or it is one itself")
        if count > 1 and self.part.value == ALL:
            raise ValueError("a log is of one job: choose a part, or leave the log empty")
        return path

    def _expected(self, volume: Any) -> float | None:
        """Seconds that a fit would take; None where that cannot be said."""
        self.networks.value = ""
        if self.target.value == TARGETS[2] or self.device.value not in ("cpu", "auto"):
            return None
        nbytes = math.prod(volume.shape) * np.dtype(volume.dtype).itemsize
        target = self._target()
        budget = int(target.get("nbytes") or nbytes / target["ratio"])
        found = estimate(volume.shape, max(1, budget), self.preset.value, levels=self._levels())
        widths = ", ".join(map(str, found.widths))
        self.networks.value = f"{found.n_leaves} leaves, widths {widths}: {found.n_parameters:,} weights"
        return self._pace * found.seconds

    def _look(self) -> None:
        """Ask the job for a preview."""
        if self._running and self.preview.value:
            self._running.control.look.set()

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
        self._waiting.clear()
        if running:
            running.control.cancel.set()
            self._drop_preview(running)

    def _on_event(self, running: Running, event: Progress | Preview | Result) -> None:
        if running is not self._running or running.control.cancel.is_set():
            return
        if isinstance(event, Preview):
            self._show_preview(running, event)
            return
        if isinstance(event, Result):
            self._drop_preview(running)
            self._add(running, event)
            running.done, running.outcome = True, _summary(event)
            if running.expected and not running.control.stop.is_set():
                self._pace = event.seconds / running.expected
            return
        running.curve.append((event.seconds, event.psnr))
        packing = event.phase == "packing"
        now = time.monotonic()
        if now - running.drawn < DRAW_SECONDS and not packing:
            return
        running.drawn = now
        self.status.value = _progress_text(event, running.control.stop.is_set(), len(self._waiting))
        if self._plot is not None:
            self._plot.show()
            self._plot.plot(*zip(*running.curve, strict=True), clear=True, pen="#33bb99")
        self.bar.max, self.bar.value = (event.steps, event.steps if packing else event.step)

    def _on_error(self, running: Running, error: JobError) -> None:
        if running is self._running:
            running.outcome = f"Failed: {error}"
        if isinstance(error.__cause__, ValueError | TypeError):  # the user's to mend: no traceback
            show_error(str(error))
        else:
            notification_manager.dispatch(Notification.from_exception(error))

    def _on_end(self, running: Running) -> None:
        self._drop_preview(running)
        if running is self._running:
            self._running = None
            self._timer.stop()
            self.bar.max, self.bar.value = 1, int(running.done)
            self.status.value = running.outcome
            self._show_buttons()
            self._describe()
            self._next()

    def _show_preview(self, running: Running, preview: Preview) -> None:
        layers = self._viewer.layers
        if running.preview is not None and running.preview in layers:
            running.preview.data = preview.values
        elif running.preview is None and running.source in layers:
            running.preview = preview_layer(f"{running.request.name} preview", running.look, preview)
            selected = set(layers.selection)
            layers.insert(layers.index(running.source) + 1, running.preview)
            layers.selection = selected

    def _drop_preview(self, running: Running) -> None:
        if running.preview is not None and running.preview in self._viewer.layers:
            self._viewer.layers.remove(running.preview)

    def _add(self, running: Running, result: Result) -> None:
        """Add the result above its original, or on top if that is gone."""
        layers = self._viewer.layers
        layer = Image(result.data, multiscale=isinstance(result.data, list), **result.arguments | running.look)
        layers.insert(layers.index(running.source) + 1 if running.source in layers else len(layers), layer)

    def _images(self, _: Any = None) -> list[Image]:
        viewer = getattr(self, "_viewer", None)  # magicgui asks once before there is one
        return [layer for layer in viewer.layers if isinstance(layer, Image)] if viewer else []

    def _on_target(self) -> None:
        widgets: list[Any] = [self.ratio, self.size, self.psnr]
        for title, widget in zip(TARGETS, widgets, strict=True):
            widget.visible = title == self.target.value
        self._describe()

    def _on_image(self) -> None:
        """Ask which of several volumes is meant."""
        try:
            labels = [label for label, _ in self._volumes()]
        except ValueError:
            labels = []
        with self.part.changed.blocked():
            self.part.choices = []  # or those that stay would come first
            self.part.choices = [*labels, ALL] if len(labels) > 1 else [ALL]
        self._part_row.visible = len(labels) > 1
        self._describe()

    def _volumes(self) -> list[tuple[str, Any]]:
        layer = self.image.value
        if layer is None:
            return []
        return volumes_of(layer.data, {"name": layer.name, "rgb": layer.rgb, "multiscale": layer.multiscale})

    def _describe(self) -> None:
        """Say what the chosen layer is and what it would become, or why it cannot be compressed."""
        try:
            found = self._volumes()
        except ValueError as error:
            self.sizes.value = str(error)
            return
        if not found:
            self.sizes.value = "Open a 3D image to compress. Label images cannot be: they would not survive exactly."
            return
        volume, count = found[0][1], len(found) if self.part.value == ALL else 1
        dtype = np.dtype(volume.dtype)
        nbytes = math.prod(volume.shape) * dtype.itemsize
        shape = " x ".join(map(str, volume.shape))
        times = f"{count} times " if count > 1 else ""
        lines = [f"{times}{shape} {dtype}"]
        target = self._target()
        if "psnr" in target:
            lines.append(f"{_bytes(nbytes)} will become as small as that allows, in up to five fits")
        else:
            lines.append(
                f"{times}{_bytes(nbytes)} will become {_bytes(target.get('nbytes') or nbytes / target['ratio'])}"
            )
            expected = self._expected(volume)
            if expected is not None:
                lines[-1] += f"\nin about {_duration(count * expected)} on this CPU"
        self.sizes.value = "\n".join(lines)

    def _show_buttons(self) -> None:
        control = self._running.control if self._running else None
        ending = control is not None and control.cancel.is_set()
        self.compress.text = "Compress" if control is None else "Queue"
        self.cancel.enabled = control is not None and not ending
        self.stop.enabled = control is not None and not ending and not control.stop.is_set()

    def _on_devices(self, found: dict[str, str]) -> None:
        if self._gone:
            return
        self._memory = found
        chosen = self.device.value
        self.device.choices = list(found)
        if chosen == "auto" and self._preferred_device in found:
            self.device.value = self._preferred_device

        self._on_device()

    def _on_device(self) -> None:
        self.memory.value = self._memory.get(self.device.value, "")
        self._describe()

    def _on_no_devices(self, error: JobError) -> None:
        if not self._gone:
            self.status.value = str(error)

    def _refuse(self, reason: str) -> None:
        self.status.value = reason
        show_error(reason)


def _progress_text(event: Progress, stopping: bool, waiting: int) -> str:
    """How far, how good, how big."""
    lines = ["Stopping, what has been learnt is kept."] if stopping else []
    if event.phase == "packing":
        lines.append("Packing and measuring ...")
    else:
        lines.append(f"{_duration(event.seconds_left)} left, step {event.step} of {event.steps}")
    lines.append(f"PSNR {event.psnr:.1f} dB, loss {event.loss:.3g}")
    if event.nbytes is not None:
        lines.append(f"Weights {_bytes(event.nbytes)}")
    if waiting:
        lines.append(f"{waiting} waiting")
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
