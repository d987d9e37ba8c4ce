"""How to compress: one frozen object, checked as it is made, for Python, command line, panel and child process.

:func:`checked_source` and :func:`meta_of` check what depends on the volume.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..format import limits
from ..format.chunks import Ancillary, Chunk
from ..format.details import Details, budget_of, pack_details
from ..format.fill import Fill
from ..format.metadata import compact
from ..format.networks_file import WeightsFormat
from ..format.placement import Placement
from ..training.allocation import MAX_LEVELS, parse_widths
from ..training.task import METHODS, STEPS, Settings
from . import block_size
from .regions.fill_search import AUTO, DECLARED, parse_fill
from .sources import VolumeSource, fitting_array

DEFAULT_RATIO = 64.0  # The ratio if no target is given.
LEAST_EDGE = 16  # Shorter blocks, in voxels, are refused.
MAX_SEED = 2**32 - 1  # Larger seeds are refused.
SPARE_BYTES = 1024  # A file may be this many bytes larger than the raw voxels, for its header, but no more.

WEIGHTS = {"entropy": WeightsFormat.ENTROPY, "int8": WeightsFormat.INT8, "float16": WeightsFormat.FLOAT16}
CALIBRATIONS = ("auto", "none")
TARGETS = ("ratio", "nbytes", "psnr", "max_error")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to compress a volume: the keywords of :func:`napari_tinc.compress`, checked when the object is made.

    :func:`dataclasses.replace` makes a changed copy. What depends on the volume is checked with the volume.

    Parameters
    ----------
    ratio : bytes of the raw array / bytes of the file; 64 if no target is given. At most one target is given.
    nbytes : instead of ``ratio``, the largest size of the file.
    psnr : instead of ``ratio``, the lowest PSNR in dB, 1 to 120.
    max_error : instead of ``ratio``, the largest difference of any voxel from the original; 0 for bit for bit.
    preset : "fast", "balanced" or "best": how long to train.
    device : "auto", "cpu", "cuda", "mps", ...
    seed : 0 to 4,294,967,295; the same seed gives the same bytes.
    spacing : edges of a voxel along z, y, x; None if they are not known.
    units : unit of the spacing, such as "micrometer".
    axis_labels : a letter for each axis; None for the last of "qtczyx".
    weights : "entropy", "int8" or "float16": how weights are stored.
    levels : levels of the octree of networks, 1 to 6; None for what suits the size.
    widths : features of the nodes of every level from the root, each 1 to 256; None for what suits the size. Not with
        ``psnr``.
    calibration : "auto" for gains and offsets, or a filter of blocks without networks, if they are worth their bytes;
        or "none".
    labels : whether values are labels, which need ``max_error=0``.
    channels : "name", "color" ("#rrggbb") and "window" (black and white: "0 255") of every channel.
    placement : where the voxels lie: a :class:`~napari_tinc.format.placement.Placement`, or a matrix 4 x 4 that takes
        voxel (z, y, x, 1) to the world, in units of the spacing.
    details : time step, contrast limits, names: a :class:`~napari_tinc.format.details.Details`, or its fields.
    method : "networks", "predictive", or "auto" for the better of the two.
    block : voxels along the edge of a block at most, 16 or more; None for what suits size and ratio.
    resume : folder that keeps finished work until the file is complete.
    scheduler : address of a dask.distributed scheduler, or its Client, whose workers fit the blocks.
    fill : values that are no measurements: a number, several, None, or "auto" for such as are far from all others.
    exact : a mask, not 0 where voxels are kept bit for bit, of the volume's shape or of its z, y, x; None for none.
    exact_max_error : instead of bit for bit, the largest difference of a voxel of ``exact`` from the original.
    importance : weights of the squared errors, 0 or more, of the volume's shape or of its z, y, x; None for equal ones.

    Raises
    ------
    ValueError, TypeError
        If a value cannot be used, or two contradict each other.
    """

    ratio: float | None = None
    nbytes: int | None = None
    psnr: float | None = None
    max_error: float | None = None
    preset: str = "balanced"
    device: str = "auto"
    seed: int = 0
    spacing: Sequence[float] | None = None
    units: str | None = None
    axis_labels: str | Sequence[str] | None = None
    weights: str = "entropy"
    levels: int | None = None
    widths: Sequence[int] | None = None
    calibration: str = "auto"
    labels: bool = False
    channels: Sequence[Mapping[str, str]] | None = None
    placement: Any = None
    details: Any = None
    method: str = "auto"
    block: int | None = None
    resume: str | os.PathLike[str] | None = None
    scheduler: Any = None
    fill: Any = "auto"
    exact: Any = field(default=None, compare=False, repr=False)
    exact_max_error: float = 0.0
    importance: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check all fields, and make lists unchangeable."""
        if self.method == "networks":
            _refuse_networks(self._option_against_networks())
        self._check_target()
        self._check_names()
        self._check_whole_numbers()
        widths = None if self.widths is None else parse_widths(self.widths, self.levels)
        if self.without_networks:
            self._check_without_networks()
        self._check_regions()
        if self.block is not None and self.block < LEAST_EDGE:
            raise ValueError(f"block is {self.block}, expected at least {LEAST_EDGE} voxels along an edge")
        channels = self.channels and tuple(
            {str(key): str(value) for key, value in channel.items()} for channel in self.channels
        )
        checked = {
            "seed": operator.index(self.seed), "widths": widths, "channels": channels or None,
            "spacing": None if self.spacing is None else _parse_spacing(self.spacing),
            "placement": None if self.placement is None else Placement.of(self.placement),
            "details": Details.of(self.details) if self.details else None, "fill": parse_fill(self.fill),
        }  # fmt: skip
        _check_units(self.units)
        for name, value in checked.items():  # lists that were given cannot be changed any more
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, options: Options | None, keywords: Mapping[str, Any]) -> Options:
        """Return options that are given as such, or as keywords. TypeError if both are given."""
        if options is None:
            return cls(**keywords)
        if keywords:
            raise TypeError(
                f"options and {', '.join(keywords)} given, expected one: dataclasses.replace changes options"
            )
        return options

    @property
    def target(self) -> dict[str, float]:
        """The one target, by its name; a ratio of 64 if none was given."""
        given = {name: getattr(self, name) for name in TARGETS}
        return {name: value for name, value in given.items() if value is not None} or {"ratio": DEFAULT_RATIO}

    @property
    def is_lossless(self) -> bool:
        """Whether every voxel is kept bit for bit."""
        return self.max_error == 0

    @property
    def without_networks(self) -> str:
        """The option that rules networks out, as it was given; "" if there is none."""
        if self.max_error is not None:
            return f"max_error={self.max_error}"
        return f"method={self.method!r}" if self.method == "predictive" else ""

    def budget(self, raw: int) -> int:
        """Return the largest size of the file for ``raw`` bytes of voxels; 0 if a PSNR or a bound is the target.

        Raises
        ------
        ValueError
            If no file can be as large.
        """
        if self.psnr is not None or self.max_error is not None:
            return 0
        if self.nbytes is None:
            budget = max(1, math.floor(raw / float(self.target["ratio"])))
        else:
            budget = min(int(self.nbytes), raw + SPARE_BYTES)
        if budget > limits.MAX_FILE:
            raise ValueError(f"a file of {budget} bytes asked for, expected at most {limits.MAX_FILE}: a higher ratio")
        return budget

    def settings(self, *, favour_decoding_speed: bool = False) -> Settings:
        """Return the settings of training and blocks.

        Parameters
        ----------
        favour_decoding_speed : whether faster decoding is worth more than the last 0.2 dB.
        """
        return Settings(
            preset=self.preset, seed=self.seed, device=self.device, weights_format=WEIGHTS[self.weights],
            levels=self.levels, widths=None if self.widths is None else tuple(self.widths),
            calibrate=self.calibration == "auto", favour_decoding_speed=favour_decoding_speed, bound=self.max_error,
            method=self.method,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Return spacing and unit, as the head of a file has them."""
        spacing = self.spacing
        if spacing is None and self.placement is not None:
            spacing = self.placement.spacing
        spacing = (1.0, 1.0, 1.0) if spacing is None and self.units else spacing
        return {"spacing": spacing, "unit": self.units or ""}

    def with_facts(self, facts: Mapping[str, Any]) -> Options:
        """Return the same options, with an image's spacing, units, axes and channels if none were given.

        If the image has labels, so do the options; without a target they then ask for ``max_error=0``.
        """
        added = {name: value for name, value in facts.items() if getattr(self, name) is None and name != "fill"}
        if AUTO in self.fill and facts.get("fill"):
            added["fill"] = (DECLARED, *facts["fill"])
        if facts.get("labels"):
            added |= {"labels": True} if self.has_target else {"labels": True, "max_error": 0}
        return replace(self, **added)

    @property
    def has_target(self) -> bool:
        """Whether a ratio, a size, a PSNR or a bound was given."""
        return any(getattr(self, name) is not None for name in TARGETS)

    def _option_against_networks(self) -> str:
        """Return the option that networks cannot serve, as it was given; "" if there is none."""
        if self.max_error is not None:
            return f"max_error={self.max_error}"
        return "labels=True" if self.labels else ""

    def _check_target(self) -> None:
        """Check that there is at most one target, in its range."""
        given = {name: getattr(self, name) for name in TARGETS if getattr(self, name) is not None}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{name} is {value!r}, expected a number")
        if len(given) > 1:
            named = " and ".join(f"{name}={value}" for name, value in given.items())
            raise ValueError(f"{len(given)} targets given, {named}; expected one")
        if self.psnr is not None and not 1 <= self.psnr <= 120:
            raise ValueError(f"psnr is {self.psnr}, expected 1 to 120 dB")
        if self.max_error is not None and not 0 <= self.max_error < math.inf:
            raise ValueError(f"max_error is {self.max_error}, expected a finite number, 0 or more")
        if self.ratio is not None and not 1 <= float(self.ratio) < math.inf:
            raise ValueError(f"ratio is {float(self.ratio)}, expected at least 1")
        if self.nbytes is not None and not 1 <= self.nbytes < math.inf:
            raise ValueError(f"nbytes is {self.nbytes}, expected at least 1")

    def _check_names(self) -> None:
        """Check the options that are one of several names."""
        for name, known in (
            ("method", METHODS), ("preset", STEPS), ("weights", WEIGHTS), ("calibration", CALIBRATIONS)
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in tuple(known):
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")

    def _check_whole_numbers(self) -> None:
        """Check seed, levels and block."""
        for name in ("seed", "levels", "block"):
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, Integral)):
                raise TypeError(f"{name} is {number!r}, expected a whole number")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed is {self.seed}, expected 0 to {MAX_SEED}")
        if self.levels is not None and not 1 <= self.levels <= MAX_LEVELS:
            raise ValueError(f"levels is {self.levels}, expected 1 to {MAX_LEVELS}")
        if self.widths is not None and self.psnr is not None:
            raise ValueError(
                f"widths={self.widths} and psnr={self.psnr} given, expected one: a search for a PSNR chooses widths"
            )

    def _check_regions(self) -> None:
        """Check what is asked for a part of the voxels against what is asked for all."""
        error = self.exact_max_error
        if isinstance(error, bool) or not isinstance(error, Real):
            raise TypeError(f"exact_max_error is {error!r}, expected a number")
        if not 0 <= error < math.inf:
            raise ValueError(f"exact_max_error is {error}, expected a finite number, 0 or more")
        if self.exact is None and error:
            raise ValueError(f"exact_max_error={error} given without exact=, expected a mask of these voxels")
        if self.exact is not None and self.max_error is not None and error >= self.max_error:
            both = f"exact={f' within {error}' if error else ''} and max_error={self.max_error} given, expected one"
            why = "a region can only be kept better than the rest"
            raise ValueError(f"{both}: {why if self.max_error else 'every voxel is kept bit for bit'}")
        if self.importance is not None and self.max_error is not None:
            raise ValueError(
                f"importance= and max_error={self.max_error} given, expected one: a largest error holds for every "
                "voxel alike; exact= keeps a region better than the rest"
            )

    def _check_without_networks(self) -> None:
        """Raise ValueError if networks are described for a file that has none."""
        weights = self.weights if self.max_error is None else "entropy"
        for name, value in (("widths", self.widths), ("levels", self.levels), ("weights", weights)):
            if value is not None and value != "entropy":
                raise ValueError(
                    f"{name}={value!r} and {self.without_networks} given, expected one: such a file has no networks"
                )


def checked_source(array: ArrayLike, options: Options) -> VolumeSource:
    """Return the volume, to be read box by box.

    Raises
    ------
    ValueError, TypeError
        If no file can hold it, or none with these options.
    """
    dtype = getattr(array, "dtype", None)
    if options.method == "networks" and dtype is not None and np.dtype(dtype).kind == "b":
        _refuse_networks("a bool volume")
    source = VolumeSource.of(fitting_array(array), exact=options.is_lossless)
    if options.max_error is None and options.method == "predictive" and source.size > block_size.MOST_AT_ONCE:
        raise ValueError(
            f"{source.size} voxels and {options.without_networks} given, expected at most {block_size.MOST_AT_ONCE}: "
            "the search for a size or a PSNR holds all of them in memory. Ask for max_error, or for networks"
        )
    return source


def meta_of(source: VolumeSource, options: Options, fill: Fill | None = None) -> dict[str, Any]:
    """Return what META stores about axes, channels, labels and fill values; empty if a reader assumes just this.

    Raises
    ------
    ValueError
        If the options do not fit the volume.
    """
    meta: dict[str, Any] = {}
    dtype = np.dtype(source.array.dtype)
    ndim = len(source.leading) + 3
    usual = "qtc"[3 - len(source.leading) :] + "zyx"
    text = usual if options.axis_labels is None else "".join(options.axis_labels)
    if len(text) != ndim or len(set(text)) != ndim:
        raise ValueError(f"axis_labels is {options.axis_labels!r}, expected {ndim} different letters")
    if text != usual:
        meta["axes"] = text
    if dtype.kind == "b":
        meta["bool"] = True
    if options.channels:
        count = source.leading[text.index("c")] if "c" in text[:-3] else 0
        if len(options.channels) != count:
            raise ValueError(f"channels names {len(options.channels)}, expected {count}: the length of axis c")
        meta["channels"] = list(options.channels)
    if options.labels:
        if dtype.kind not in "biu":
            raise ValueError(f"labels of {dtype} given, expected integers")
        if not options.is_lossless:
            target = ", ".join(f"{name}={value}" for name, value in options.target.items())
            raise ValueError(f"labels and {target} given, expected max_error=0: labels must be exact")
        meta["labels"] = True
    return meta if fill is None else meta | fill.as_meta()


def ancillary_of(source: VolumeSource, options: Options, fill: Fill | None = None) -> list[Chunk]:
    """Return the chunks that say what META and DETAILS store.

    Raises
    ------
    ValueError
        If the options do not fit the volume.
    """
    meta = meta_of(source, options, fill)
    chunks = [Chunk.of(Ancillary.META, compact(meta))] if meta else []
    # A file without a known size is taken for one of the usual ratio: most are larger.
    budget = budget_of(options.budget(source.nbytes) or math.floor(source.nbytes / DEFAULT_RATIO))
    spacing, details = options.facts()["spacing"], options.details or Details()
    payload = pack_details(options.placement, details, spacing, source.shape, budget)
    return [*chunks, Chunk.of(Ancillary.DETAILS, payload)] if payload else chunks


def _refuse_networks(given: str) -> None:
    """Raise ValueError if an option was given that only the predictive coder serves, and networks were asked for."""
    if given:
        raise ValueError(
            f"{given} and method='networks' given, expected one: networks keep no bound; the predictive coder does"
        )


def _parse_spacing(spacing: Sequence[float]) -> tuple[float, ...]:
    """Return spacing as numbers. ValueError or TypeError if these are not three positive ones."""
    try:
        edges = tuple(float(edge) for edge in spacing)
    except (TypeError, ValueError):
        raise TypeError(f"spacing is {spacing!r}, expected three positive numbers: z, y, x") from None
    if len(edges) != 3 or not all(limits.MIN_SPACING <= edge <= limits.MAX_SPACING for edge in edges):
        raise ValueError(f"spacing is {edges}, expected three positive numbers: z, y, x")
    return edges


def _check_units(units: str | None) -> None:
    """Raise ValueError or TypeError if units cannot be stored."""
    if units is not None and not isinstance(units, str):
        raise TypeError(f"units is {units!r}, expected text like 'mm'")
    if units and (len(units.encode()) > limits.MAX_UNIT or not units.isprintable()):
        raise ValueError(f"units is {units!r}, expected at most {limits.MAX_UNIT} bytes of printable text")
