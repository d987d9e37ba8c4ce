"""Boxes tile any volume; split flags close a tree or are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import octrees

from napari_tinc.octree import MAX_DEPTH, Octree, child_offsets, split_counts

small_shapes = st.tuples(*[st.integers(1, 12)] * 3)


@given(octrees())
def test_leaves_tile_the_volume_exactly(tree: Octree) -> None:
    leaves = tree.leaves
    edges = tree.stop[leaves] - tree.start[leaves]
    assert (edges >= 1).all()
    assert sum(int(np.prod([int(e) for e in edge])) for edge in edges) == np.prod([int(n) for n in tree.shape])
    # Disjoint: along some axis every two leaves are apart.
    for i, leaf in enumerate(leaves[:40]):
        others = leaves[i + 1 :]
        apart = (tree.stop[others] <= tree.start[leaf]) | (tree.start[others] >= tree.stop[leaf])
        assert apart.any(axis=1).all()


@given(small_shapes, st.integers(0, MAX_DEPTH))
def test_a_full_tree_has_its_leaves_on_one_level(shape: tuple[int, int, int], depth: int) -> None:
    tree = Octree.full(shape, depth)
    painted = np.zeros(shape, int)
    for start, stop in zip(tree.start[tree.leaves], tree.stop[tree.leaves], strict=True):
        painted[tuple(map(slice, start, stop))] += 1
    assert (painted == 1).all()
    assert set(tree.level[tree.leaves].tolist()) == {tree.depth}
    assert tree.depth <= depth
    edges = tree.stop - tree.start
    for level in range(tree.depth + 1):
        of_level = edges[tree.level == level]
        assert (np.ptp(of_level, axis=0) <= 1).all()


@given(octrees())
def test_children_tile_their_parent_in_morton_order(tree: Octree) -> None:
    for node in np.flatnonzero(tree.split)[:20]:
        children = np.flatnonzero(tree.parent == node)
        level = int(tree.level[node])
        assert len(children) == tree.children_per_node(level)
        assert (np.diff(children) == 1).all()
        doubled = tree.cell[node] << (tree.counts[level + 1] - tree.counts[level])
        np.testing.assert_array_equal(tree.cell[children] - doubled, child_offsets(tree.counts, level))
        assert (tree.start[children].min(axis=0) == tree.start[node]).all()
        assert (tree.stop[children].max(axis=0) == tree.stop[node]).all()


@given(octrees())
def test_split_flags_say_everything(tree: Octree) -> None:
    again = Octree.from_splits(tree.shape, tree.split)
    np.testing.assert_array_equal(again.cell, tree.cell)
    np.testing.assert_array_equal(again.parent, tree.parent)


def test_thin_stacks_are_cut_across_their_long_axes_first() -> None:
    assert split_counts((60, 256, 256), 3).tolist() == [[0, 0, 0], [0, 1, 1], [0, 2, 2], [1, 3, 3]]
    assert split_counts((1, 1, 1), 2).tolist() == [[0, 0, 0]] * 3


def test_paths() -> None:
    tree = Octree.full((8, 8, 8), 2)
    assert tree.path(0) == [0]
    assert tree.path(72) == [0, 8, 72]


@pytest.mark.parametrize(
    ("shape", "split", "message"),
    [
        ((8, 8, 8), [], "0 nodes, expected 1 to"),
        ((8, 8, 8), [True], "does not close: 1 nodes stored, at least 9 needed"),
        ((8, 8, 8), [False, False], "does not close: 2 nodes stored, 1 needed"),
        ((1, 1, 1), [True, False], "has no axis left"),
        ((2, 1, 1), [True, True, False, False, False], "has no axis left"),
    ],
)
def test_flags_that_are_no_tree_are_refused(shape: tuple[int, int, int], split: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Octree.from_splits(shape, np.array(split, bool))
