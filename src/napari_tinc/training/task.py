"""A fit of one tree: its settings, its budget, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Control
from ..errors import NotWithNetworks
from ..format import widths as format_widths
from ..format.chunks import Chunk
from ..format.networks_file import NetworksHeader, WeightsFormat
from ..octree import Octree
from ..storage.checkpoint import Journal
from . import costs
from .allocation import allocate

OMEGA0 = 8.0  # frequency of the first sines when training begins
METHODS = ("auto", "networks", "predictive")  # the better of the other two; an octree of networks; no networks
STEPS = {"fast": 800, "balanced": 5000, "best": 12000}  # optimiser steps for a volume of 64^3 to 128^3 voxels
FEW_VOXELS, MANY_VOXELS = 64**3, 128**3  # outside of which steps go with the square root of the voxels
BATCH = {"fast": 4096, "balanced": 4096, "best": 8192}  # voxels a step


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """How to compress.

    Attributes
    ----------
    preset : how long to train, of :data:`STEPS`.
    form : how weights are stored.
    levels : of the octree of networks; None for what suits the size.
    widths : of the nodes of every level from the root; None for what suits the size.
    calibrate : where it pays.
    quick : whether to decode sooner counts more than the last 0.2 dB.
    bound : largest error of any voxel, 0 for bit for bit; then there are no networks. None for a size or a PSNR.
    method : of :data:`METHODS`, where there is no bound.
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
        """Whether it is known before the work that there will be none."""
        return self.bound is not None or self.method == "predictive"

    def provenance(self) -> dict[str, Any]:
        """What a file says of how it was made."""
        encoder = {"encoder": f"napari-tinc {version('napari-tinc')}"}
        return encoder | ({"preset": self.preset, "seed": self.seed} if self.bound is None else {})

    def key_fields(self) -> dict[str, Any]:
        """Everything that the bytes of a file depend on."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "device"}


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A volume that is to become one tree of networks.

    Attributes
    ----------
    volume : (z, y, x), checked.
    header : says everything about it; its network is still to be planned.
    budget : largest size of the file.
    extra : ancillary chunks to put into the file.
    span : range that PSNR and SSIM are of; None for the volume's own.
    inner : whether the file is a block of another, which speaks for all of them.
    journal : keeps how far it has come.
    """

    volume: NDArray[Any]
    header: NetworksHeader
    budget: int
    settings: Settings
    extra: Sequence[Chunk] = ()
    control: Control = field(default_factory=Control)
    span: float | None = None
    is_block: bool = False
    journal: Journal = field(default_factory=Journal)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a fit will take, before it starts.

    Attributes
    ----------
    steps : optimiser steps.
    widths : features of the nodes of every level.
    n_leaves : boxes of the octree.
    n_parameters : of all networks.
    seconds : on two CPU cores of the machine of docs/benchmarks/, to about 30 %.
    n_blocks : into which the volume is cut.
    memory : bytes of main memory needed at most, about.
    """

    steps: int
    widths: tuple[int, ...]
    n_leaves: int
    n_parameters: int
    seconds: float
    n_blocks: int = 1
    memory: int = 0


def estimate(shape: tuple[int, int, int], nbytes: int, settings: Settings, share: float = 1.0) -> Estimate:
    """What a fit of such a volume into ``nbytes`` takes; without looking at its values.

    Raises
    ------
    ValueError
        If that cannot be with the chosen widths.
    """
    octree, widths, layers = allocate(
        shape, nbytes, settings.weights_format, settings.levels, settings.widths, settings.favour_decoding_speed
    )
    counts = format_widths.count_parameters(octree, widths, layers)
    steps = count_steps(settings.preset, math.prod(shape), share)
    per_level = _first_node_of_levels(octree)
    products = products_per_point(octree, counts)
    seconds = steps * costs.step_seconds(products, BATCH[settings.preset])
    seconds += costs.packing_seconds(math.prod(shape), products)
    return Estimate(steps, tuple(widths[per_level].tolist()), len(octree.leaves), int(counts.sum()), seconds)


def products_per_point(octree: Octree, counts: NDArray[np.int32]) -> int:
    """Weights that one point meets: those of one node a level."""
    return int(counts[_first_node_of_levels(octree)].sum())


def _first_node_of_levels(octree: Octree) -> list[int]:
    """A node of every level."""
    return [int(np.flatnonzero(octree.level == level)[0]) for level in range(octree.depth + 1)]


def count_steps(preset: str, n_voxels: int, share: float = 1.0) -> int:
    """Optimiser steps of a preset for a volume of that size."""
    few, many = min(1.0, n_voxels / FEW_VOXELS), max(1.0, n_voxels / MANY_VOXELS)
    return max(100, round(share * STEPS[preset] * max(0.25, few**0.5) * min(2.0, many**0.5)))


def make_header(volume: NDArray[Any], weights_format: WeightsFormat, **facts: Any) -> NetworksHeader:
    """A header whose network is still the smallest there is. ``facts`` are those of :class:`~.format.head.Facts`.

    Raises
    ------
    ValueError
        If the values span more, or less, than floating-point arithmetic resolves.
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
    header = NetworksHeader(
        tree=Octree.full(volume.shape, 0), dtype=volume.dtype, value_range=(low.item(), high.item()), mean_q=mean_q,
        std_q=std_q, widths=np.ones(1, np.int16), layers=1, omega0=OMEGA0, weights_format=weights_format, **facts,
    )  # fmt: skip
    if std_q and not header.std:
        raise NotWithNetworks(
            f"values span {low} to {high}, less than floating-point arithmetic resolves; rescale them"
        )
    return header
