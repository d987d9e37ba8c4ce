"""Batches cover the volume evenly at first, more where the error is later, and weigh so that sums stay true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_tinc.octree import Octree
from napari_tinc.training.sampling import Draws, Sampler


def drawn(sampler: Sampler, counts: int, shards: int = 2) -> list[Draws]:
    n = sampler.n_regions
    return [Draws(sampler, np.arange(n), np.full(n, counts), (0,), shard, shards) for shard in range(shards)]


def signs(shape: tuple[int, int, int]) -> np.ndarray:
    """A volume whose squares are alike everywhere, so that it is drawn evenly at first."""
    return np.where(np.random.default_rng(0).random(shape) < 0.5, -1, 1).astype(np.float32)


@given(st.tuples(*[st.integers(1, 20)] * 3), st.integers(0, 2), st.integers(1, 9))
def test_points_lie_in_their_region_and_hold_its_intensity(shape: tuple[int, int, int], depth: int, count: int) -> None:
    volume = signs(shape)
    tree = Octree.full(shape, depth)
    sampler = Sampler(volume, tree, np.arange(len(tree.leaves)))
    order = np.arange(len(tree.leaves))[::-1]
    draws = Draws(sampler, order, np.full(len(order), count), (0,), 0, 1)
    draws.draw()
    voxel, node = draws.coordinates.T.astype(int), np.repeat(tree.leaves[order], count)
    assert (voxel >= tree.start[node]).all() and (voxel < tree.stop[node]).all()
    np.testing.assert_array_equal(draws.intensity, volume[tuple(voxel.T)])
    sizes = (tree.stop - tree.start).prod(axis=1)[node]
    np.testing.assert_allclose(draws.weight, sizes / np.mean(sizes), rtol=1e-5)


def test_one_draw_a_stratum_covers_every_voxel_once() -> None:
    tree = Octree.full((16, 16, 16), 1)
    sampler = Sampler(signs((16, 16, 16)), tree, np.arange(8))
    shares = drawn(sampler, 256)
    for draws in shares:
        draws.draw()
    seen = np.concatenate([draws.coordinates.T for draws in shares])
    assert len(np.unique(seen, axis=0)) == 4096


def test_leaves_of_one_region_are_drawn_as_one_and_others_never() -> None:
    tree = Octree.full((16, 16, 16), 1)
    sampler = Sampler(signs((16, 16, 16)), tree, np.array([0, -1, 0, -1, 1, -1, 0, -1]))
    draws = Draws(sampler, np.array([1, 0]), np.array([100, 100]), (0,), 0, 1)
    draws.draw()
    at, weight = draws.coordinates.T, draws.weight
    assert (at[:, 2] < 8).all() and (at[:100, 0] >= 8).all() and (at[:100, 1] < 8).all()
    np.testing.assert_allclose(weight[[0, -1]], [200 / 100 / 8, 3 * 200 / 100 / 8], rtol=1e-6)


@pytest.mark.parametrize("known", [False, True])
def test_draws_go_where_the_error_is_and_the_loss_stays_unbiased(known: bool) -> None:
    tree = Octree.full((32, 32, 32), 1)
    error = np.full((32, 32, 32), 0.01, np.float32)
    error[:6, 20:, :6] = 3.0
    volume = np.sqrt(error) if known else signs(error.shape)  # at first the error is what the volume has of itself
    sampler = Sampler(volume, tree, np.arange(8))
    shards = drawn(sampler, 64)
    shares, losses = [], []
    for step in range(400):
        if step and step % 100 == 0:
            sampler.learn(shards)
        share, loss = 0.0, 0.0
        for draws in shards:
            draws.draw()
            errors, weight = error[tuple(draws.coordinates.astype(int))], draws.weight
            draws.note(errors)
            share, loss = share + (errors > 1).mean() / 2, loss + (errors * weight).mean() / 2
        shares.append(share)
        losses.append(loss)
    even = (error > 1).mean()
    assert (np.mean(shares[:100]) > 4 * even) if known else (np.mean(shares[:100]) == pytest.approx(even, rel=0.05))
    assert np.mean(shares[300:]) > 4 * even
    assert np.mean(losses[300:]) == pytest.approx(error.mean(), rel=0.01)
    assert known or np.std(losses[300:]) < np.std(losses[:100])


def test_a_volume_without_error_is_drawn_evenly() -> None:
    tree = Octree.full((8, 8, 8), 0)
    sampler = Sampler(np.zeros((8, 8, 8), np.float32), tree, np.arange(len(tree.leaves)))
    before = sampler.mass_before.copy()
    (draws,) = drawn(sampler, 10, shards=1)
    draws.draw()
    draws.note(draws.intensity)
    sampler.learn([draws])
    np.testing.assert_array_equal(sampler.mass_before, before)


def test_points_of_regions_stand_in_their_columns() -> None:
    tree = Octree.full((8, 8, 8), 1)
    sampler = Sampler(signs((8, 8, 8)), tree, np.arange(8))
    counts, begins = np.full(8, 3), 16 * np.arange(8)
    draws = Draws(sampler, np.arange(8), counts, (0,), 0, 1, begins, 128)
    draws.draw()
    close = Draws(sampler, np.arange(8), counts, (0,), 0, 1)
    close.draw()
    columns = (begins[:, None] + np.arange(3)).ravel()
    np.testing.assert_array_equal(draws.coordinates[:, columns], close.coordinates)
    assert not np.delete(draws.coordinates, columns, axis=1).any()
