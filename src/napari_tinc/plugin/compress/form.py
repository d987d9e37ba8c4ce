"""The controls of the Compress dock, and the options that they stand for. No viewers, layers or jobs."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

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

from ...encoding.options import Options
from ...isolation.caller import find_python
from ...training.allocation import MAX_LEVELS, parse_widths
from ...training.task import STEPS
from ..forms import (
    elide_long_choices,
    enable_unless,
    fold_button,
    help_button,
    keep_height,
    labelled_row,
    make_plot,
    prepare_dock,
    row,
    set_accessible_name,
    show_focus,
    wrap_long_lines,
)
from ..preferences import Preferences
from .texts import METHOD_DESCRIPTIONS

RATIO = "Ratio"  # The file is so many times smaller than the raw volume.
SIZE = "Size (kB)"  # The file is at most so large.
PSNR = "PSNR (dB)"  # The quality is at least so good.
MAX_ERROR = "Max error"  # No voxel is further off.
TARGETS = [RATIO, SIZE, PSNR, MAX_ERROR]
LOSSLESS = "lossless"  # How a largest error of 0 is shown.
ONE_FILE_EACH = "all, one file each"  # Each volume of the layer becomes a separate file and layer.
ONE_FILE = "all, in one file"  # All volumes of the layer become one file.
NO_REGION = "nothing"  # No layer marks a region.
AUTO = "auto"  # The option is chosen for the volume and the target.
PLAN_LINES = 5  # The plan has room for so many lines: shape, sizes (which may wrap), time, memory.
METHOD_LINES = 2  # The method has room for so many lines, as its longest description wraps.
STATUS_LINES = 5  # The status has room for so many lines, as the description of a result has.
# Why a control is disabled, as its tooltip says it.
NO_NETWORKS = "Only for networks: a largest error is kept without them."
CHOSEN_BY_LABELS = "Labels and masks are always kept bit for bit."
EQUAL_BOUND = "A largest error holds for every voxel alike."
CHOSEN_BY_PSNR = "Chosen by the search for a PSNR."
CHOSEN_BY_WIDTHS = "The widths say how many levels there are."
WITHOUT_NETWORKS = "Only for networks: the method is predictive."


class CompressForm(Container):
    """Hold the controls of the Compress dock, in rows."""

    def __init__(self, preferences: Preferences, layers: Any, regions: Any) -> None:
        """Make the controls with the values of ``preferences``.

        magicgui calls ``layers`` to list the layers, and ``regions`` to list those that can mark a region.
        """
        self.image = ComboBox(
            choices=layers, tooltip="The layer to compress. It follows the selected layer until you choose one here."
        )
        self.volumes = ComboBox(
            choices=[ONE_FILE_EACH], tooltip="This layer holds several volumes: all of them, or a single one."
        )
        self.axes = ComboBox(choices=[""], tooltip="What the axes before z, y, x are. Channels become a layer each.")
        self._make_regions(regions)
        elide_long_choices(self.image, self.volumes, self.axes, self.exact, self.importance)
        self._make_targets(preferences)
        self.preset = ComboBox(
            value=preferences.preset, choices=list(STEPS),
            tooltip="How long to train. Longer training gives a better image of the same size.",
        )  # fmt: skip
        self.preview = CheckBox(
            value=True, text="Show a preview",
            tooltip="Show what has been learnt as a layer above the original, a few times a minute.",
        )  # fmt: skip
        self._make_advanced(preferences)
        self.plan_text, self.method_text, self.status = Label(value=""), Label(value=""), Label(value="")
        self.compress = PushButton(text="Compress", tooltip="Start to compress this layer.")
        self.stop = PushButton(text="Stop && keep", tooltip="Finish now, with what has been learnt so far.")
        self.cancel = PushButton(text="Cancel", tooltip="Give this job up. Nothing of it is kept.")
        self.save = PushButton(text="Save...", tooltip="Write the result to a .tinc file.")
        self.bar = ProgressBar(value=0, min=0, max=1)
        top = labelled_row("Layer", self.image)
        top.append(help_button("compress"))
        self._volumes_row, self._axes_row = labelled_row("Volumes", self.volumes), labelled_row("Axes", self.axes)
        advanced = Container(
            labels=False,
            widgets=[
                labelled_row("Method", self.method), labelled_row("Device", self.device), self.memory_text,
                labelled_row("Seed", self.seed), labelled_row("Weights", self.weights),
                labelled_row("Levels", self.levels), labelled_row("Widths", self.widths), self.networks_text,
                labelled_row("Calibration", self.calibration), labelled_row("Log", self.log), self.isolate,
            ],
        )  # fmt: skip
        advanced.margins = (0, 0, 0, 0)
        super().__init__(
            scrollable=True, labels=False,
            widgets=[
                top, self._volumes_row, self._axes_row, self._target_row,
                self._exact_row, self._importance_row, labelled_row("Preset", self.preset),
                self.plan_text, self.method_text,
                row(self.compress, self.stop, self.cancel), self.preview, self.bar, self.status, self.save,
            ],
        )  # fmt: skip
        self._lay_out(advanced)

    @property
    def native(self) -> Any:
        """Return the scroll area; magicgui would give napari only what is inside of it."""
        return self.root_native_widget

    def _make_regions(self, layers: Any) -> None:
        """Make the choices of a region that is kept exactly, and of one that is important."""
        self.exact = ComboBox(
            choices=layers, nullable=True,
            tooltip="Keep the voxels that this layer marks: labels that are not 0, or the inside of shapes. Shapes "
            "in one slice count in all slices; shapes in several, from the first to the last.",
        )  # fmt: skip
        self.exact_max_error = LineEdit(
            value=LOSSLESS, tooltip="How far a voxel of this region may be off, in units of the data. 0 is bit for bit."
        )
        self.importance = ComboBox(
            choices=layers, nullable=True,
            tooltip="Spend more of the file on the voxels that this layer marks, and less on all others.",
        )  # fmt: skip
        self.weight = SpinBox(
            value=10, min=1, max=1000, tooltip="A squared error in this region counts so many times as much."
        )
        for choice in (self.exact, self.importance):
            choice._null_string = NO_REGION  # type: ignore[attr-defined]  # else it is shown as -----
        self.exact_max_error.max_width = self.weight.max_width = 80
        self._exact_row = labelled_row("Keep exactly", self.exact)
        self._exact_row.append(self.exact_max_error)
        self._importance_row = labelled_row("Important", self.importance)
        self._importance_row.append(self.weight)

    def _make_targets(self, preferences: Preferences) -> None:
        """Make the list of targets, and a number for each."""
        self.target = ComboBox(value=preferences.target, choices=TARGETS, tooltip="What the file has to meet.")
        self.ratio = SpinBox(
            value=preferences.ratio, min=1, max=100_000,
            tooltip="Bytes of the raw volume / bytes of the file. 64 to 512 is common.",
        )  # fmt: skip
        self.size = FloatSpinBox(value=preferences.size, min=0.2, max=1e7, step=10, tooltip="Largest size of the file.")
        self.psnr = FloatSpinBox(
            value=preferences.psnr, min=1, max=120, step=1,
            tooltip="The smallest file of at least this quality. The search takes up to six fits.",
        )  # fmt: skip
        self.max_error = LineEdit(
            value=max_error_text(preferences.max_error),
            tooltip="No voxel will be further than this from the original, in units of the data. 0 is lossless: every "
            "voxel bit for bit. Checked before the file is written; NaN and infinite values survive.",
        )
        for number in (self.size, self.psnr, self.max_error):
            number.visible = False  # Before the row is laid out, or it becomes as wide as all of them.
        self._target_row = row(self.target, self.ratio, self.size, self.psnr, self.max_error)

    def _make_advanced(self, preferences: Preferences) -> None:
        """Make the controls that are folded under "Advanced"."""
        self.method = ComboBox(
            choices=list(METHOD_DESCRIPTIONS),
            tooltip="networks: an octree of networks. predictive: a coder without networks. auto: the better of the "
            "two for this image and size.",
        )
        self.device = ComboBox(value="auto", choices=["auto", "cpu"], tooltip='"auto" takes a GPU if there is one.')
        self.seed = SpinBox(value=0, min=0, max=2**31 - 1, tooltip="The same seed gives the same bytes, on a CPU.")
        self.weights = ComboBox(
            choices=["entropy", "int8", "float16"], tooltip="How weights are stored; entropy-coded ones are smallest."
        )
        self.levels = ComboBox(
            choices=[AUTO, *range(1, MAX_LEVELS + 1)],
            tooltip="Levels of the octree of networks. Two are best, except for large files.",
        )
        self.widths = LineEdit(
            value="",
            tooltip="Widths of the networks on each level, from the root, such as 48, 16. Empty: chosen for you.",
        )
        self.widths.native.setPlaceholderText(AUTO)
        self.calibration = ComboBox(
            choices=[AUTO, "none"],
            tooltip="Correct values by gain and offset of each leaf, or by a filter: where that pays, or never.",
        )
        self.networks_text = Label(value="", tooltip="Widths of the networks on each level, from the root.")
        self.log = LineEdit(value="", tooltip="A file for progress as lines of JSON, or empty.")
        self.isolate = CheckBox(
            value=preferences.isolate and find_python() is not None, text="Separate process",
            tooltip="napari goes on if memory runs out or PyTorch crashes. Starts two seconds later.",
        )  # fmt: skip
        enable_unless(
            self.isolate, "" if find_python() else "This napari has no Python that could be started separately."
        )
        self.memory_text = Label(value="")

    def _lay_out(self, advanced: Container) -> None:
        """Set focus, accessible names and heights, and add the plot and the advanced controls."""
        show_focus(self.root_native_widget)
        prepare_dock(self.root_native_widget)
        set_accessible_name("Target", self.target)
        for title, widget in self._numbers():
            set_accessible_name(title, widget)
        set_accessible_name("Largest error of what is kept exactly", self.exact_max_error)
        set_accessible_name("Weight of what is important", self.weight)
        set_accessible_name("Progress", self.bar)
        wrap_long_lines(self.plan_text, self.method_text, self.status, self.memory_text, self.networks_text)
        for label, lines in (
            (self.plan_text, PLAN_LINES),
            (self.method_text, METHOD_LINES),
            (self.status, STATUS_LINES),
        ):
            keep_height(label, lines)
        layout = self.root_native_widget.widget().layout()
        self._plot = make_plot("seconds", "PSNR (dB)")
        if self._plot is not None:
            layout.addWidget(self._plot)
        self._advanced = advanced  # Else magicgui would delete its widgets.
        self.advanced_button = fold_button("Advanced", advanced.native)
        layout.addWidget(self.advanced_button)
        layout.addWidget(advanced.native)
        layout.addStretch()

    def _numbers(self) -> list[tuple[str, Any]]:
        """Return each target with the control for its number."""
        return list(zip(TARGETS, [self.ratio, self.size, self.psnr, self.max_error], strict=True))

    def update_for_target(self, holds_labels: bool) -> None:
        """Show the number of the chosen target. Disable what has no meaning with it; tooltips say why."""
        for title, widget in self._numbers():
            widget.visible = title == self.target.value
        bounded = self.target.value == MAX_ERROR
        labels = CHOSEN_BY_LABELS if holds_labels else ""
        enable_unless(self.target, labels)
        enable_unless(self.max_error, labels)
        enable_unless(self.method, NO_NETWORKS if bounded else "")
        enable_unless(self.exact, labels)
        enable_unless(self.exact_max_error, labels)
        enable_unless(self.importance, EQUAL_BOUND if bounded else "")
        enable_unless(self.weight, EQUAL_BOUND if bounded else "")
        no_networks = NO_NETWORKS if bounded else WITHOUT_NETWORKS if self.method.value == "predictive" else ""
        enable_unless(self.calibration, NO_NETWORKS if bounded else "")
        for widget in (self.preset, self.device, self.seed, self.weights, self.preview):
            enable_unless(widget, no_networks)
        enable_unless(self.widths, no_networks or (CHOSEN_BY_PSNR if self.target.value == PSNR else ""))
        widths = self.widths.enabled and self.widths.value.strip()
        enable_unless(self.levels, no_networks or (CHOSEN_BY_WIDTHS if widths else ""))

    def target_options(self) -> dict[str, Any]:
        """Return the target as an option of :func:`napari_tinc.fit`. Raises ValueError if it is not a number."""
        match self.target.value:
            case "Ratio":
                return {"ratio": self.ratio.value}
            case "Size (kB)":
                return {"nbytes": int(1000 * self.size.value)}
            case "PSNR (dB)":
                return {"psnr": self.psnr.value}
        return {"max_error": parse_max_error(self.max_error.value)}

    def show_regions(self, *, any_layer: bool) -> None:
        """Show the rows for regions if there is a layer that can mark one."""
        self._exact_row.visible = self._importance_row.visible = any_layer

    def region_layers(self) -> tuple[Any, Any]:
        """Return the layers that mark what is kept exactly, and what is important; None where nothing is."""
        return tuple(choice.value if choice.enabled else None for choice in (self.exact, self.importance))  # type: ignore

    def chosen_method(self) -> str:
        """Return the method; "auto" for a largest error, which settles it."""
        return str(self.method.value) if self.method.enabled else AUTO

    def chosen_weights(self) -> str:
        """Return how weights are stored; "entropy" where there are none to store."""
        return str(self.weights.value) if self.weights.enabled else "entropy"

    def chosen_levels(self) -> int | None:
        """Return the levels of the octree; None to have them chosen."""
        return None if self.levels.value == AUTO or not self.levels.enabled else self.levels.value

    def chosen_widths(self) -> tuple[int, ...] | None:
        """Return the widths of the networks; None to have them chosen. Raises ValueError for anything but numbers."""
        text = self.widths.value.replace(",", " ").split()
        if not text or not self.widths.enabled:
            return None
        if not all(word.isdecimal() for word in text):
            raise ValueError(f"widths are {self.widths.value}, expected numbers from the root on, such as 48, 16")
        return parse_widths([int(word) for word in text])

    def log_file(self, count: int) -> Path | None:
        """Return the file for the log; None for no log. Raises ValueError if it cannot be written or used.

        ``count`` is the number of volumes: a log is of a single job.
        """
        if not self.log.value.strip():
            return None
        path = Path(self.log.value.strip()).expanduser()
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError(f"log {path}: there is no folder {path.parent}, or it is one itself")
        if count > 1 and self.volumes.value == ONE_FILE_EACH:
            raise ValueError("a log is of one job: choose a single volume, or leave the log empty")
        return path

    def chosen_options(self, *, labels: bool = False) -> Options:
        """Return the options of the job. ``labels`` says that values are labels. Raises ValueError if they conflict."""
        return Options(
            **self.target_options(), preset=self.preset.value, device=self.device.value, seed=self.seed.value,
            weights=self.chosen_weights(), levels=self.chosen_levels(), widths=self.chosen_widths(),
            calibration=self.calibration.value, method=self.chosen_method(), labels=labels,
        )  # fmt: skip

    def tidy_max_error(self) -> None:
        """Write the largest error as a plain number, and 0 as "lossless"."""
        with contextlib.suppress(ValueError):  # A text that is no number stays; Compress refuses it.
            self.max_error.value = max_error_text(parse_max_error(self.max_error.value))

    def release_focus(self, *buttons: Any) -> None:
        """Take the keyboard from buttons that are about to be disabled, as Qt would hand it on to Cancel."""
        if any(button.native.hasFocus() for button in buttons):
            self.root_native_widget.setFocus()


def parse_max_error(text: str) -> float:
    """Return the largest error that a text says; 0 for "lossless" and for no text.

    Raises
    ------
    ValueError
        If it is not a finite number of at least 0.
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


def max_error_text(bound: float) -> str:
    """Write a largest error as a user would type it: "0.5", "12", "lossless"."""
    return repr(bound).removesuffix(".0") if bound else LOSSLESS
