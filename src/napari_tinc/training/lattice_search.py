"""Choose which layers a reader evaluates on lattices: what is decoded fastest at no visible cost."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..control import Check
from ..format.networks_file import LATTICE_STRIDES, NetworksHeader, head_layer
from ..networks.architecture import Architecture
from ..networks.evaluate import Network
from ..networks.lattice import lattice_points, runs_of

MOST_LOSS_DB = 0.02  # A lattice that costs more of the PSNR is not used.
SAMPLE_VOXELS = 2**18  # The loss is measured on about so many voxels, in whole planes.
LEAST_GAIN = 0.05  # A stride that saves less than this share of the time is not used: slices have more to do for it.
# Nanoseconds of decoding on one core, docs/benchmarks/speed.md: the choice depends on their ratios only.
PRODUCT = 0.02  # A weight at a point.
SINE = 0.5  # A sine.
INTERPOLATION = 0.9  # One feature of a point that is interpolated.
PASS = 3.0  # The rest for a point of a run.


def choose_lattice(
    network: Network, header: NetworksHeader, wanted: NDArray[np.float32], importance: NDArray[np.float32] | None,
    check: Check,
) -> tuple[int, ...]:  # fmt: skip
    """Return the lattice that is decoded fastest and costs at most :data:`MOST_LOSS_DB`; empty for none.

    Parameters
    ----------
    network : with the parameters that a reader will have.
    wanted : the normalised volume; NaN where any value will do.
    importance : weights of the squared errors, of the same shape; None for equal ones.
    check : called every few milliseconds; what it raises ends the work.
    """
    architecture, most = network.architecture, head_layer(header)
    squares = partial(squares_of_sample(header, wanted, importance, check), network)
    allowed = squares(()) * 10 ** (MOST_LOSS_DB / 10)
    limits = []
    for coarser in range(len(LATTICE_STRIDES)):
        limits.append(bisect.bisect(range(1, most + 1), 0, key=lambda last: squares(_alone(last, coarser)) > allowed))
    seconds = {
        lattice: decoding_time(architecture, lattice) * (1 + LEAST_GAIN) ** len(runs_of(lattice, most)[:-1])
        for lattice in itertools.product(*(range(limit + 1) for limit in limits))
        if lattice[0] >= max(1, lattice[1]) and lattice[1] >= lattice[2]
    }
    slowest = decoding_time(architecture, ())
    refused: list[tuple[int, ...]] = []
    for lattice in sorted(seconds, key=lambda one: seconds[one]):
        if seconds[lattice] > slowest:
            break
        if any(all(a >= b for a, b in zip(lattice, worse, strict=True)) for worse in refused):
            continue  # A lattice with more layers on it is no better.
        if squares(lattice) <= allowed:
            return lattice
        refused.append(lattice)
    return ()


def squares_of_sample(
    header: NetworksHeader, wanted: NDArray[np.float32], importance: NDArray[np.float32] | None, check: Check
) -> Callable[[Network, tuple[int, ...]], float]:
    """Return what computes the sum of the squared errors of a network on a lattice, in a sample of planes.

    Parameters are those of :func:`choose_lattice`.
    """
    # An odd step: the planes lie everywhere between those of lattices.
    step = max(1, math.prod(header.shape) // SAMPLE_VOXELS) // 2 * 2 + 1
    planes = slice(min(step, header.shape[0]) // 2, None, step)
    grid = [np.arange(n, dtype=np.float64) + 0.5 for n in header.shape]
    grid[0] = grid[0][planes]
    low, high = ((value - header.mean) / header.std for value in header.value_range)
    wanted = wanted[planes]
    weights = np.isfinite(wanted) * (np.float32(1) if importance is None else importance[planes])

    def squares(network: Network, lattice: tuple[int, ...]) -> float:
        """Return the sum of the squared errors of the sample."""
        errors = np.clip(network.on_grid(grid, check=check, lattice=lattice), low, high) - wanted
        return float((np.nan_to_num(errors, copy=False) ** 2 * weights).sum(dtype=np.float64))

    return squares


def _alone(last: int, coarser: int) -> tuple[int, ...]:
    """Return the lattice of one stride only, the one after ``coarser`` others."""
    return (last,) * (coarser + 1) + (0,) * (len(LATTICE_STRIDES) - coarser - 1)


def decoding_time(architecture: Architecture, lattice: tuple[int, ...]) -> float:
    """Return about how many nanoseconds a voxel of the deepest leaf takes to decode."""
    octree = architecture.octree
    node = int(octree.leaves[-1])
    while architecture.widths[node] <= 0:
        node = int(octree.parent[node])
    widths = [int(architecture.widths[one]) for one in octree.path(node) for _ in range(architecture.layers)]
    box = (octree.stop[node] - octree.start[node]).tolist()
    time, before = 0.0, 0
    for run in runs_of(lattice, len(widths)):
        share = 1.0 if run.stride == 1 else math.prod(lattice_points(n, run.stride) / n for n in box)
        nanoseconds = PASS + (INTERPOLATION * [*widths, 1][run.first] if before else 0.0)
        for layer in range(run.first, run.last):
            nanoseconds += SINE * widths[layer] + PRODUCT * widths[layer] * [*widths, 1][layer + 1]
        time, before = time + share * nanoseconds, run.stride
    return time
