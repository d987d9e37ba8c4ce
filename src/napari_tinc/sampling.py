"""Where the voxels of a batch come from: one of each stratum, and more strata where the error is.

The volume is cut into blocks of 4 x 4 x 4 voxels, which stand along a Morton curve inside every region (the box of a
leaf). A region's curve is cut into strata of equal mass, a block's mass being 0.2 plus 0.8 of its share of the error:
errors of neighbours are alike, so that a voxel a stratum takes much of the noise out of a batch, and drawing where the
error is takes more. Weights, voxels / expected draws, keep the expectation of the loss what it is (importance
sampling). NumPy only; all devices see the same voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .octree import Octree

EDGE = 4  # voxels along a block
EVENLY = 0.2  # share of the mass that every voxel has, whatever its error
POWER = 0.75  # of a block's mean squared error; 0.5 would give the least noise if errors were known exactly
MEMORY = 0.5  # of what was learnt before, each time new errors come in
PRIOR = 2.0  # draws of average error that every block starts with


class Sampler:
    """Blocks of all regions, and how often each is to be drawn.

    Attributes
    ----------
    volume : float32, (z, y, x).
    regions : node numbers of the octree, ascending; a region's blocks are contiguous.
    """

    def __init__(self, volume: NDArray[np.float32], octree: Octree, regions: NDArray[np.int64]) -> None:
        self.volume, self.regions = volume, regions
        starts, sizes = zip(*(_blocks(octree.start[node], octree.stop[node]) for node in regions.tolist()), strict=True)
        self.start = np.concatenate(starts).T.astype(np.int32, order="C")
        self.size = np.concatenate(sizes).T.astype(np.int32, order="C")
        self.region = np.repeat(np.arange(len(regions)), [len(start) for start in starts])
        self.voxels = self.size.prod(axis=0, dtype=np.int32)
        self.error, self.draws = np.zeros(len(self.voxels)), np.zeros(len(self.voxels))
        self._set(self.voxels.astype(np.float64))

    def _set(self, mass: NDArray[np.float64]) -> None:
        """Take over a mass for every block; that of a region becomes 1."""
        mass = mass / np.bincount(self.region, mass)[self.region]
        begins = np.searchsorted(self.region, np.arange(len(self.regions)))
        ends = np.cumsum(mass)
        before = np.append(0.0, ends[:-1])
        self.mass_before = before - before[begins][self.region] + self.region  # region r spans r to r + 1
        self.voxels_per_mass = self.voxels / mass

    def learn(self, shares: Sequence[Draws]) -> None:
        """Draw more where the errors noted since the last time, and to a lesser part those before, are large."""
        self.error *= MEMORY
        self.draws *= MEMORY
        for share in shares:
            blocks, errors = share.take_notes()
            self.error += np.bincount(blocks, errors, len(self.error))
            self.draws += np.bincount(blocks, minlength=len(self.draws))
        mean = np.average(self.error / np.maximum(self.draws, 1), weights=self.voxels)
        if mean > 0:
            relative = ((self.error + PRIOR * mean) / (self.draws + PRIOR) / mean) ** POWER
            self._set(self.voxels * (EVENLY + (1 - EVENLY) * relative / np.average(relative, weights=self.voxels)))


class Draws:
    """One thread's share of every batch.

    Parameters
    ----------
    order : rows of ``sampler.regions``, in the order in which their points shall stand.
    counts : points of each of these, alike in all shards.
    shard, shards : which of how many shares this is: they take turns along a region's strata.
    """

    def __init__(
        self, sampler: Sampler, order: NDArray[np.int64], counts: NDArray[np.int64], seed: int, shard: int, shards: int
    ) -> None:
        self.sampler = sampler
        places = [
            region + (np.arange(n) * shards + shard) / (n * shards) for region, n in zip(order, counts, strict=True)
        ]
        self.place = np.concatenate(places)
        self.width = np.repeat(1 / (counts * shards), counts)
        # Times voxels / mass of a block: the weight with which the mean over a batch is that over the volume.
        self.weight = np.repeat(counts.sum() / sampler.volume.size / counts, counts).astype(np.float32)
        self.at = np.zeros((len(self.place), 4), np.float32)
        self.rng = np.random.default_rng((seed, shard))
        self.blocks: list[NDArray[np.int64]] = []
        self.errors: list[NDArray[np.float32]] = []

    def draw(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Voxel coordinates (n, 4), the last of them 0, intensities (n,) and weights (n,)."""
        sampler = self.sampler
        place = self.rng.random(len(self.place)) * self.width + self.place
        block = np.searchsorted(sampler.mass_before, place, side="right") - 1
        inside = ((place - sampler.mass_before.take(block)) * sampler.voxels_per_mass.take(block)).astype(np.int32)
        rest, x = np.divmod(np.minimum(inside, sampler.voxels.take(block) - 1), sampler.size[2].take(block))
        z, y = np.divmod(rest, sampler.size[1].take(block))
        for axis, offset in enumerate((z, y, x)):
            self.at[:, axis] = np.add(sampler.start[axis].take(block), offset, out=offset)
        self.blocks.append(block)
        index = np.ravel_multi_index((z, y, x), sampler.volume.shape)
        intensity: NDArray[np.float32] = np.take(sampler.volume.reshape(-1), index)
        weight = sampler.voxels_per_mass.take(block).astype(np.float32)
        weight *= self.weight
        return self.at, intensity, weight

    def note(self, errors: NDArray[np.float32]) -> None:
        """The squared errors at the points drawn last."""
        self.errors.append(errors.copy())

    def take_notes(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Blocks and squared errors since the last time."""
        blocks, errors = np.concatenate(self.blocks), np.concatenate(self.errors)
        self.blocks, self.errors = [], []
        return blocks, errors


def _blocks(start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First voxels and sizes of the blocks of a box, in Morton order, (n, 3) each."""
    edges = [np.arange(low, high, EDGE) for low, high in zip(start, stop, strict=True)]
    code = np.zeros([len(edge) for edge in edges], np.int64)
    for axis, edge in enumerate(edges):
        shape = [1, 1, 1]
        shape[axis] = -1
        code |= _spread(np.arange(len(edge)), 2 - axis).reshape(shape)
    order = np.argsort(code, axis=None)
    first = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)[order]
    return first, np.minimum(stop - first, EDGE)


def _spread(index: NDArray[np.int64], offset: int) -> NDArray[np.int64]:
    """Bits of an index at every third place, from ``offset``."""
    out = np.zeros_like(index)
    for bit in range(int(index.max()).bit_length()):
        out |= (index >> bit & 1) << (3 * bit + offset)
    return out
