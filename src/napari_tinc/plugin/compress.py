"""The dock widget that compresses an image or labels layer."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import replace
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
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer

from ..allocation import MAX_LEVELS, parse_widths
from ..blocks import estimate_blocks
from ..container import WeightsFormat
from ..devices import find_devices
from ..isolation import find_devices_isolated, find_python
from ..pipeline import STEPS, Estimate, Settings
from ..sources import Source
from ..training import Control, Progress
from . import texts
from .door import unproxied
from .forms import fold, labelled, named, narrow, plot, roomy, row, show_focus, watch_end, wrapped
from .jobs import JobError, Request
from .layers import as_it_is, geometry, names_of, promise_of, together, volumes_of
from .leaf_view import OVERLAY
from .looks import is_mask, look_of, look_of_all
from .preferences import read_preferences, remember
from .queue import Job, Queue
from .worker import start_job, start_task

RATIO, SIZE, PSNR, MAX_ERROR = TARGETS = ["Ratio", "Size (kB)", "PSNR (dB)", "Max error"]
LOSSLESS = "lossless"
SECONDS_PER_VOXEL = 2e-6  # of one core, of files without networks
ALL, TOGETHER = "all, one file each", "all, in one file"
AUTO = "auto"
LOOK_SECONDS = 15  # between two previews
# Between two updates. Where there is no GPU each one has the whole window drawn anew, which takes a core 25 ms; that
# is why there is no bar in napari's activity: the animation that comes with it doubled the time of a fit.
DRAW_SECONDS = 1.0


class CompressWidget(Container):
    """Compress an image or labels layer in the background and add the result beside it.

    One job at a time, others wait. A result lands on the layer its job was started from, whatever is selected by then;
    if that layer is gone it is added on top, and if the widget or its viewer is gone all jobs are cancelled.
    """

    @unproxied
    def __init__(self, napari_viewer: Any) -> None:
        preferences = read_preferences()
        self.image = ComboBox(
            choices=self._images, tooltip="The layer to compress: a 3D volume, or several; of an image or of labels."
        )
        self.part = ComboBox(choices=[ALL], tooltip="Which channel or point in time, or all of them.")
        narrow(self.image, self.part)
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
            tooltip="Least quality, in the smallest file found; up to six fits.",
        )
        self.max_error = LineEdit(
            value=_bound_text(preferences.max_error),
            tooltip="No voxel will be further than this from the original, in units of the data. 0 is lossless: every "
            "voxel bit for bit. Checked before the file is written; NaN and infinite values survive.",
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
        self.widths = LineEdit(
            value="", tooltip="Features of a node on each level, from the root, such as 48, 16; empty for what suits."
        )
        self.widths.native.setPlaceholderText(AUTO)
        self.calibration = ComboBox(
            choices=[AUTO, "none"], tooltip="Gains and offsets of the leaves: where they pay, or none."
        )
        self.networks = Label(value="", tooltip="Features of a node on each level, from the root.")
        self.log = LineEdit(value="", tooltip="A file for loss, PSNR, bytes and seconds as lines of JSON, or empty.")
        self.preview = CheckBox(value=True, text="Preview", tooltip="Show what has been learnt, a few times a minute.")
        self.isolate = CheckBox(
            value=preferences.isolate and find_python() is not None, text="Separate process",
            tooltip="napari goes on if memory runs out or PyTorch crashes. Starts two seconds later.",
        )  # fmt: skip
        self.isolate.enabled = find_python() is not None
        self.memory = Label(value="")
        self.sizes = Label(value="")
        self.compress = PushButton(text="Compress", tooltip="Start; while another is compressed, wait for it.")
        self.stop = PushButton(text="Stop && keep", tooltip="Finish now, with what has been learnt so far.")
        self.cancel = PushButton(text="Cancel", tooltip="Give up; nothing is kept. What waits is started.")
        self.bar = ProgressBar(value=0, min=0, max=1)
        self.status = Label(value="")
        self._part_row = labelled("Part", self.part)
        self.size.visible = self.psnr.visible = self.max_error.visible = (
            False  # before the row is laid out, or it is as wide as all three
        )
        self._target_row = row(self.target, self.ratio, self.size, self.psnr, self.max_error)
        advanced = Container(
            labels=False,
            widgets=[
                labelled("Device", self.device), self.memory, labelled("Seed", self.seed),
                labelled("Weights", self.weights), labelled("Levels", self.levels),
                labelled("Widths", self.widths), self.networks, labelled("Calibration", self.calibration),
                labelled("Log", self.log), row(self.preview, self.isolate),
            ],
        )  # fmt: skip
        advanced.margins = (0, 0, 0, 0)
        super().__init__(
            scrollable=True, labels=False,
            widgets=[
                labelled("Layer", self.image), self._part_row, self._target_row,
                labelled("Preset", self.preset), self.sizes, row(self.compress, self.stop, self.cancel), self.bar,
                self.status,
            ],
        )  # fmt: skip
        self._viewer = napari_viewer
        self._before_labels: tuple[str, str] | None = None  # target and max error, while labels choose their own
        self.queue = Queue(self._viewer, self._start_job)
        self._asked: Any = None  # the layer whose parts are listed
        self._memory: dict[str, str] = {}
        self._drawn = 0.0  # when progress was last shown
        self._gone = False
        self._preferred_device = preferences.device
        show_focus(self.root_native_widget)
        roomy(self.root_native_widget)
        named("Target", self.target)
        for title, widget in self._targets():
            named(title, widget)
        named("Progress", self.bar)
        wrapped(self.sizes, self.status, self.memory, self.networks)
        layout = self.root_native_widget.widget().layout()
        self._plot = plot("seconds", "PSNR (dB)")
        if self._plot is not None:
            layout.addWidget(self._plot)
        self._advanced = advanced  # or magicgui lets go of its widgets
        self.fold = fold("Advanced", advanced.native)
        layout.addWidget(self.fold)
        layout.addWidget(advanced.native)
        layout.addStretch()
        self._timer = QTimer(self.root_native_widget)
        self._timer.timeout.connect(self._look)
        watch_end(self.root_native_widget, self._abandon, self._abandon)
        self.image.changed.connect(self._on_image)
        self.target.changed.connect(self._on_target)
        self.device.changed.connect(self._on_device)
        self.widths.changed.connect(self._on_widths)
        for choice in (
            self.part,
            self.ratio,
            self.size,
            self.psnr,
            self.max_error,
            self.preset,
            self.levels,
            self.weights,
        ):
            choice.changed.connect(self._describe)
        self.max_error.native.editingFinished.connect(self._tidy_bound)
        self.queue.started.connect(self._on_started)
        self.queue.progressed.connect(self._on_progress)
        self.queue.ended.connect(self._on_ended)
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
        find = find_devices_isolated if self.isolate.value else find_devices
        start_task(find, self._on_devices, self._on_no_devices)

    @property
    def native(self) -> Any:
        """The scroll area; magicgui would give napari only what is inside of it."""
        return self.root_native_widget

    def reset_choices(self, *_: Any) -> None:
        """Called by napari when layers come and go. Of all lists only that of layers is another then."""
        self.image.reset_choices()

    def start(self) -> None:
        """Compress the chosen layer, after those that were chosen before; says why if that cannot be."""
        if not self.compress.enabled:
            return
        layer = self.image.value
        if layer is None:
            self._refuse("Open a 3D image first.")
            return
        data, arguments = self._layer_data(still=True)
        try:
            target = self._target()
            found = volumes_of(data, arguments)
            log, widths = self._log_file(len(found)), self._widths()
            whole, labels, channels = together(data, arguments) if self._at_once(found) else (found[0][1], "", [])
            seconds = self._seconds(self._estimate(whole), whole) or 0.0  # all are of one shape
        except (ValueError, TypeError) as error:
            self._refuse(str(error))
            return
        place, jobs = geometry(arguments), []
        look = look_of_all(layer, labels) if labels else look_of(layer)
        if labels:
            found, place = [("", whole)], replace(place, axis_labels=labels)
        for label, volume in found:
            if len(found) > 1 and self.part.value not in (label, ALL):
                continue
            request = Request(
                f"{layer.name} [{label}]" if label else layer.name, volume, place, target,
                self.preset.value, self.device.value, self.seed.value, self.weights.value, self._levels(), widths,
                self.calibration.value, log, channels, isinstance(layer, Labels), self.isolate.value,
            )  # fmt: skip
            jobs.append(Job(request, layer, look, 0 if "max_error" in target else seconds))
        chosen, bound = self._before_labels or (self.target.value, self.max_error.value)
        try:
            kept = {"max_error": _bound(bound)}
        except ValueError:
            kept = {}
        remember(
            target=chosen, ratio=self.ratio.value, size=self.size.value, psnr=self.psnr.value,
            preset=self.preset.value, isolate=self.isolate.value, **kept,
        )  # fmt: skip
        self.queue.add(jobs)
        self._show_buttons()

    def _at_once(self, found: Sequence[tuple[str, Any]]) -> bool:
        return len(found) > 1 and self.part.value == TOGETHER

    def _start_job(self, request: Request, control: Control, **callbacks: Any) -> None:
        start_job(self._viewer, request, control, read_preferences().eager_megavoxels * 10**6, **callbacks)

    def _target(self) -> dict[str, Any]:
        """Of :func:`napari_tinc.fit`. ValueError where it is not a number."""
        match self.target.value:
            case "Ratio":
                return {"ratio": self.ratio.value}
            case "Size (kB)":
                return {"nbytes": int(1000 * self.size.value)}
            case "PSNR (dB)":
                return {"psnr": self.psnr.value}
        return {"max_error": _bound(self.max_error.value)}

    def _targets(self) -> list[tuple[str, Any]]:
        return list(zip(TARGETS, [self.ratio, self.size, self.psnr, self.max_error], strict=True))

    def _levels(self) -> int | None:
        return None if self.levels.value == AUTO or not self.levels.enabled else self.levels.value

    def _log_file(self, count: int) -> Path | None:
        if not self.log.value.strip():
            return None
        path = Path(self.log.value.strip()).expanduser()
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError(f"log {path}: there is no folder {path.parent}, or it is one itself")
        if count > 1 and self.part.value == ALL:
            raise ValueError("a log is of one job: choose a part, or leave the log empty")
        return path

    def _widths(self) -> tuple[int, ...] | None:
        text = self.widths.value.replace(",", " ").split()
        if not text or not self.widths.enabled:
            return None
        if not all(word.isdecimal() for word in text):
            raise ValueError(f"widths are {self.widths.value}, expected numbers from the root on, such as 48, 16")
        return parse_widths([int(word) for word in text])

    def _estimate(self, volume: Any) -> Estimate | None:
        """What a fit would take; None where the target does not say it.

        Raises ValueError for unusable widths, TypeError for what cannot be compressed with that target.
        """
        target = self._target()
        source = Source.of(volume, exact=target.get("max_error") == 0)
        if "psnr" in target or "max_error" in target:
            return None
        budget = target.get("nbytes") or int(
            math.prod(volume.shape) * np.dtype(volume.dtype).itemsize / target["ratio"]
        )
        form = WeightsFormat[self.weights.value.upper()]
        settings = Settings(self.preset.value, form=form, levels=self._levels(), widths=self._widths())
        return estimate_blocks(source, max(1, budget), settings)

    def _seconds(self, found: Estimate | None, volume: Any) -> float | None:
        """At a pace of 1; None where that cannot be said."""
        if self.target.value == MAX_ERROR:
            return SECONDS_PER_VOXEL * math.prod(volume.shape)
        return found.seconds if found and self.device.value in ("cpu", "auto") else None

    def _look(self) -> None:
        """Ask the job for a preview."""
        if self.preview.value:
            self.queue.look()

    def _stop(self) -> None:
        self.queue.stop()
        self.status.value = "Stopping: finishing what has been learnt ..."
        self._show_buttons()

    def _cancel(self) -> None:
        self.queue.cancel()
        self.status.value = "Cancelling ..."
        self._show_buttons()

    def _abandon(self) -> None:
        """The widget is gone: end its job, and touch nothing of it again."""
        self._gone = True
        self._watch(None)
        self.queue.abandon()

    def _on_started(self) -> None:
        self._drawn = 0.0
        if self._plot is not None:
            self._plot.hide()  # it is of another job
        self.bar.max, self.bar.value = 1, 0
        self.status.value = "Starting ..."
        self._timer.start(LOOK_SECONDS * 1000)
        self._show_buttons()

    def _on_progress(self, job: Job, event: Progress) -> None:
        packing = event.phase == "packing"
        now = time.monotonic()
        if now - self._drawn < DRAW_SECONDS and not packing:
            return
        self._drawn = now
        self.status.value = texts.progress(event, job.control.stop.is_set(), len(self.queue.waiting))
        if self._plot is not None and len(job.curve) > 1:
            self._plot.show()
            self._plot.plot(*zip(*job.curve, strict=True), clear=True, pen="#33bb99")
        self.bar.max, self.bar.value = (event.steps, event.steps if packing else event.step)

    def _on_ended(self, job: Job) -> None:
        self._timer.stop()
        self.bar.max, self.bar.value = 1, int(job.result is not None)
        self.status.value = texts.summary(job.result) if job.result else job.failure or "Cancelled."
        self._show_buttons()
        self._describe()

    def _images(self, _: Any = None) -> list[Image | Labels]:
        viewer = getattr(self, "_viewer", None)  # magicgui asks once before there is one
        if viewer is None:
            return []
        return [layer for layer in viewer.layers if isinstance(layer, Image | Labels) and OVERLAY not in layer.metadata]

    def _on_target(self) -> None:
        for title, widget in self._targets():
            widget.visible = title == self.target.value
        fitted = self.target.value != MAX_ERROR  # else there are no networks
        for widget in (self.preset, self.device, self.seed, self.weights, self.calibration, self.preview):
            widget.enabled = fitted
        self._on_widths()

    def _tidy_bound(self) -> None:
        """Show 0 as what it is."""
        with contextlib.suppress(ValueError):
            self.max_error.value = _bound_text(_bound(self.max_error.value))

    def _on_widths(self) -> None:
        """Widths say the levels, too; a search for a PSNR chooses both."""
        self.widths.enabled = self.target.value not in (PSNR, MAX_ERROR)
        self.levels.enabled = self.target.value != MAX_ERROR and not (self.widths.enabled and self.widths.value.strip())
        self._describe()

    def _on_image(self) -> None:
        """Ask which of several volumes is meant. Labels are kept exactly: nothing else is to be chosen."""
        names = self._holds_names()
        if names and self._before_labels is None:
            self._before_labels = self.target.value, self.max_error.value
            self.target.value, self.max_error.value = MAX_ERROR, LOSSLESS
        elif not names and self._before_labels is not None:
            self.target.value, self.max_error.value = self._before_labels
            self._before_labels = None
        self.target.enabled = self.max_error.enabled = not names
        try:
            labels = [label for label, _ in self._volumes()]
        except ValueError:
            labels = []
        choices, chosen = [*labels, TOGETHER, ALL] if len(labels) > 1 else [ALL], self.part.value
        with self.part.changed.blocked():
            self.part.choices = []  # or those that stay would come first
            self.part.choices = choices
            if self.image.value is self._asked and chosen in choices:  # the list of layers was only filled anew
                self.part.value = chosen
        if self._asked is not self.image.value:
            self._watch(self.image.value)
        self._part_row.visible = len(labels) > 1
        self._describe()

    def _watch(self, layer: Any) -> None:
        """Describe a layer anew when its data is replaced."""
        if self._asked is not None:
            self._asked.events.data.disconnect(self._on_data)
        self._asked = layer
        if layer is not None:
            layer.events.data.connect(self._on_data)

    def _on_data(self) -> None:
        if not self._gone:
            self._on_image()

    def _volumes(self) -> list[tuple[str, Any]]:
        return [] if self.image.value is None else volumes_of(*self._layer_data())

    def _holds_names(self) -> bool:
        """Whether the chosen layer is of labels, or a mask."""
        layer = self.image.value
        return layer is not None and (isinstance(layer, Labels) or is_mask(layer))

    def _layer_data(self, still: bool = False) -> tuple[Any, dict[str, Any]]:
        """Data and arguments of the chosen layer; labels in a dtype that a file can hold, ``still`` as they are now."""
        data, arguments, _ = self.image.value.as_layer_data_tuple()
        if isinstance(self.image.value, Labels):
            data = as_it_is(data) if still else data
            data = [names_of(level) for level in data] if arguments["multiscale"] else names_of(data)
        return data, arguments

    def _describe(self) -> None:
        """Say what the chosen layer is and what it would become, or why it cannot be compressed."""
        self.networks.value = ""
        try:
            found = self._volumes()
        except ValueError as error:
            self.sizes.value = str(error)
            return
        if not found:
            self.sizes.value = "Open a 3D image, or labels, to compress."
            return
        volume, count = found[0][1], len(found) if self.part.value == ALL else 1
        if self._at_once(found):
            volume, *_ = together(*self._layer_data())
        try:
            target = self._target()
        except ValueError as error:
            self.sizes.value = str(error)
            return
        try:
            plan = self._estimate(volume)
        except TypeError as error:  # not with this target
            self.sizes.value = str(error)
            return
        except ValueError as error:
            plan, self.networks.value = None, str(error)
        else:
            self.networks.value = texts.networks(plan) if plan else ""
        dtype = np.dtype(volume.dtype)
        nbytes = math.prod(volume.shape) * dtype.itemsize
        shape = " x ".join(map(str, volume.shape))
        times = f"{count} times " if count > 1 else ""
        lines = [f"{times}{shape} {dtype}"]
        if "max_error" in target:
            lines.append(
                f"{times}{texts.size(nbytes)} will become as small as that allows: {promise_of(target['max_error'])}"
            )
            if self._holds_names():
                lines.append("Labels and masks are names: anything but bit for bit would turn some into others.")
        elif "psnr" in target:
            lines.append(f"{texts.size(nbytes)} will become as small as that allows, in up to six fits")
        else:
            aim = texts.size(target.get("nbytes") or nbytes / target["ratio"])
            lines.append(f"{times}{texts.size(nbytes)} will become {aim}")
        seconds = self._seconds(plan, volume)
        if seconds is not None:
            pace = 1 if self.target.value == MAX_ERROR else self.queue.pace  # which is that of fits
            lines.append(f"in about {texts.duration(count * pace * seconds)} on this CPU")
        if plan:
            lines.append(f"with at most about {texts.size(plan.memory)} of memory")
        self.sizes.value = "\n".join(lines)

    def _show_buttons(self) -> None:
        control = self.queue.running.control if self.queue.running else None
        ending = control is not None and control.cancel.is_set()
        self.compress.text = "Compress" if control is None else "Queue"
        self.cancel.enabled = control is not None and not ending
        exact = self.queue.running is not None and "max_error" in self.queue.running.request.target
        self.stop.enabled = control is not None and not (ending or exact or control.stop.is_set())

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


def _bound(text: str) -> float:
    """A largest error as it was typed.

    Raises
    ------
    ValueError
        If it is none.
    """
    if text.strip().lower() in ("", LOSSLESS):
        return 0.0
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if not 0 <= bound < math.inf:
        raise ValueError(f'max error is "{text.strip()}", expected a number such as 0.5, or 0 for lossless')
    return bound


def _bound_text(bound: float) -> str:
    return repr(bound).removesuffix(".0") if bound else LOSSLESS
