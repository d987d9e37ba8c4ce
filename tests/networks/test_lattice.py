"""Decoding on a lattice: any access gives the values of the whole, close to the exact ones; the next slice is cheap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from architectures import mixed
from hypothesis import given
from hypothesis import strategies as st

from napari_tinc.decoding.cache import LatticePlanes
from napari_tinc.networks import evaluate, lattice, path
from napari_tinc.networks.architecture import Architecture
from napari_tinc.networks.compiled_code import COMPILED_CODE
from napari_tinc.networks.evaluate import Network
from napari_tinc.networks.lattice import Run, runs_of
from napari_tinc.octree import Octree

SHAPE = (21, 34, 27)
LATTICES = [(1, 0, 0), (2, 1, 0), (3, 2, 1), (4, 4, 0), (3, 3, 3), (6, 4, 2)]
NETWORKS: dict[tuple[int, ...], tuple[Network, np.ndarray]] = {}


@pytest.fixture(autouse=True, scope="module")
def by_numpy() -> Iterator[None]:
    """Evaluate by NumPy, whatever was read before: test_compiled_path.py compares compiled code with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: False)
        yield


def smooth(of: tuple[int, ...], shape: tuple[int, int, int] = SHAPE, depth: int = 1, seed: int = 3) -> Network:
    """A network whose features hardly change from voxel to voxel."""
    tree = Octree.full(shape, depth)
    architecture = Architecture(tree, np.array([9, 6, 5])[tree.level], 3, 2.0, of)
    numbers = np.random.default_rng(seed).normal(1, 0.05, (2, tree.n_leaves))
    return Network(architecture, 0.6 * architecture.initial(seed), numbers[0], numbers[1])


def voxels(shape: tuple[int, ...] = SHAPE) -> list[np.ndarray]:
    return [np.arange(n) + 0.5 for n in shape]


def whole(of: tuple[int, ...]) -> tuple[Network, np.ndarray]:
    if of not in NETWORKS:
        network = smooth(of)
        NETWORKS[of] = network, network.on_grid(voxels())
    return NETWORKS[of]


def parts(n: int) -> st.SearchStrategy[Any]:
    """Slices that meet at least one voxel, with any step."""
    return st.tuples(st.integers(0, n - 1), st.integers(1, n), st.integers(1, 9)).map(
        lambda t: slice(t[0], t[0] + t[1], t[2])
    )


@given(of=st.sampled_from(LATTICES), index=st.tuples(*map(parts, SHAPE)), patch=st.sampled_from([5, 64]))
def test_any_access_has_the_values_of_the_whole(of: tuple[int, ...], index: tuple[slice, ...], patch: int) -> None:
    network, values = whole(of)
    span = float(np.ptp(values))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(path, "EDGE", patch)
        patched.setattr(path, "SLAB", 900 * patch)
        found = network.on_grid([axis[part] for axis, part in zip(voxels(), index, strict=True)])
    np.testing.assert_allclose(found, values[index], rtol=0, atol=1e-6 * span)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("of", LATTICES)
def test_slices_from_kept_planes_have_the_values_of_the_whole(of: tuple[int, ...], axis: int) -> None:
    network, values = whole(of)
    planes = LatticePlanes(2**24).of("box")
    for at in (7, 8, 9, 3, 8):
        grid = voxels()
        grid[axis] = grid[axis][at : at + 1]
        found = network.on_grid(grid, planes=planes)
        np.testing.assert_allclose(
            found, np.take(values, [at], axis), rtol=0, atol=1e-6 * np.ptp(values), err_msg=str(at)
        )


@pytest.mark.parametrize("most", [1, 500, 2**14])
def test_slices_in_batches_of_any_size_have_the_values_of_the_whole(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    network = smooth((2, 1, 0), depth=2)
    values = network.on_grid(voxels())
    monkeypatch.setattr(evaluate, "BATCH", most)
    for axis, at in ((0, 7), (0, 8), (0, 12), (1, 5), (2, 20), (0, 7)):
        grid = voxels()
        grid[axis] = grid[axis][at : at + 1]
        found = network.on_grid(grid)
        np.testing.assert_allclose(found, np.take(values, [at], axis), rtol=0, atol=1e-6 * np.ptp(values))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_next_slices_evaluate_a_plane_of_each_lattice_or_none(
    monkeypatch: pytest.MonkeyPatch, axis: int
) -> None:  # fmt: skip
    network, planes = smooth((4, 2, 0), (64, 64, 64), depth=1), LatticePlanes(2**24).of("box")
    evaluated: dict[int, list[int]] = {}
    original = path.Path._evaluate

    def counting(self: path.Path, index: int, places: list[np.ndarray]) -> np.ndarray:
        evaluated.setdefault(self._runs[index].stride, []).append(len(places[0]))
        return original(self, index, places)

    monkeypatch.setattr(path.Path, "_evaluate", counting)
    for at in range(11, 20):
        grid = voxels((64, 64, 64))
        grid[axis] = np.array([at + 0.5])
        network.on_grid(grid, planes=planes)
    # Of stride 2 at slices 11, 13, 15, 17 and 19, as those between are its planes; of stride 4 at 11, 15 and 19.
    assert evaluated == {2: [4, 1, 1, 1, 1], 4: [5, 1, 1]}


@pytest.mark.parametrize("of", [(1, 0, 0), (3, 2, 0), (3, 2, 1), (9, 0, 0)])
def test_smooth_networks_are_hardly_changed(of: tuple[int, ...]) -> None:
    network = smooth(of, (40, 48, 44), depth=2)
    grid = voxels((40, 48, 44))
    exact, found = network.on_grid(grid, lattice=()), network.on_grid(grid)
    difference = float(np.abs(found - exact).max())
    assert 0 < difference < 0.01 * np.ptp(exact)
    between = [axis[:-1] + 0.3 for axis in grid]
    np.testing.assert_allclose(
        network.on_grid(between), network.on_grid(between, lattice=()), rtol=0, atol=0.01 * np.ptp(exact)
    )


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (4, 1, 9), (5, 6, 130)])
@pytest.mark.parametrize("of", LATTICES)
def test_boxes_of_any_shape(shape: tuple[int, int, int], of: tuple[int, ...]) -> None:
    network = smooth(of, shape, depth=1)
    values = network.on_grid(voxels(shape))
    for at in np.ndindex(tuple(min(n, 3) for n in shape)):
        one = network.on_grid([np.array([i + 0.5]) for i in at])
        np.testing.assert_allclose(one[0, 0, 0], values[at], rtol=0, atol=2e-6)


def test_trees_of_mixed_depths_and_widths() -> None:
    plain = mixed(2)
    tree = Architecture(plain.octree, plain.widths, 2, 5.0, (7, 3, 0))
    ones = np.ones(len(tree.octree.leaves))
    network = Network(tree, 0.5 * tree.initial(1), ones, 0 * ones)
    grid = voxels(tree.octree.shape)
    values = network.on_grid(grid)
    np.testing.assert_array_equal(values, network.on_grid(grid, threads=3))
    part = network.on_grid([grid[0][2:9:3], grid[1][5:6], grid[2][1:]])
    np.testing.assert_allclose(part, values[2:9:3, 5:6, 1:], rtol=0, atol=1e-6 * np.ptp(values))


def test_runs_of_a_path() -> None:
    assert runs_of((), 6) == [Run(1, 0, 6)]
    assert runs_of((3, 2, 1), 6) == [Run(8, 0, 1), Run(4, 1, 2), Run(2, 2, 3), Run(1, 3, 6)]
    assert runs_of((3, 3, 0), 6) == [Run(4, 0, 3), Run(1, 3, 6)]
    assert runs_of((6, 2, 0), 3) == [Run(4, 0, 2), Run(2, 2, 3), Run(1, 3, 3)]  # the head of a shallower leaf


def test_weights_keep_positions_and_the_points_of_the_lattice() -> None:
    t = np.linspace(-0.5, 2, 41)
    weights = lattice.tap_weights(t)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(weights @ np.arange(-1.0, 3.0), t, atol=1e-12)
    np.testing.assert_array_equal(lattice.tap_weights(np.array([0.0, 1.0])), np.eye(4)[1:3])
    np.testing.assert_array_equal(64 * lattice.tap_weights(np.array([0.5])), [[-5, 37, 37, -5]])
