"""What is shown of blocks before they are decoded, and of pairs of volumes: arrays, without a window."""

from __future__ import annotations

import numpy as np
from sliced_volumes import SHAPE, array, blocks, few

import napari_tinc as tinc
from napari_tinc.control import never
from napari_tinc.decoding import bounded_box as decoding_bounded_box
from napari_tinc.decoding.lazy_array import LazyArray
from napari_tinc.plugin.compare import lazy_pairs
from napari_tinc.plugin.compare.lazy_pairs import Curtain, Difference
from napari_tinc.plugin.layers import display, drawing


def test_lazy_pairs_are_arrays() -> None:
    right = np.asarray(blocks()).astype(float) - array()
    levels = Difference(array(), blocks()).levels(8192)
    assert [level.shape for level in levels] == [(64, 32, 32), (32, 16, 16)]
    np.testing.assert_array_equal(levels[0], right)
    np.testing.assert_array_equal(levels[1][3:9], right[::2, ::2, ::2][3:9])
    np.testing.assert_array_equal(levels[0][5, 7:30:3], right[5, 7:30:3])
    curtain = Curtain(array(), blocks())
    for axis, place in ((0, 64), (1, 20), (2, 0)):
        curtain.axis, curtain.place = axis, place
        side = np.arange(SHAPE[axis]).reshape([-1 if at == axis else 1 for at in range(3)]) < place
        whole = np.where(side, array(), np.asarray(blocks()))
        if axis == 1:
            whole[:, place] = blocks().value_range[1]
        np.testing.assert_array_equal(curtain.levels(10**9)[0], whole)


def test_only_lazy_volumes_are_refined() -> None:
    assert drawing.refinable(np.zeros((4, 4, 4))) is None and drawing.refinable([]) is None
    assert drawing.refinable(LazyArray(lazy_pairs.seen(few()), 1, (range(2),) * 3)) is not None


def test_blocks_without_an_overview_are_sketched() -> None:
    seen = display.DisplayVolume(tinc.TincVolume(few().parts.data()), 10**7, print)
    ranges = (range(40, 41), range(32), range(32))
    assert np.ptp(seen.quick(1, ranges)) == 0
    (piece,) = seen.sketches(1, ranges)
    sketch = seen.sketch(1, piece.ranges, never)
    eighth = np.arange(32) // 8 * 8
    np.testing.assert_array_equal(sketch[0], np.asarray(few())[40][np.ix_(eighth, eighth)])
    np.testing.assert_array_equal(seen.quick(1, ranges), sketch)
    assert not any(part.decoded for part in (seen.parts.at_hand(0, box) for box in (0, 1)) if part is not None)


def test_a_sketch_has_every_eighth_voxel() -> None:
    part = few().parts.part(0, 0)
    assert isinstance(part, decoding_bounded_box.BoundedBox)
    fresh = decoding_bounded_box.BoundedBox(part.data, part.shape, part.dtype, part.crc)
    fresh.make_sketch()
    assert not fresh.decoded
    np.testing.assert_array_equal(fresh.sketch, part.array[::8, ::8, ::8])
