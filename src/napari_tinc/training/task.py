"""The task of fitting one tree: its settings, its budget, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bounded.background import Background
from ..control import Control
from ..errors import NotWithNetworks
from ..format import widths as format_widths
from ..format.chunks import Chunk
from ..format.networks_file import NetworksHeader, WeightsFormat
from ..octree import Octree
from ..storage.checkpoint import Journal
from . import costs
from .allocation import allocate

OMEGA0 = 8.0  # Frequency of the first sines when training begins.
METHODS = ("auto", "networks", "predictive")  # The better of the other two; an octree of networks; no networks.
# Optimiser steps for a volume of FEW_VOXELS to MANY_VOXELS voxels.
STEPS = {"fast": 1200, "balanced": 8000, "best": 64000}
LEAST_STEPS = 100  # Even the smallest volume, or a small share of a fit, has this many.
FEW_VOXELS = 64**3  # Smaller volumes have fewer steps, by the square root of their voxels.
MANY_VOXELS = 128**3  # Larger volumes have more steps, by the square root of their voxels.
# With other names, jobs that earlier versions have kept would not be recognised.
OLD_NAMES = {"weights_format": "form", "favour_decoding_speed": "quick"}
BATCH = {"fast": 4096, "balanced": 4096, "best": 8192}  # Voxels in a step.
STARTS = 4  # Sets of random parameters that are tried; with one, one seed in six of a small network is 3 dB worse.
SMALL_ROOT = 16  # Wider roots are as good with any random parameters, to 0.1 dB, which only a long start tells
LONG_START = 1000  # of at least so many steps, as those of `best`.
MEDIUM_ROOT = 48  # Yet wider ones are no better after it.
START_SHARE = 0.05  # A start has this share of the steps.
LEAST_START = 100  # Fewer steps, as those of `fast`, do not tell how good it will be, and only one is tried.

version = cache(metadata.version)  # It takes milliseconds to read.


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """How to compress, as training and blocks need it. :class:`napari_tinc.Options` has what users choose.

    Attributes
    ----------
    preset : how long to train, a key of :data:`STEPS`.
    seed : of all random numbers.
    device : "auto", "cpu", "cuda", "mps", ...
    weights_format : how weights are stored.
    levels : levels of the octree of networks; None for what suits the size.
    widths : width of the nodes of every level from the root; None for what suits the size.
    calibrate : whether to calibrate, if it pays.
    favour_decoding_speed : whether faster decoding is worth more than the last 0.2 dB.
    bound : largest error of any voxel, 0 for bit for bit, without networks; None for a size or a PSNR.
    method : one of :data:`METHODS`, if there is no bound.
    """

    preset: str
    seed: int = 0
    device: str = "auto"
    weights_format: WeightsFormat = WeightsFormat.ENTROPY
    levels: int | None = None
    widths: tuple[int, ...] | None = None
    calibrate: bool = True
    favour_decoding_speed: bool = False
    bound: float | None = None
    method: str = "auto"

    @property
    def without_networks(self) -> bool:
        """Whether it is known from the settings that the file will have no networks."""
        return self.bound is not None or self.method == "predictive"

    def provenance(self) -> dict[str, Any]:
        """Return what a file says about how it was made."""
        encoder = {"encoder": f"napari-tinc {version('napari-tinc')}"}
        return encoder | ({"preset": self.preset, "seed": self.seed} if self.bound is None else {})

    def key_fields(self) -> dict[str, Any]:
        """Return all that the bytes of a file depend on, by the names that kept jobs of every version have."""
        return {
            OLD_NAMES.get(field.name, field.name): getattr(self, field.name)
            for field in fields(self)
            if field.name != "device"
        }


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A volume that becomes one tree of networks.

    Attributes
    ----------
    volume : (z, y, x), checked.
    header : all facts about the volume; its network is not yet planned.
    budget : largest size of the file, in bytes.
    settings : how to fit.
    extra : ancillary chunks for the file.
    control : cancels or stops the fit.
    span : range that PSNR and SSIM refer to; None for the volume's own.
    background : what stands for the voxels that the networks need not learn; None for nothing.
    is_block : whether the tree is a block of a larger file, which has PROVENANCE for all blocks.
    journal : keeps the state of the fit, so that it can be resumed.
    importance : weights of the squared errors, float32 of the volume's shape and of mean 1; None for equal ones.
    threads : of the training on a CPU; None for one a core. The file does not depend on them.
    """

    volume: NDArray[Any]
    header: NetworksHeader
    budget: int
    settings: Settings
    extra: Sequence[Chunk] = ()
    control: Control = field(default_factory=Control)
    span: float | None = None
    background: Background | None = None
    is_block: bool = False
    journal: Journal = field(default_factory=Journal)
    importance: NDArray[np.float32] | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a fit will take, estimated before it starts.

    Attributes
    ----------
    steps : optimiser steps, those of all starts among them.
    widths : features of the nodes of every level.
    n_leaves : leaves of all octrees.
    n_parameters : weights of all networks.
    seconds : on two CPU cores of the machine of docs/benchmarks/, to about 30 %.
    n_blocks : blocks into which the volume is cut.
    memory : bytes of main memory that it takes at most.
    """

    steps: int
    widths: tuple[int, ...]
    n_leaves: int
    n_parameters: int
    seconds: float
    n_blocks: int = 1
    memory: int = 0


def estimate(shape: tuple[int, int, int], nbytes: int, settings: Settings, share: float = 1.0) -> Estimate:
    """Estimate what a fit of a volume of this shape into ``nbytes`` takes, without its values.

    Raises
    ------
    ValueError
        If the chosen widths do not fit.
    """
    octree, widths, layers = allocate(
        shape, nbytes, settings.weights_format, settings.levels, settings.widths, settings.favour_decoding_speed
    )
    counts = format_widths.count_parameters(octree, widths, layers)
    steps = count_steps(settings.preset, math.prod(shape), share)
    per_level = _first_node_of_levels(octree)
    products = products_per_point(octree, counts)
    trained = steps + (count_starts(int(widths.max()), steps) - 1) * start_steps(steps)
    seconds = trained * costs.step_seconds(products, BATCH[settings.preset])
    seconds += costs.packing_seconds(math.prod(shape), products)
    return Estimate(trained, tuple(widths[per_level].tolist()), len(octree.leaves), int(counts.sum()), seconds)


def products_per_point(octree: Octree, counts: NDArray[np.int32]) -> int:
    """Return the weights that one point meets: those of one node on each level."""
    return int(counts[_first_node_of_levels(octree)].sum())


def _first_node_of_levels(octree: Octree) -> list[int]:
    """Return a node of each level."""
    return [int(np.flatnonzero(octree.level == level)[0]) for level in range(octree.depth + 1)]


def count_steps(preset: str, n_voxels: int, share: float = 1.0) -> int:
    """Return the optimiser steps of a preset for a volume of so many voxels."""
    few, many = min(1.0, n_voxels / FEW_VOXELS), max(1.0, n_voxels / MANY_VOXELS)
    return max(LEAST_STEPS, round(share * STEPS[preset] * max(0.25, few**0.5) * min(2.0, many**0.5)))


def start_steps(steps: int) -> int:
    """Return the optimiser steps that each of several starts of a fit of so many steps takes."""
    return round(START_SHARE * steps)


def count_starts(widest: int, steps: int) -> int:
    """Return the number of random parameters that a fit tries, by its widest node and its steps."""
    least = LEAST_START if widest <= SMALL_ROOT else LONG_START
    return STARTS if widest <= MEDIUM_ROOT and start_steps(steps) >= least else 1


def make_header(volume: NDArray[Any], weights_format: WeightsFormat, **facts: Any) -> NetworksHeader:
    """Make a header whose network is still the smallest there is.

    Parameters
    ----------
    weights_format : how weights are stored. Columns are sorted wherever integers are entropy-coded.
    facts : of :class:`~.format.head.VolumeFacts`.

    Raises
    ------
    NotWithNetworks
        If the range of the values is wider, or narrower, than floating-point arithmetic resolves.
    """
    low, high = volume.min(), volume.max()
    span = float(high) - float(low)
    if not math.isfinite(span):
        raise NotWithNetworks("volume spans more than the largest floating-point number")
    mean_q = std_q = 0
    if span:
        total = squares = 0.0
        for plane in volume:
            unit = (plane.astype(np.float64) - float(low)) / span
            total, squares = total + float(unit.sum()), squares + float(np.square(unit).sum())
        mean = total / volume.size
        mean_q = round(mean * 65535)
        std_q = max(1, round(math.sqrt(max(0.0, squares / volume.size - mean * mean)) * 65535))
    if weights_format is WeightsFormat.ENTROPY:
        weights_format = WeightsFormat.SORTED
    header = NetworksHeader(
        tree=Octree.full(volume.shape, 0), dtype=volume.dtype, value_range=(low.item(), high.item()), mean_q=mean_q,
        std_q=std_q, widths=np.ones(1, np.int16), layers=1, omega0=OMEGA0, weights_format=weights_format, **facts,
    )  # fmt: skip
    if std_q and not header.std:
        raise NotWithNetworks(
            f"values span {low} to {high}, less than floating-point arithmetic resolves; rescale them"
        )
    return header
