"""Small trees of networks of several widths, and what they compute, the slow way."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_tinc.networks.architecture import Architecture
from napari_tinc.octree import Octree


def mixed_tree(shape: tuple[int, int, int] = (12, 10, 9)) -> Octree:
    """Leaves on levels 1, 2 and 3."""
    split = np.zeros(1 + 8 + 16 + 8, bool)
    split[[0, 2, 5, 9 + 3]] = True
    return Octree.from_splits(shape, split)


def mixed(layers: int = 2) -> Architecture:
    tree = mixed_tree()
    widths = np.where(np.arange(len(tree.split)) % 3, 4, 6) + 2 * (tree.level == 0)
    return Architecture(tree, widths, layers, omega0=5.0)


def reference(architecture: Architecture, vector: Any, points: Any) -> Any:
    """Outputs at voxel coordinates (n, 3), the slow and obvious way."""
    import torch

    octree, views = architecture.octree, architecture.views(vector)
    outputs = [None] * len(points)
    for leaf in octree.leaves:
        inside = (
            (points >= torch.from_numpy(octree.start[leaf])) & (points < torch.from_numpy(octree.stop[leaf]))
        ).all(1)
        chosen = torch.nonzero(inside)[:, 0]
        x = None
        for node in octree.path(leaf):
            index = next(i for i, group in enumerate(architecture.groups) if node in group.nodes)
            group, weights = architecture.groups[index], views[index]
            row = int(np.searchsorted(group.nodes, node))
            position = (points[chosen] - torch.from_numpy(architecture.centre(node))) * architecture.scale[group.level]
            position = torch.cat([position, torch.ones(len(chosen), 1)], 1).float()
            inputs = position @ weights["position"][row]
            if x is not None:
                inputs = inputs + x @ weights["feature"][row]
            x = torch.sin(inputs)
            for layer in range(1, architecture.layers):
                x = torch.sin(x @ weights[f"hidden{layer}"][row] + weights[f"bias{layer}"][row])
        leaf_row = int(np.searchsorted(group.head_rows, row))
        values = (x @ weights["head"][leaf_row] + weights["head_bias"][leaf_row])[:, 0]
        for i, value in zip(chosen.tolist(), values, strict=True):
            outputs[i] = value
    return torch.stack(outputs)  # type: ignore[arg-type]
