"""A shard: the share of every batch that one thread has, with its voxels, loss and gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..networks.architecture import Architecture
from .layout import Layout
from .sampling import Draws, Sampler

Map = Callable[[Callable[["Shard"], float], Sequence["Shard"]], Iterable[float]]


def in_threads(pool: ThreadPoolExecutor) -> Map:
    """Return a :func:`map` that shares its work among this thread and those of a pool.

    This one does what they have not begun with: where others use the processor, they may wake up late.
    """

    def run(work: Callable[[Shard], float], shards: Sequence[Shard]) -> list[float]:
        others = [pool.submit(work, shard) for shard in shards[1:]]
        first, backwards = work(shards[0]), zip(shards[:0:-1], others[::-1], strict=True)
        rest = [work(shard) if other.cancel() else other.result() for shard, other in backwards]
        return [first, *rest[::-1]]

    return run


class Shards:
    """All shards of a batch on a CPU. They have the same number of points, and so one layout.

    Parameters
    ----------
    sampler : chooses the voxels.
    batch : voxels of one share.
    seed : of the random numbers.
    count : shards.
    """

    def __init__(
        self, sampler: Sampler, architecture: Architecture, batch: int, seed: tuple[int, ...], count: int
    ) -> None:
        self.layout = layout = Layout.of(architecture, batch)
        self.weights = np.zeros(layout.n_weights, np.float32)
        self.gradient = np.zeros(architecture.n_parameters, np.float32)
        self.shards = [Shard(sampler, architecture, layout, seed, shard, count) for shard in range(count)]
        self.draws = [shard.draws for shard in self.shards]

    def step(self, vector: NDArray[np.float32], run: Map) -> tuple[NDArray[np.float32], float]:
        """Return the gradient of one batch, which the next call overwrites, and its loss.

        ``run`` is :func:`map`, or that of several threads.
        """
        from .updates import add_gradient, collect_weights

        collect_weights(vector, self.layout.tensors, self.weights)
        losses = list(run(lambda shard: shard.step(self.weights), self.shards))
        self.gradient[:] = 0
        for shard in self.shards:
            add_gradient(shard.gradient, self.layout.tensors, 1 / len(self.shards), self.gradient)
        return self.gradient, sum(losses) / len(losses)


class Shard:
    """The share of every batch on one thread: its random points, work and gradient."""

    def __init__(
        self, sampler: Sampler, architecture: Architecture, layout: Layout, seed: tuple[int, ...], shard: int,
        shards: int,
    ) -> None:  # fmt: skip
        self.layout, self.layers = layout, architecture.layers
        self.draws = Draws(sampler, layout.order, layout.counts, seed, shard, shards, layout.begins, layout.n_columns)
        self.low, self.high = float(np.nanmin(sampler.volume)), float(np.nanmax(sampler.volume))
        self.gradient, self.work = np.zeros(layout.n_gradient, np.float32), np.zeros(layout.n_work, np.float32)
        self.squares = np.zeros(layout.counts.sum(), np.float32)

    def step(self, weights: NDArray[np.float32]) -> float:
        """Return the loss of one batch, and put its gradient, as the layout has it, into ``self.gradient``."""
        from .gradient import gradient_of_share

        draws, layout = self.draws, self.layout
        draws.draw()
        total = gradient_of_share(
            weights, self.gradient, self.work, layout.row, self.layers, layout.tiles, layout.segments, layout.nodes,
            layout.shifts, layout.places, layout.free, draws.coordinates, draws.intensity, draws.weight,
            self.low, self.high, self.squares,
        )  # fmt: skip
        draws.note(self.squares)
        return total / len(self.squares)
