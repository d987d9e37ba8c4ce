"""Choose the voxels of a batch: one from each stratum, and more strata where the error is.

The volume is cut into blocks of 4 x 4 x 4 voxels, which stand along a Morton curve inside every region (the leaves
that use one network). A region's curve is cut into strata of equal mass, a block's mass being 0.2 plus 0.8 of its
share of the error: errors of neighbours are alike, so that a voxel a stratum takes much of the noise out of a batch,
and drawing where the error is takes more. Weights, voxels / expected draws, keep the expectation of the loss what it is
(importance sampling). All devices see the same voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..octree import Octree, box_slices

EDGE = 4  # Voxels along a block; twice as many, and so on, if there would be more than MANY_BLOCKS blocks.
MANY_BLOCKS = 2**16  # Too many to learn the error of each.
EVEN_SHARE = 0.2  # Share of the mass that is spread evenly; the rest follows the error.
LEAST_IMPORTANCE = 1e-3  # A block of less importance is drawn as often as if it had this much.
# Mass grows with this power of a block's mean squared error; 0.5 would be best if errors were known exactly.
ERROR_POWER = 0.75
KEPT_SHARE = 0.5  # Share of earlier errors that is kept each time new ones come in.
PRIOR_DRAWS = 2.0  # Every block is treated as if it also had this many draws of average error.


class Sampler:
    """The blocks of all regions, and how often each is to be drawn.

    Parameters
    ----------
    volume : float32, (z, y, x); NaN where nothing is learnt.
    octree : its leaves make the regions.
    region_of : region that each leaf belongs to, from 0; -1 for a leaf from which nothing is drawn.
    importance : weights of the squared errors, float32 of the volume's shape and of mean 1; None for equal ones.
    """

    def __init__(
        self, volume: NDArray[np.float32], octree: Octree, region_of: NDArray[np.int64],
        importance: NDArray[np.float32] | None = None,
    ) -> None:  # fmt: skip
        self.volume, self.importance, self.n_regions = volume, importance, int(region_of.max()) + 1
        leaves = octree.leaves[region_of >= 0]
        edge = EDGE
        while volume.size > MANY_BLOCKS * edge**3:
            edge *= 2
        weighed = volume if importance is None else volume * np.sqrt(importance)
        boxes = [
            _cut_into_blocks(weighed, low, high, edge)
            for low, high in zip(octree.start[leaves], octree.stop[leaves], strict=True)
        ]
        start, size, squares = (np.concatenate(parts) for parts in zip(*boxes, strict=True))
        region = np.repeat(region_of[region_of >= 0], [len(first) for first, *_ in boxes])
        code = np.zeros(len(start), np.int64)
        for axis in range(3):
            code |= _spread_bits(start[:, axis] // edge, 2 - axis)
        order = np.lexsort((code, region))
        self.boxes = np.concatenate([start, size], axis=1)[order].astype(np.int32)  # first voxels and sizes
        self.region, self.voxels = region[order], size[order].prod(axis=1)
        self.even = np.full(len(self.voxels), EVEN_SHARE)
        if importance is not None:
            self.even = EVEN_SHARE * self._importance_of_blocks(octree, leaves, edge)[order]
        # Before anything is learnt the network is near 0 everywhere, the volume's mean.
        self.error, self.draws = PRIOR_DRAWS * squares[order] / self.voxels, np.full(len(self.voxels), PRIOR_DRAWS)
        self._spread_draws()

    def _importance_of_blocks(
        self, octree: Octree, leaves: NDArray[np.signedinteger[Any]], edge: int
    ) -> NDArray[np.float64]:
        """Return the root mean importance of every block, leaf after leaf; never 0, so that all are drawn."""
        assert self.importance is not None
        root = np.sqrt(self.importance)
        squares = [
            _cut_into_blocks(root, low, high, edge)[1:]
            for low, high in zip(octree.start[leaves], octree.stop[leaves], strict=True)
        ]
        means = np.concatenate([sums / size.prod(axis=1) for size, sums in squares])
        return np.sqrt(np.maximum(means, LEAST_IMPORTANCE))

    def _set_mass(self, mass: NDArray[np.float64]) -> None:
        """Set the mass of every block; the masses of a region are scaled to a sum of 1."""
        mass = mass / np.bincount(self.region, mass)[self.region]
        begins = np.searchsorted(self.region, np.arange(self.n_regions))
        ends = np.cumsum(mass)
        before = np.append(0.0, ends[:-1])
        self.mass_before = before - before[begins][self.region] + self.region  # region r spans r to r + 1
        self.voxels_per_mass = self.voxels / mass

    def learn(self, shares: Sequence[Draws]) -> None:
        """Draw more where errors are large: those noted since the last time, and to a lesser part those before."""
        self.error *= KEPT_SHARE
        self.draws *= KEPT_SHARE
        for share in shares:
            errors, draws = share.take_notes()
            self.error += errors
            self.draws += draws
        self._spread_draws()

    def state(self) -> dict[str, Any]:
        """Return all that :meth:`restore` needs to continue from here, right after :meth:`learn`."""
        return {"error": self.error, "draws": self.draws}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.error[:], self.draws[:] = state["error"], state["draws"]
        self._spread_draws()

    def _spread_draws(self) -> None:
        """Set the masses by the errors so far."""
        mean = np.average(self.error / np.maximum(self.draws, 1), weights=self.voxels)
        relative = np.ones(len(self.voxels))
        if mean > 0:
            relative = ((self.error + PRIOR_DRAWS * mean) / (self.draws + PRIOR_DRAWS) / mean) ** ERROR_POWER
        self._set_mass(
            self.voxels * (self.even + (1 - EVEN_SHARE) * relative / np.average(relative, weights=self.voxels))
        )


class Draws:
    """The voxels that one thread draws for its share of every batch.

    Parameters
    ----------
    sampler : chooses the blocks.
    order : regions, in the order in which their points stand.
    counts : points of each of these regions, the same in all shards.
    seed : with the number of the shard, the seed of its random numbers.
    shard, shards : number of this share, and of all. They take turns along a region's strata.
    begins : column of the first point of each of these regions; None if there are no columns between.
    n_columns : columns of the coordinates.

    Attributes
    ----------
    coordinates : of the voxels drawn last, float32 (3, n_columns); 0 in columns without a point.
    intensity, weight : their values and weights, float32 (n_points,).
    """

    def __init__(
        self, sampler: Sampler, order: NDArray[np.int64], counts: NDArray[np.int64], seed: tuple[int, ...],
        shard: int, shards: int, begins: NDArray[np.int64] | None = None, n_columns: int = 0,
    ) -> None:  # fmt: skip
        from .drawing import draw_voxels, note_errors

        self.sampler, self.order, self.counts, self.shard, self.shards = sampler, order, counts, shard, shards
        self.begins = np.cumsum(counts) - counts if begins is None else begins
        n_points, n_blocks = int(counts.sum()), len(sampler.voxels)
        self.coordinates = np.zeros((3, n_columns or n_points), np.float32)
        self.intensity, self.weight = np.zeros(n_points, np.float32), np.zeros(n_points, np.float32)
        # Times voxels / mass of a block, this weight makes the mean over a batch that over the volume.
        self.scale = (n_points / sampler.volume.size / counts).astype(np.float32)
        self.rng = np.random.default_rng((*seed, shard))
        self._random = np.zeros(n_points)
        self._counted = np.ones(n_points, np.float32)  # importance of the voxels drawn last
        self._block, self._place = np.zeros(n_points, np.int32), np.zeros(n_points, np.int64)
        self._errors, self._draws = np.zeros(n_blocks), np.zeros(n_blocks)
        self._draw_voxels, self._note_errors = draw_voxels, note_errors

    def draw(self) -> None:
        """Draw voxels."""
        sampler = self.sampler
        importance = self._counted[:0] if sampler.importance is None else sampler.importance.reshape(-1)
        self.rng.random(out=self._random)
        self._draw_voxels(
            self._random, self.order, self.counts, self.begins, self.shard, self.shards, sampler.mass_before,
            sampler.voxels_per_mass, sampler.boxes, sampler.volume.reshape(-1),
            sampler.volume.shape[1], sampler.volume.shape[2], importance, self.scale, self.coordinates,
            self.intensity, self.weight, self._counted, self._block, self._place,
        )  # fmt: skip

    def note(self, squares: NDArray[np.float32]) -> None:
        """Note the squared errors at the voxels drawn last."""
        self._note_errors(squares, self._counted, self._block, self._errors, self._draws)

    def take_notes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sum of the squared errors, and the draws, of every block since the last time."""
        noted = self._errors.copy(), self._draws.copy()
        self._errors[:], self._draws[:] = 0, 0
        return noted


def _cut_into_blocks(
    volume: NDArray[np.float32], start: NDArray[np.int64], stop: NDArray[np.int64], edge: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Cut a box into blocks; return first voxels and sizes, (n, 3) each, and sums of squared intensities, (n,)."""
    edges = [np.arange(low, high, edge) for low, high in zip(start, stop, strict=True)]
    first = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)
    sums = np.nan_to_num(np.square(volume[box_slices(start, stop)]))
    for axis in range(3):
        sums = np.add.reduceat(sums, edges[axis] - start[axis], axis=axis)
    return first, np.minimum(stop - first, edge), sums.reshape(-1).astype(np.float64)


def _spread_bits(index: NDArray[np.int64], offset: int) -> NDArray[np.int64]:
    """Spread the lower 21 bits of an index to every third place, from ``offset``."""
    out = np.zeros_like(index)
    for bit in range(min(21, int(index.max()).bit_length())):
        out |= (index >> bit & 1) << (3 * bit + offset)
    return out
