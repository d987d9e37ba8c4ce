"""The gradient of a batch by PyTorch, for GPUs: the whole batch at once, with the derivatives of autograd.

All nodes of a group are one batched product. They have the same number of points, next to each other at every level;
where a node has children without a network, some points stay empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..devices import release_cached_memory
from ..networks.architecture import Architecture
from .layout import points_per_head
from .sampling import Draws, Sampler

if TYPE_CHECKING:
    import torch


class OutOfGpuMemory(Exception):
    """A GPU has not enough memory for a batch."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.device = device

    def explained(self) -> ValueError:
        """Return the error for the user. Releases what is cached."""
        import torch

        message = f"training needs more memory than {self.device} has"
        if self.device.startswith("cuda"):
            free, total = torch.cuda.mem_get_info(self.device)
            message = f"training needs more GPU memory: {(total - free) / 1e9:.1f} GB used of {total / 1e9:.1f}"
        release_cached_memory(self.device)
        return ValueError(f"{message}; use device='cpu', or smaller blocks")


@contextmanager
def _naming_the_device(device: str) -> Iterator[None]:
    """Raise :class:`OutOfGpuMemory` for the error of PyTorch."""
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfGpuMemory(device) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """What a group of nodes takes from the batch and from its parents.

    Attributes
    ----------
    parent : index of the parent group, -1 for the root.
    columns : of the points of each node, (n_nodes, n_points).
    places : of the same points in the flattened features of the parent group.
    shift, scale : from a voxel's coordinates to positions in each node's box.
    head_rows : nodes with a head.
    points : the points drawn for each of these, (n_heads, n_points).
    """

    parent: int
    columns: torch.Tensor
    places: torch.Tensor
    shift: torch.Tensor
    scale: float
    head_rows: torch.Tensor
    points: NDArray[np.int64]


class TorchShards:
    """A whole batch on a device, in place of the shards of a CPU (shards.py).

    Parameters
    ----------
    sampler : chooses the voxels.
    batch : voxels of the batch.
    seed : of the random numbers.
    device : of PyTorch.
    """

    def __init__(
        self, sampler: Sampler, architecture: Architecture, batch: int, seed: tuple[int, ...], device: str
    ) -> None:
        self.architecture, self.device = architecture, device
        octree, groups = architecture.octree, architecture.groups
        order, counts = points_per_head(architecture, batch)
        siblings = {group.level: len(group.siblings) for group in groups}
        points = [max(1, batch // math.prod(siblings.values()))]  # of each node of a level, from the finest
        for level in sorted(siblings)[:0:-1]:
            points.insert(0, points[0] * siblings[level])
        first = np.zeros(len(octree.split), np.int64)  # first point of every node
        for group in groups[1:]:
            rows = np.arange(len(group.nodes)) if group.rows is None else group.rows
            first[group.nodes] = first[octree.parent[group.nodes]] + rows % len(group.siblings) * points[group.level]
        heads = architecture.heads[order]
        self.draws = [Draws(sampler, order, counts, seed, 0, 1, first[heads], points[0])]
        self.squares = np.zeros(counts.sum(), np.float32)
        self.low, self.high = float(np.nanmin(sampler.volume)), float(np.nanmax(sampler.volume))
        with _naming_the_device(device):
            self.groups = list(self._groups(heads, counts, first, points))

    def _groups(
        self, heads: NDArray[np.int64], counts: NDArray[np.int64], first: NDArray[np.int64], points: list[int]
    ) -> Iterator[_Group]:
        """Make the tables of all groups."""
        architecture, octree = self.architecture, self.architecture.octree
        drawn = np.cumsum(counts) - counts  # first of the points drawn that each head has
        for group in architecture.groups:
            parents, n = octree.parent[group.nodes], points[group.level]
            columns = first[group.nodes, None] + np.arange(n)
            place = architecture.row_of[parents, None] * points[max(0, group.level - 1)] - first[parents, None]
            centre = 0.5 - architecture.centre(group.nodes)
            headed = np.searchsorted(heads, group.nodes[group.head_rows], sorter=np.argsort(heads))
            own = drawn[np.argsort(heads)[headed], None] + np.arange(n)
            shift = self._tensor(centre[:, None].astype(np.float32))
            at, headed_rows = self._tensor(place + columns), self._tensor(group.head_rows)
            scale = architecture.scale[group.level]
            yield _Group(group.parent, self._tensor(columns), at, shift, scale, headed_rows, own)

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        """Copy an array to the device."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def step(self, vector: NDArray[np.float32], run: object = None) -> tuple[NDArray[np.float32], float]:
        """Return the gradient of one batch, and its loss. The second argument is for shards only.

        Raises
        ------
        OutOfGpuMemory
            If the device has not enough memory. The next call draws other voxels.
        """
        with _naming_the_device(self.device):
            return self._step(vector)

    def _step(self, vector: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Draw a batch; evaluate all groups, and go back by autograd."""
        import torch

        (draws,) = self.draws
        draws.draw()
        voxels = self._tensor(draws.coordinates.T)
        free = torch.from_numpy(vector).to(self.device).requires_grad_(True)
        features: list[torch.Tensor] = []
        loss = torch.zeros((), device=self.device)
        noted: list[torch.Tensor] = []
        for group, weights in zip(self.groups, self.architecture.views(free), strict=True):
            positions = (voxels[group.columns] + group.shift) * group.scale
            x = positions @ weights["position"][:, :3] + weights["position"][:, 3:]
            if group.parent >= 0:
                x = x + features[group.parent].flatten(0, 1)[group.places] @ weights["feature"]
            x = torch.sin(x)
            for layer in range(1, self.architecture.layers):
                x = torch.sin(x @ weights[f"hidden{layer}"] + weights[f"bias{layer}"])
            features.append(x)
            if len(group.head_rows):
                outputs = (x[group.head_rows] @ weights["head"] + weights["head_bias"])[..., 0]
                off = self._deviations(outputs, self._tensor(draws.intensity[group.points]))
                loss = loss + (off * off * self._tensor(draws.weight[group.points])).sum() / len(self.squares)
                noted.append(off.detach())
        loss.backward()  # type: ignore[no-untyped-call]
        assert free.grad is not None
        for group, off in zip([group for group in self.groups if len(group.head_rows)], noted, strict=True):
            self.squares[group.points] = np.square(off.cpu().numpy())
        draws.note(self.squares)
        return free.grad.cpu().numpy(), float(loss.detach())

    def _deviations(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return outputs less wanted values; 0 where nothing is wanted, or a decoder clips to what is wanted."""
        off = outputs - wanted
        none = off.isnan() | ((wanted <= self.low) & (off < 0)) | ((wanted >= self.high) & (off > 0))
        return off.where(~none, 0.0)
