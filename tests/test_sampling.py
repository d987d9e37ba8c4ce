"""Batches cover the volume evenly at first, more where the error is later, and weigh so that sums stay true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_tinc.octree import Octree
from napari_tinc.sampling import Draws, Sampler


def drawn(sampler: Sampler, counts: int, shards: int = 2) -> list[Draws]:
    n = len(sampler.regions)
    return [Draws(sampler, np.arange(n), np.full(n, counts), 0, shard, shards) for shard in range(shards)]


@given(st.tuples(*[st.integers(1, 20)] * 3), st.integers(0, 2), st.integers(1, 9))
def test_points_lie_in_their_region_and_hold_its_intensity(shape: tuple[int, int, int], depth: int, count: int) -> None:
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    tree = Octree.full(shape, depth)
    sampler = Sampler(volume, tree, tree.leaves)
    order = np.arange(len(tree.leaves))[::-1]
    at, intensity, weight = Draws(sampler, order, np.full(len(order), count), 0, 0, 1).draw()
    voxel, node = at[:, :3].astype(int), np.repeat(tree.leaves[order], count)
    assert (voxel >= tree.start[node]).all() and (voxel < tree.stop[node]).all() and not at[:, 3].any()
    np.testing.assert_array_equal(intensity, volume[tuple(voxel.T)])
    sizes = (tree.stop - tree.start).prod(axis=1)[node]
    np.testing.assert_allclose(weight, sizes / np.mean(sizes), rtol=1e-5)  # nothing is known of errors yet


def test_one_draw_a_stratum_covers_every_voxel_once() -> None:
    tree = Octree.full((16, 16, 16), 1)
    sampler = Sampler(np.arange(4096, dtype=np.float32).reshape(16, 16, 16), tree, tree.leaves)
    seen = np.concatenate([draws.draw()[1] for draws in drawn(sampler, 256)])
    assert len(np.unique(seen)) == 4096


def test_draws_go_where_the_error_is_and_the_loss_stays_unbiased() -> None:
    tree = Octree.full((32, 32, 32), 1)
    error = np.full((32, 32, 32), 0.01, np.float32)
    error[:6, 20:, :6] = 3.0
    sampler = Sampler(error, tree, tree.leaves)  # the error stands for the intensity
    shards = drawn(sampler, 64)
    shares, losses = [], []
    for step in range(400):
        if step and step % 100 == 0:
            sampler.learn(shards)
        batches = [draws.draw() for draws in shards]
        for draws, (_, intensity, _) in zip(shards, batches, strict=True):
            draws.note(intensity)
        shares.append(np.mean([(intensity > 1).mean() for _, intensity, _ in batches]))
        losses.append(np.mean([(intensity * weight).mean() for _, intensity, weight in batches]))
    assert np.mean(shares[:100]) == pytest.approx((error > 1).mean(), rel=0.05)
    assert np.mean(shares[300:]) > 5 * np.mean(shares[:100])
    assert np.mean(losses[300:]) == pytest.approx(error.mean(), rel=0.01)
    assert np.std(losses[300:]) < np.std(losses[:100])


def test_a_volume_without_error_is_drawn_evenly() -> None:
    tree = Octree.full((8, 8, 8), 0)
    sampler = Sampler(np.zeros((8, 8, 8), np.float32), tree, tree.leaves)
    before = sampler.mass_before.copy()
    (draws,) = drawn(sampler, 10, shards=1)
    draws.note(draws.draw()[1])
    sampler.learn([draws])
    np.testing.assert_array_equal(sampler.mass_before, before)
