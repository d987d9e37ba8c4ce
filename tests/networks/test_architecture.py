"""NumPy against torch, and trees of mixed depths and widths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from architectures import mixed, reference

from napari_tinc.format.widths import INHERITS, SCALAR
from napari_tinc.networks import path, tile_buffers
from napari_tinc.networks.architecture import Architecture
from napari_tinc.networks.evaluate import Network
from napari_tinc.networks.values import Scale
from napari_tinc.octree import Octree


def test_a_network_is_evaluated_as_the_formula_says() -> None:
    architecture = mixed()
    vector = architecture.initial(2)
    n_leaves = len(architecture.octree.leaves)
    network = Network(architecture, vector, np.ones(n_leaves), np.zeros(n_leaves))
    grid = [np.arange(n) + 0.5 for n in architecture.octree.shape]
    by_numpy = network.on_grid(grid)
    points = np.stack(np.meshgrid(*grid, indexing="ij"), -1).reshape(-1, 3)
    slow = reference(architecture, torch.from_numpy(vector), torch.from_numpy(points))
    np.testing.assert_allclose(by_numpy.ravel(), slow.numpy(), atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 10, 9), (12, 1, 9), (12, 10, 1), (1, 1, 9), (5, 1, 1), (1, 1, 1)])
def test_thin_grids_in_small_tiles_have_the_values_of_the_slow_way(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "TILE", 4)
    architecture = mixed(3)
    vector = architecture.initial(4)
    n_leaves = len(architecture.octree.leaves)
    network = Network(architecture, vector, np.ones(n_leaves), np.zeros(n_leaves))
    grid = [np.arange(n) + 0.4 for n in shape]
    points = np.stack(np.meshgrid(*grid, indexing="ij"), -1).reshape(-1, 3)
    slow = reference(architecture, torch.from_numpy(vector), torch.from_numpy(points)).numpy().reshape(shape)
    np.testing.assert_allclose(network.on_grid(grid), slow, atol=2e-5)
    values = network.on_grid(grid, dtype=np.float64, scale=Scale(3.0, 2.0, 2.5, 3.5, is_whole=False))
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, np.clip(2 * slow + 3, 2.5, 3.5), atol=4e-5)


@pytest.mark.parametrize("width", [1, 7, 32, 48, 96, 160, 256])
def test_no_product_is_so_large_that_the_blas_takes_threads_of_its_own(width: int) -> None:
    for count in (1, 9, 1000, 4096):
        points = tile_buffers.points_at_once(count, width * (width + 1))
        rows = tile_buffers.rows_at_once(width, width + 1, points)
        assert rows * (width + 1) * points <= 2**18
        assert points % 8 == 0
        assert -(-count // points) * points <= max(8, 1.05 * count + 8)


def test_a_part_of_the_grid_is_the_part_of_the_whole(rng: np.random.Generator) -> None:
    architecture = mixed()
    n_leaves = len(architecture.octree.leaves)
    gain, offset = rng.normal(1, 0.1, n_leaves), rng.normal(0, 0.1, n_leaves)
    network = Network(architecture, architecture.initial(2), gain, offset)
    grid = [np.arange(n) + 0.5 for n in architecture.octree.shape]
    whole = network.on_grid(grid)
    part = network.on_grid([grid[0][3:9:2], grid[1][4:5], grid[2][1:]])
    np.testing.assert_allclose(part, whole[3:9:2, 4:5, 1:], atol=1e-5)
    assert network.on_grid([grid[0][:0], grid[1], grid[2]]).shape == (0, 10, 9)
    np.testing.assert_array_equal(network.on_grid(grid, threads=1), network.on_grid(grid, threads=3))


def test_calibrating_afterwards_is_what_a_calibrated_network_gives(rng: np.random.Generator) -> None:
    tree = Octree.from_splits((12, 10, 9), np.arange(1 + 8 + 8) < 2)
    widths = np.array([5, 5, 5, SCALAR, *[5] * 5, *[INHERITS, SCALAR] * 4])
    architecture = Architecture(tree, widths, 2, omega0=5.0)
    gain, offset = rng.normal(1, 0.1, len(tree.leaves)), rng.normal(0, 0.1, len(tree.leaves))
    scalar = widths[tree.leaves] == SCALAR
    assert scalar.any() and not scalar.all()
    vector, grid = architecture.initial(2), [np.arange(n) + 0.5 for n in tree.shape]
    plain = Network(architecture, vector, np.ones(len(gain)), np.where(scalar, offset, 0))
    outputs = plain.on_grid(grid)
    calibrated = Network(architecture, vector, gain, offset)
    calibrated.calibrate(outputs)
    np.testing.assert_array_equal(outputs, calibrated.on_grid(grid))


def test_views_cover_the_vector_exactly() -> None:
    architecture = mixed(3)
    vector = np.zeros(architecture.n_parameters, np.float32)
    for weights in architecture.views(vector):
        for value in weights.values():
            value += 1
    assert (vector == 1).all()
