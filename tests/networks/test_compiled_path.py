"""Compiled code gives the values of NumPy, and is loaded only where it pays."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from architectures import mixed

from napari_tinc import compiled
from napari_tinc.decoding.cache import LatticePlanes
from napari_tinc.networks import compiled_code, compiled_path, evaluate
from napari_tinc.networks.architecture import Architecture
from napari_tinc.networks.compiled_code import COMPILED_CODE, CompiledCode
from napari_tinc.networks.compiled_path import AHEAD, CompiledPath
from napari_tinc.networks.evaluate import Network
from napari_tinc.networks.values import Scale
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
    for pays in (False, True):
        monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits, pays=pays: pays)
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
        for name, size in (("TILE_POINTS", 40), ("SLAB", 900), ("SLAB_POINTS", 700)):
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


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("of", LATTICES)
@pytest.mark.parametrize("cache_bytes", [2**24, 40_000, 0])
def test_slices_in_any_order_are_those_of_no_other_before(
    monkeypatch: pytest.MonkeyPatch, of: tuple[int, ...], axis: int, cache_bytes: int
) -> None:
    network, planes = smooth(of), LatticePlanes(cache_bytes).of("box")
    alone = replace(network)
    places = [3, 4, 5, 9, 8, 7, 6, 5, 20, 0, 1, 2, 1, 3, 2, 5, 12, 11, 13, 19, 18, 20]
    for at in places:
        grid = [np.arange(n) + 0.5 for n in SHAPE]
        grid[axis] = grid[axis][at : at + 1 + at % 3 // 2]
        monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: True)
        found = network.on_grid(grid, planes=planes)
        np.testing.assert_array_equal(found, alone.on_grid(grid))
        monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: False)
        expected = alone.on_grid(grid)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.ptp(expected))


def test_slices_along_z_are_those_of_the_whole_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "LEAST_COMPILED", 0)
    monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: True)
    network, planes = smooth((4, 2, 0)), LatticePlanes(2**24).of("box")
    grid = [np.arange(n) + 0.5 for n in SHAPE]
    whole = network.on_grid(grid)
    for at in range(SHAPE[0]):
        np.testing.assert_array_equal(
            network.on_grid([grid[0][at : at + 1], *grid[1:]], planes=planes), whole[at : at + 1]
        )


@pytest.mark.parametrize("of", [(1, 0, 0), (2, 1, 0), (3, 2, 1)])
def test_what_begins_between_two_columns_is_as_in_the_whole_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch, of: tuple[int, ...]
) -> None:
    monkeypatch.setattr(evaluate, "LEAST_COMPILED", 0)
    monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: True)
    network, grid = smooth(of, (21, 34, 79)), [np.arange(n) + 0.5 for n in (21, 34, 79)]
    whole = network.on_grid(grid)
    for first in (1, 2, 7):
        np.testing.assert_array_equal(network.on_grid([*grid[:2], grid[2][first:]]), whole[..., first:])


def test_values_are_those_of_numpy_bit_for_bit(rng: np.random.Generator) -> None:
    outputs = rng.normal(0, 1, (3, 2, 5, 7)).astype(np.float32)
    outputs[0, 0, 0, :4] = np.inf, -np.inf, np.nan, 0
    gain, offset = np.array([1.0, 1.03, 0.9]), np.array([0.0, -0.01, 0.4])
    for is_whole in (False, True):
        scale = Scale(7.5, 3.25, -1.5, 12.5, is_whole)
        for part in (outputs, outputs.transpose(0, 3, 1, 2), outputs[:, :1]):
            expected = evaluate.Path.finished(part, gain, offset, scale)
            np.testing.assert_array_equal(CompiledPath.finished(part, gain, offset, scale), expected)
            assert (expected >= np.floor(scale.low)).all(), "NaN, of a sine beyond 2^22, had become any integer"


@pytest.mark.parametrize("pays", [False, True], ids=["NumPy", "compiled"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("of", [(), (2, 1, 0)])
def test_a_long_box_needs_no_matrix_of_its_length(
    monkeypatch: pytest.MonkeyPatch, of: tuple[int, ...], axis: int, pays: bool
) -> None:
    """A file of 257 bytes had made one of 65 GB."""
    shape = [2, 2, 2]
    shape[axis] = 9000
    network = smooth(of, (shape[0], shape[1], shape[2]))
    monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: pays)
    grid = [np.arange(n) + 0.5 for n in shape]
    network.on_grid([along[:2] for along in grid])  # loads compiled code, which is not counted
    tracemalloc.start()
    whole = network.on_grid(grid)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30e6
    at = [slice(3000, 3007) if k == axis else slice(None) for k in range(3)]
    part = network.on_grid([along[some] for along, some in zip(grid, at, strict=True)])
    np.testing.assert_allclose(part, whole[tuple(at)], rtol=0, atol=2e-6 * np.ptp(whole))


@pytest.mark.parametrize("pays", [False, True], ids=["NumPy", "compiled"])
def test_points_far_from_each_other_need_few_of_a_lattice_at_a_time(
    monkeypatch: pytest.MonkeyPatch, pays: bool
) -> None:
    """All that lie near 320 x 320 points had been computed at once, 1.1 GB for 0.8 MB of values."""
    network = smooth((1, 0, 0), (2, 2800, 2800))
    monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: pays)
    grid = [np.arange(2) + 0.5, *[np.arange(0, 2800, 9) + 0.5] * 2]
    network.on_grid([along[:2] for along in grid])  # loads compiled code, which is not counted
    tracemalloc.start()
    network.on_grid(grid)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30e6


def test_planes_of_slices_are_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: True)
    tree = Octree.full((64, 64, 64), 0)
    architecture = Architecture(tree, np.array([9]), 5, 2.0, (4, 2, 0))
    network = Network(architecture, architecture.initial(3), np.ones(1), np.zeros(1))
    planes, evaluated = LatticePlanes(2**24).of("box"), []
    run = CompiledPath._run

    def counted(path: CompiledPath, index: int, axes: list[np.ndarray]) -> np.ndarray:
        evaluated.extend((index, plane) for plane in axes[0])
        return run(path, index, axes)

    monkeypatch.setattr(CompiledPath, "_run", counted)
    for at in range(10, 50):
        network.on_grid([np.array([at + 0.5]), *[np.arange(64) + 0.5] * 2], planes=planes)
    assert len(evaluated) == len(set(evaluated)) < 40 + 24 + 14 + 5 * AHEAD


def keep(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """Let compiled code be kept, or not; loading it does nothing."""
    monkeypatch.setattr(compiled, "is_kept", lambda function: kept)
    monkeypatch.setattr(compiled_path, "load", lambda: None)


def test_it_is_loaded_after_many_points_and_compiled_after_more(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, kept=False)
    code = CompiledCode()
    assert [code.pays(compiled_code.COMPILING_POINTS // 4) for _ in range(5)] == [False, False, False, True, True]
    keep(monkeypatch, kept=True)
    code = CompiledCode()
    assert [code.pays(compiled_code.LOADING_POINTS // 2) for _ in range(3)] == [False, True, True]
    code = CompiledCode()
    code.use()
    assert code.pays(1)


@pytest.mark.parametrize("kept", [False, True])
def test_slices_have_it_loaded_by_a_thread_and_never_compiled(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    keep(monkeypatch, kept)
    code = CompiledCode()
    assert not code.pays(compiled_code.LOADING_POINTS - 1, waits=False)
    assert code._loading is None
    code.pays(compiled_code.COMPILING_POINTS, waits=False)
    code._wait()
    assert code.is_used == code.pays(1, waits=False) == kept


READS = """
import os, sys
import numpy as np
import napari_tinc as tinc
from napari_tinc.networks import compiled_code
compiled_code.LOADING_POINTS = compiled_code.COMPILING_POINTS = 1
volume = tinc.open(sys.argv[1])
for at in range(4):
    slices = np.asarray(volume[at])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process can be forked here")
def test_a_process_that_is_forked_while_it_is_loaded_reads_on() -> None:
    code = (
        READS
        + """
child = os.fork()
whole = np.asarray(tinc.open(sys.argv[1]))
assert abs(whole[3] - slices.astype(float)).max() <= 1
if not child:
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""
    )
    subprocess.run([sys.executable, "-c", code, str(NETWORKS)], check=True, timeout=60)


def test_numpy_reads_on_where_numba_cannot_be_imported() -> None:
    code = "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None" + READS
    code += "assert abs(np.asarray(volume)[3] - slices.astype(float)).max() <= 1"
    done = subprocess.run([sys.executable, "-c", code, str(NETWORKS)], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_volume_that_is_read_once_loads_no_compiled_code() -> None:
    code = "import sys, napari_tinc as tinc, numpy as np; np.asarray(tinc.open(sys.argv[1])); "
    check = "sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code + check, str(NETWORKS)], check=True, timeout=60)
