"""Blocks between which a busy part is cut become one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.bounded.joining import join_cut_parts, tree_of_parts
from napari_tinc.octree import Octree


def volume(low: int, high: int) -> np.ndarray:
    """A ramp of 48^3 with noise in a box of it."""
    out = np.add.outer(np.add.outer(np.arange(48.0), np.arange(48.0)), np.arange(48.0))
    out[low:high, low:high, low:high] += 300 * np.random.default_rng(0).random((high - low,) * 3)
    return out


@pytest.mark.parametrize(
    ("low", "high", "joined"),
    [(14, 34, True), (2, 22, False), (26, 46, False), (2, 46, False)],
    ids=["in the middle", "in a block", "in another", "everywhere"],
)
def test_blocks_are_joined_where_a_busy_part_is_cut(low: int, high: int, joined: bool) -> None:
    values = volume(low, high)
    tree = Octree.full((48, 48, 48), 1)
    assert (join_cut_parts(tree, [lambda box: values[box]], 4.0).n_leaves == 1) == joined


def test_the_other_blocks_stay_as_they_are() -> None:
    values = np.zeros((96, 96, 96))
    values[14:34, 14:34, 14:34] = 300 * np.random.default_rng(0).random((20,) * 3)
    found = join_cut_parts(Octree.full((96, 96, 96), 2), [lambda box: values[box]], 4.0)
    assert found.n_leaves == 1 + 7 * 8
    assert (found.stop - found.start)[found.leaves].prod(axis=1).sum() == values.size
    assert found.level[found.leaves].tolist() == [1] + [2] * 56


def test_a_part_that_only_one_of_two_channels_has_is_seen() -> None:
    values, empty = volume(14, 34), np.zeros((48, 48, 48))
    tree = Octree.full((48, 48, 48), 1)
    assert join_cut_parts(tree, [lambda box: values[box], lambda box: empty[box]], 4.0).n_leaves == 1


def test_values_that_are_not_finite_join_nothing() -> None:
    values = volume(14, 34)
    values[0, 0, 0] = np.nan
    assert join_cut_parts(Octree.full((48, 48, 48), 1), [lambda box: values[box]], 4.0).n_leaves == 8


def test_the_tree_of_a_box_is_finer_where_voxels_are_left() -> None:
    left = np.zeros((64, 50, 64), bool)
    left[40:64, 0:20, 3:9] = True
    tree, n_left = tree_of_parts(left, 4096)
    voxels = np.zeros(left.shape, int)
    for start, stop, n in zip(tree.start[tree.leaves], tree.stop[tree.leaves], n_left, strict=True):
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        voxels[box] += 1
        assert left[box].sum() == n
        assert n == 0 or max(stop - start) <= 16
    assert (voxels == 1).all()
    assert ((tree.stop - tree.start)[tree.leaves].max(axis=1) >= 24).any()


def test_the_tree_of_a_box_has_no_more_leaves_than_asked_for() -> None:
    assert tree_of_parts(np.ones((64, 64, 64), bool), 64)[0].n_leaves == 64
    assert tree_of_parts(np.ones((64, 64, 64), bool), 0)[0].n_leaves == 1


@pytest.mark.parametrize("name", ["blocks-joined", "blocks-background-f4"])
def test_leaves_of_blocks_with_a_background_tile_the_volume_and_share_its_bytes(name: str) -> None:
    volume = tinc.open(Path(__file__).parents[1] / "golden" / f"{name}.tinc")
    rows = volume.leaves
    count = np.zeros(volume.shape, int)
    for row in rows:
        count[tuple(slice(a, b) for a, b in zip(row["start"], row["stop"], strict=True))] += 1
    assert (count == 1).all()
    assert len(rows) > len(volume.parts.start)
    of_networks = rows["network"] >= 0
    assert of_networks.any() and not of_networks.all()
