"""A shard: the share of every batch that one thread or one GPU has, with its voxels, loss and gradient.

Every array is a buffer that is made once. The points of a node are next to each other at all levels: what a level's
parents return is what its children take, after a reshape.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..networks.architecture import Architecture, Array, Weights
from .gradient import Buffers, backpropagate_nodes, evaluate_heads, evaluate_nodes
from .sampling import Draws, Sampler

if TYPE_CHECKING:
    import torch


class Shard:
    """The share of every batch on one thread: its random points, buffers and gradient.

    Parameters
    ----------
    sampler : chooses the voxels.
    batch : voxels of a share.
    seed : with ``shard``, the seed of its random numbers.
    shard, shards : number of this share, and of all.
    """

    def __init__(
        self, sampler: Sampler, architecture: Architecture, batch: int, device: torch.device,
        seed: tuple[int, ...], shard: int, shards: int,
    ) -> None:  # fmt: skip
        import torch

        self.architecture, self.device = architecture, device
        octree = architecture.octree
        siblings = {group.level: len(group.siblings) for group in architecture.groups}
        below = [math.prod(siblings[finer] for finer in siblings if finer > level) for level in siblings]
        points = [max(1, batch // below[0]) * n for n in below]  # for each node of a level
        # Points stand in depth-first order, so that those of a node are contiguous at every level.
        first = np.zeros(len(octree.split), np.int64)
        for index, group in enumerate(architecture.groups):
            if group.level:
                rows = self.rows_of(index)
                parents = architecture.groups[group.parent].nodes[rows // len(group.siblings)]
                first[group.nodes] = first[parents] + rows % len(group.siblings) * points[group.level]
        heads = architecture.heads
        order = np.argsort(first[heads])
        counts = np.array(points)[octree.level[heads[order]]]
        self.draws = Draws(sampler, order, counts, seed, shard, shards)
        drawn = np.concatenate([start + np.arange(n) for start, n in zip(first[heads[order]], counts, strict=True)])
        # Places in a batch of the points drawn. Some stay empty, if a node has children without a network.
        self.places = None if len(drawn) == points[0] else torch.from_numpy(drawn).to(device)
        self.voxels = torch.zeros((points[0], 4), device=device)
        self.low, self.high = float(np.nanmin(sampler.volume)), float(np.nanmax(sampler.volume))
        self.errors = np.empty(counts.sum(), np.float32)
        self.buffers = Buffers(torch, device=device)
        self.gradient = torch.zeros(architecture.n_parameters, device=device)
        self.gradients = architecture.views(self.gradient)

        def to_device(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)

        # A group's positions from its parent group's: u_child = u * ratio + shift.
        self.position_maps: list[tuple[torch.Tensor, torch.Tensor]] = []
        for group in architecture.groups:
            scale, above = architecture.scale[group.level], architecture.scale[max(group.level - 1, 0)]
            shift = np.zeros((len(group.nodes), 1, 4))
            shift[:, 0, 3] = 1
            if group.level:
                from_parent = architecture.centre(octree.parent[group.nodes]) - architecture.centre(group.nodes)
                shift[:, 0, :3] = from_parent * scale
            else:
                shift[:, 0, :3] = (0.5 - architecture.centre(group.nodes)) * scale
                above = 1.0
            ratio = np.array([scale / above] * 3 + [0.0])
            self.position_maps.append((to_device(ratio), to_device(shift)))
        self.rows = [
            None if group.rows is None else torch.from_numpy(group.rows).to(device) for group in architecture.groups
        ]
        self.head_rows = [torch.from_numpy(group.head_rows).to(device) for group in architecture.groups]
        # For each group, the points drawn that its heads are trained at, (heads, points).
        begins = np.searchsorted(drawn, first)
        self.points = [
            begins[group.nodes[group.head_rows], None] + np.arange(points[group.level]) for group in architecture.groups
        ]

    def rows_of(self, index: int) -> NDArray[np.int64]:
        """Return the rows of a group among the children of its parent group."""
        group = self.architecture.groups[index]
        return np.arange(len(group.nodes)) if group.rows is None else group.rows

    def route(self, x: torch.Tensor, index: int) -> torch.Tensor:
        """Return values at the parent group's points, (n, m, k), as the children in a group take them."""
        group = self.architecture.groups[index]
        children = len(group.siblings)
        x = x.reshape(x.shape[0] * children, x.shape[1] // children, x.shape[2])
        rows = self.rows[index]
        return x if rows is None else x[rows]

    def step(self, weights: list[Weights]) -> float:
        """Return the loss of one batch, and put its gradient into ``self.gradient``."""
        import torch

        groups = self.architecture.groups
        at, intensity, weight = self.draws.draw()
        voxel = torch.from_numpy(at).to(self.device)[None]
        if self.places is not None:
            self.voxels[self.places] = voxel[0]
            voxel = self.voxels[None]
        positions: list[Array] = []
        features: list[Array] = []
        inputs: list[Array] = []
        above: dict[int, Array] = {}
        loss, count = 0.0, len(intensity)
        for index, group in enumerate(groups):
            ratio, shift = self.position_maps[index]
            source = voxel if group.parent < 0 else self.route(positions[group.parent], index)
            out = self.buffers((index, "position"), (*source.shape[:2], 4))
            positions.append(torch.addcmul(shift, source, ratio, out=out))
            inputs.append(None if group.parent < 0 else self.route(features[group.parent], index))
            x = evaluate_nodes(torch, weights[index], out, inputs[index], self.buffers, index)
            features.append(x)
            if len(group.head_rows):
                whole = len(group.head_rows) == len(group.nodes)
                rows = slice(None) if whole else self.head_rows[index]
                x = x[rows]
                outputs = evaluate_heads(torch, weights[index], x, self.buffers, index)
                points = self.points[index]
                errors = self.deviations(outputs.cpu().numpy()[..., 0], intensity[points])
                squares = errors * errors
                self.errors[points] = squares
                loss += float((squares * weight[points]).sum())
                errors *= weight[points] * np.float32(2 / count)
                y = torch.from_numpy(errors[..., None]).to(self.device)
                into = self.gradients[index]
                torch.matmul(x.transpose(1, 2), y, out=into["head"])
                torch.sum(y, 1, keepdim=True, out=into["head_bias"])
                back = y * weights[index]["head"].transpose(1, 2)
                if whole:
                    above[index] = back
                else:
                    above[index] = torch.zeros_like(features[index])
                    above[index][rows] = back
        self.draws.note(self.errors)
        for index in reversed(range(len(groups))):
            group = groups[index]
            back = backpropagate_nodes(
                torch, weights[index], self.gradients[index], positions[index], inputs[index], above.pop(index),
                self.buffers, index,
            )  # fmt: skip
            if back is None:
                continue
            shape = features[group.parent].shape
            if self.rows[index] is None:
                above[group.parent] = back.reshape(shape)
            else:
                if group.parent not in above:
                    above[group.parent] = torch.zeros(shape, device=back.device)
                above[group.parent].view(-1, *back.shape[1:])[self.rows[index]] = back
        return loss / count

    def deviations(self, outputs: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return outputs less wanted values; 0 if a decoder clips an output to the end of the range that is wanted.

        And 0 where nothing is wanted.
        """
        off = np.nan_to_num(outputs - wanted)  # 0 where the background is
        off[((wanted <= self.low) & (off < 0)) | ((wanted >= self.high) & (off > 0))] = 0
        return off
