"""Compiled code gives the values of NumPy, and is loaded only where it pays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from architectures import mixed

from napari_tinc.networks import compiled_path, evaluate
from napari_tinc.networks.architecture import Architecture
from napari_tinc.networks.compiled_path import COMPILED_CODE, CompiledCode
from napari_tinc.networks.evaluate import Network
from napari_tinc.octree import Octree

SHAPE = (21, 34, 43)
LATTICES = [(), (1, 0, 0), (2, 1, 0), (3, 2, 1), (4, 4, 0), (3, 3, 3), (6, 4, 2)]
NETWORKS = Path(__file__).parents[1] / "golden" / "trained.tinc"


def both(monkeypatch: pytest.MonkeyPatch, network: Network, grid: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The values by NumPy and by compiled code."""
    monkeypatch.setattr(evaluate, "LEAST_COMPILED", 0)
    monkeypatch.setattr(evaluate, "THIN", 0)
    monkeypatch.setattr(evaluate, "MOST_LEAVES", 1)
    values = []
    for compiled in (False, True):
        monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, compiled=compiled: compiled)
        values.append(network.on_grid(grid))
    return values[0], values[1]


def smooth(of: tuple[int, ...], shape: tuple[int, ...] = SHAPE) -> Network:
    tree = Octree.full(shape, 1)
    architecture = Architecture(tree, np.array([19, 6])[tree.level], 3, 2.0, of)
    numbers = np.random.default_rng(3).normal(1, 0.05, (2, tree.n_leaves))
    return Network(architecture, 0.6 * architecture.initial(3), numbers[0], numbers[1])


@pytest.mark.parametrize("few", [False, True], ids=["as it is", "small tiles and slabs"])
@pytest.mark.parametrize("of", LATTICES)
@pytest.mark.parametrize("steps", [(1, 1, 1), (2, 3, 1), (1, 1, 5), (7, 20, 9)])
def test_any_grid_has_the_values_of_numpy(
    monkeypatch: pytest.MonkeyPatch, of: tuple[int, ...], steps: tuple[int, ...], few: bool
) -> None:
    if few:
        for name, size in (("TILE_POINTS", 40), ("GROUP_FLOATS", 900), ("SLAB", 900), ("SLAB_POINTS", 700)):
            monkeypatch.setattr(compiled_path, name, size)
    grid = [np.arange(0, n, step) + 0.5 for n, step in zip(SHAPE, steps, strict=True)]
    expected, found = both(monkeypatch, smooth(of), grid)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.ptp(expected))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (4, 1, 9), (5, 6, 130), (3, 40, 35)])
@pytest.mark.parametrize("of", LATTICES)
def test_boxes_of_any_shape(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], of: tuple[int, ...]) -> None:
    expected, found = both(monkeypatch, smooth(of, shape), [np.arange(n) + 0.5 for n in shape])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("of", [(), (7, 3, 0), (2, 0, 0)])
def test_trees_of_mixed_depths_and_widths(monkeypatch: pytest.MonkeyPatch, of: tuple[int, ...]) -> None:
    plain = mixed(2)
    tree = Architecture(plain.octree, plain.widths, 2, 5.0, of)
    ones = np.ones(len(tree.octree.leaves))
    network = Network(tree, 0.5 * tree.initial(1), ones, 0 * ones)
    expected, found = both(monkeypatch, network, [np.arange(n) + 0.5 for n in tree.octree.shape])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.ptp(expected))


def test_it_is_loaded_after_many_points_and_compiled_after_more(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = False
    monkeypatch.setattr(compiled_path, "is_kept", lambda function: kept)
    code = CompiledCode()
    assert [code.pays(compiled_path.COMPILING_POINTS // 4) for _ in range(5)] == [False, False, False, True, True]
    kept, code = True, CompiledCode()
    assert [code.pays(compiled_path.LOADING_POINTS // 2) for _ in range(3)] == [False, True, True]
    code = CompiledCode()
    code.use()
    assert code.pays(1)


def test_a_volume_that_is_read_once_loads_no_compiled_code() -> None:
    code = "import sys, napari_tinc as tinc, numpy as np; np.asarray(tinc.open(sys.argv[1])); "
    check = "sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code + check, str(NETWORKS)], check=True, timeout=60)
