"""Leaves as arrays, wireframes, colours and rows of a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import octrees
from volumes import small_array, small_volume

from napari_tinc.decoding.leaf_table import LEAF_FIELDS
from napari_tinc.octree import Octree
from napari_tinc.plugin.compare.original import measure_leaves
from napari_tinc.plugin.leaves.columns import table_columns
from napari_tinc.plugin.leaves.maps import LeafMap, shade_numbers, value_limits, wireframes


def leaf_map(octree: Octree, values: np.ndarray) -> LeafMap:
    rows = np.zeros(len(octree.leaves), LEAF_FIELDS)
    rows["start"], rows["stop"] = octree.start[octree.leaves], octree.stop[octree.leaves]
    return LeafMap(octree.shape, rows, values)


def painted(octree: Octree) -> np.ndarray:
    """Which leaf every voxel is in, one box after the other."""
    out = np.zeros(octree.shape, np.int32)
    for index, leaf in enumerate(octree.leaves):
        out[tuple(map(slice, octree.start[leaf], octree.stop[leaf]))] = index + 1
    return out


@given(octrees(), st.data())
def test_a_map_is_its_leaves_painted_wherever_it_is_looked_at(octree: Octree, data: st.DataObject) -> None:
    ids = leaf_map(octree, np.arange(1, len(octree.leaves) + 1, dtype=np.int32)).whole
    expected = painted(octree)
    np.testing.assert_array_equal(ids, expected)
    index = tuple(
        data.draw(st.one_of(st.integers(0, n - 1), st.slices(n)).filter(lambda i: i != slice(0, 0, 0)))
        for n in octree.shape
    )
    np.testing.assert_array_equal(ids[index], expected[index])


def test_coarser_levels_show_the_leaf_in_the_middle_of_their_cells() -> None:
    octree = Octree.full((16, 12, 20), 2)
    levels = leaf_map(octree, np.arange(64, dtype=np.float32)).levels(100)
    assert [level.shape for level in levels] == [(16, 12, 20), (8, 6, 10), (4, 3, 5)]
    np.testing.assert_array_equal(levels[1], painted(octree)[1::2, 1::2, 1::2] - 1)


def test_a_wireframe_joins_the_centres_of_outer_voxels() -> None:
    edges = wireframes(np.array([[0, 0, 0], [2, 0, 4]]), np.array([[2, 3, 4], [4, 3, 8]]))
    assert edges.shape == (24, 2, 3)
    ends = np.concatenate([edges[:12, 0], edges[:12, 0] + edges[:12, 1]])
    np.testing.assert_array_equal([ends.min(axis=0), ends.max(axis=0)], [[0, 0, 0], [1, 2, 3]])
    assert (np.count_nonzero(edges[:, 1], axis=1) == 1).all()  # along one axis each
    assert len(np.unique(np.concatenate([edges[12:, 0], edges[12:, 0] + edges[12:, 1]]), axis=0)) == 8


def test_shades_reach_from_end_to_end_and_unknown_values_have_their_own() -> None:
    values = np.array([1.0, 3.0, 2.0, np.nan, np.inf])
    assert value_limits(values) == (1, 3)
    assert shade_numbers(values, (1, 3)).tolist() == [0, 255, 128, -1, -1]
    assert value_limits(np.array([5.0, 5])) == (4.5, 5.5) and value_limits(np.array([np.nan])) == (0, 1)


def test_the_table_has_a_row_for_the_outside_and_one_a_leaf() -> None:
    volume = small_volume()
    rows = measure_leaves(volume, np.asarray(volume), small_array())
    columns = table_columns(rows, rows)
    assert {len(values) for values in columns.values()} == {len(volume.leaves) + 1}
    assert columns["leaf"].tolist() == list(range(len(volume.leaves) + 1))
    assert columns["z, y, x"][1] == "0,0,0"
    np.testing.assert_allclose(columns["bytes"][1:], volume.leaves["bytes"], atol=0.5)
    assert columns["bytes"].dtype.kind == "i"  # or napari's status bar tells 2437 as 2.44e+03
    assert (columns["calibration gave (dB)"][1:] == 0).all()


def test_measured_errors_are_those_of_each_leaf() -> None:
    volume, original = small_volume(), small_array()
    values = np.asarray(volume)
    rows = measure_leaves(volume, values, original)
    row = rows[3]
    box = tuple(map(slice, row["start"], row["stop"]))
    off = values[box].astype(float) - original[box]
    assert row["rmse"] == pytest.approx(np.sqrt((off**2).mean()))
    assert row["max_error"] == np.abs(off).max()
    assert row["psnr"] == pytest.approx(20 * np.log10(np.ptp(original) / row["rmse"]))
