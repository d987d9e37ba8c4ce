"""Small trees of networks of several widths."""

from __future__ import annotations

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
