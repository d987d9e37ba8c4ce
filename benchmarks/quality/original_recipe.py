"""The original TINC recipe, to be measured against; run by against_original.py and rate_distortion.py.

Written from a description of the public code of TINC (CVPR 2023, arXiv 2211.06689), not from the code. Kept from it:

- all leaves see the same leaf-local coordinates, [-1, 1] an axis, so an inner node is evaluated once a coordinate,
  for all leaves below it;
- a Python recursion over the nodes, a small matrix product for each; full trees; sizes divisible by 2^(levels - 1);
- sin(30 (xW + b)) in every layer, SIREN initialisation (arXiv 2006.09661), a linear head at the leaves;
- Adamax at 1e-3 with cosine decay over the run, mean squared error, intensities scaled to 0..100, torch autograd;
- a step of 65,536 voxels: random coordinates, as many as all leaves together make of it;
- float32 weights of 4 bytes, with nothing added for a container, so that the budget gives the number of parameters.

Chosen here, where the description is silent: two layers a node (as ours); the same width for all nodes, the largest
that the budget pays for; biases as torch.nn.Linear makes them; outputs clipped to the range of the volume.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

OMEGA0 = 30.0
LAYERS = 2
LEARNING_RATE = 1e-3
BATCH = 65536  # voxels a step
SCALE = 100.0  # intensities are 0..SCALE


class Look(NamedTuple):
    """The state of a run: seconds of training so far, PSNR (dB) of the whole volume, optimiser steps, and that volume
    as it is decoded, in so many seconds.
    """

    seconds: float
    psnr: float
    steps: int
    values: NDArray[Any]
    decode_seconds: float


class Node(torch.nn.Module):
    """A sine MLP and the nodes below it."""

    def __init__(self, fan_in: int, width: int, levels: int, *, root: bool = True) -> None:
        super().__init__()
        sizes = [fan_in] + [width] * LAYERS
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = torch.nn.Linear(width, 1) if levels == 1 else None
        below = 8 if levels > 1 else 0
        self.below = torch.nn.ModuleList(Node(width, width, levels - 1, root=False) for _ in range(below))
        for layer in [*self.layers, self.head] if self.head else self.layers:
            first = root and layer is self.layers[0]
            bound = 1 / layer.in_features if first else math.sqrt(6 / layer.in_features) / OMEGA0
            torch.nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Outputs (n, 1) of every leaf below, in Morton order, at n coordinates."""
        for layer in self.layers:
            x = torch.sin(OMEGA0 * layer(x))
        if self.head is not None:
            return [self.head(x)]
        return [y for node in self.below for y in node(x)]


def count_parameters(width: int, levels: int) -> int:
    """Weights and biases of a full tree of ``levels`` levels, the root's included."""
    n_nodes, n_leaves = (8**levels - 1) // 7, 8 ** (levels - 1)
    return 4 * width + (LAYERS * n_nodes - 1) * (width + 1) * width + n_leaves * (width + 1)


def widest(nbytes: int, levels: int) -> int:
    """The largest width whose float32 parameters fit ``nbytes``."""
    width = 0
    while 4 * count_parameters(width + 1, levels) <= nbytes:
        width += 1
    if not width:
        raise ValueError(f"{nbytes} bytes do not pay for a tree of {levels} levels")
    return width


def cut(volume: NDArray[Any], depth: int) -> list[NDArray[Any]]:
    """The leaves of a full octree as views of the volume, in Morton order."""
    parts = [volume]
    if depth:
        for axis in range(3):
            parts = [half for part in parts for half in np.split(part, 2, axis)]
        parts = [leaf for part in parts for leaf in cut(part, depth - 1)]
    return parts


def train(
    volume: NDArray[Any], nbytes: int, seconds: float, levels: int = 2, times: Sequence[float] = (), seed: int = 0
) -> Iterator[Look]:
    """Fit for ``seconds`` of training; looks at the volume at ``times`` and at the end.

    The clock runs from the first step on, and stands still during a look.

    Raises
    ------
    ValueError
        If the shape is not divisible by 2^(levels - 1), or the budget too small.
    """
    if any(n % 2 ** (levels - 1) for n in volume.shape):
        raise ValueError(f"shape {volume.shape} is not divisible by {2 ** (levels - 1)}")
    torch.manual_seed(seed)
    leaves = cut(volume, levels - 1)
    axes = [torch.linspace(-1, 1, n) for n in leaves[0].shape]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    low, span = float(volume.min()), float(volume.max()) - float(volume.min())
    scaled = [(leaf.reshape(-1).astype(np.float64) - low) * (SCALE / span) for leaf in leaves]
    targets = torch.from_numpy(np.stack(scaled, 1).astype(np.float32))  # (coordinates, leaves)
    tree = Node(3, widest(nbytes, levels), levels)
    optimizer = torch.optim.Adamax(tree.parameters(), LEARNING_RATE)
    began, steps = time.perf_counter(), 0
    for until in [*sorted(t for t in set(times) if t < seconds), seconds]:
        while (now := time.perf_counter() - began) < until:
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * now / seconds))
            index = torch.randint(len(coordinates), (max(1, BATCH // len(leaves)),))
            loss = torch.nn.functional.mse_loss(torch.cat(tree(coordinates[index]), 1), targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
        stopped = time.perf_counter()
        values = decode(tree, coordinates, volume, levels)
        yield Look(now, psnr(volume, values), steps, values, time.perf_counter() - stopped)
        began += time.perf_counter() - stopped


@torch.no_grad()
def decode(tree: Node, coordinates: torch.Tensor, like: NDArray[Any], levels: int) -> NDArray[Any]:
    """The volume that the tree stands for, of the shape, range and dtype of ``like``."""
    parts = [torch.cat(tree(some), 1) for some in coordinates.split(16384)]
    low, high = float(like.min()), float(like.max())
    values = np.clip(torch.cat(parts).numpy().astype(np.float64) * ((high - low) / SCALE) + low, low, high)
    out = np.empty(like.shape, like.dtype)
    for column, leaf in zip(values.T, cut(out, levels - 1), strict=True):
        leaf[:] = (np.rint(column) if like.dtype.kind in "iu" else column).reshape(leaf.shape)
    return out


def psnr(original: NDArray[Any], reconstruction: NDArray[Any]) -> float:
    """10 log10(range^2 / MSE) in dB, range = max - min of the original."""
    span = float(original.max()) - float(original.min())
    return 10 * math.log10(span**2 / np.mean((original.astype(np.float64) - reconstruction) ** 2))
