"""Boxes become scalars where that is cheaper, the partition tiles the volume, and a file keeps all of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_tinc as tinc
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.format import networks_file
from napari_tinc.format.chunks import Chunk, ChunkKind
from napari_tinc.format.widths import INHERITS, SCALAR, network_of_node
from napari_tinc.networks.architecture import Architecture
from napari_tinc.octree import Octree
from napari_tinc.training import fit_tree, task
from napari_tinc.training.partition import Partition, partition


def split_and_merge(
    volume: np.ndarray, errors: np.ndarray, depth: int = 1, bits: float = 1e5, own: float = 500.0
) -> Partition | None:
    tree = Octree.full(volume.shape, depth)
    return partition(volume, errors[::2, ::2, ::2], 2, tree, np.full(len(tree.split), 4), own, bits)


def scalar_voxels(found: Partition) -> np.ndarray:
    """The volume's scalars, nan elsewhere."""
    out = np.full(found.octree.shape, np.nan)
    leaves = found.octree.leaves[found.widths[found.octree.leaves] == SCALAR]
    for leaf, value in zip(leaves, found.values, strict=True):
        out[tuple(map(slice, found.octree.start[leaf], found.octree.stop[leaf]))] = value
    return out


def test_flat_boxes_become_scalars_and_others_do_not(rng: np.random.Generator) -> None:
    volume = np.full((64, 60, 56), -0.5, np.float32)
    volume[:16, 30:45, :] = rng.normal(size=(16, 15, 56))
    errors = np.full(volume.shape, 0.02, np.float32)
    found = split_and_merge(volume, errors)
    assert found is not None
    scalars = scalar_voxels(found)
    assert np.isnan(scalars[:16, 30:45]).all()
    assert (scalars[32:, :30] == -0.5).all()
    assert found.squares == 0
    # Of the networks, those of octants that are all flat are gone.
    level = found.octree.level
    assert (found.widths[level == 1] > 0).sum() == 2
    assert set(found.widths[level > 1].tolist()) == {INHERITS, SCALAR}


def test_no_more_nodes_than_a_file_may_have(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = rng.normal(size=(64, 64, 64)).astype(np.float32)
    volume[:20, :20, :20] = 0
    errors = np.full(volume.shape, 0.02, np.float32)
    errors[:20, :20, :20] = 0.5
    whole = split_and_merge(volume, errors)
    assert whole is not None and len(whole.octree.split) > 33
    monkeypatch.setattr("napari_tinc.training.partition.MAX_TREE", len(whole.octree.split) - 1)
    fewer = split_and_merge(volume, errors)
    assert fewer is not None and 9 < len(fewer.octree.split) < len(whole.octree.split)


def test_nothing_is_split_where_the_network_is_good(rng: np.random.Generator) -> None:
    volume = rng.normal(size=(32, 32, 32)).astype(np.float32)
    volume[:16] = 0
    errors = np.where(volume == 0, 0, 0.1).astype(np.float32)
    assert split_and_merge(volume, errors, own=0) is None
    assert split_and_merge(volume, np.full(volume.shape, 0.1, np.float32), bits=5, own=0) is None  # too dear
    found = split_and_merge(volume, errors, own=5000)  # saves four networks
    assert found is not None and found.widths.tolist() == [4, *[SCALAR] * 4, *[4] * 4]
    assert split_and_merge(np.zeros((32, 32, 32), np.float32), np.ones((32, 32, 32), np.float32)) is None  # no network


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(5, 40)] * 3), st.integers(0, 2), st.integers(0, 2**32 - 1), st.floats(1e2, 1e6))
def test_a_partition_is_one_that_a_file_can_hold(
    shape: tuple[int, int, int], depth: int, seed: int, bits: float
) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2, [-(-n // 8) for n in shape])
    mask = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)[: shape[0], : shape[1], : shape[2]]
    volume = (rng.normal(size=shape) * mask).astype(np.float32)
    found = split_and_merge(volume, rng.random(shape, np.float32), depth, bits)
    if found is None:
        return
    tree, leaves = found.octree, found.octree.leaves
    used = network_of_node(tree, found.widths)[leaves]
    assert (found.widths[used[used >= 0]] > 0).all() and (used < 0).sum() == len(found.values) > 0
    scalars = scalar_voxels(found)
    inside = ~np.isnan(scalars)
    assert ((volume - scalars)[inside] ** 2).sum() == pytest.approx(found.squares, rel=1e-4, abs=1e-4)
    architecture = Architecture(tree, found.widths, 2, 8.0)
    full = Architecture(Octree.full(shape, depth), np.full(len(Octree.full(shape, depth).split), 4), 2, 8.0)
    vector = np.arange(full.n_parameters, dtype=np.float32) + 1
    carried = full.carry(vector, architecture)
    assert (carried > 0).all() and len(np.unique(carried)) == len(carried)
    if architecture.n_parameters == full.n_parameters:
        np.testing.assert_array_equal(carried, vector)


@pytest.fixture(scope="module")
def sparse() -> np.ndarray:
    """uint8, a bright noisy tangle in one corner of nothing."""
    rng = np.random.default_rng(5)
    volume = np.zeros((48, 56, 64), np.uint8)
    z, y, x = np.meshgrid(*[np.linspace(0, 9, n) for n in (20, 24, 50)], indexing="ij")
    volume[:20, :24, :50] = 120 + 100 * np.sin(z + y) * np.cos(x) + rng.normal(0, 8, z.shape)
    return volume


@pytest.fixture(autouse=True, scope="module")
def _some_scalars() -> Iterator[None]:
    """Scalars pay even after fits of few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_tinc.training.partition.LEAST_GAIN", 1e-4)
        patch.setattr(fit_tree, "LEAST_PILOT", 0)
        patch.setattr(task, "LEAST_STEPS", 320)
        patch.setitem(task.STEPS, "fast", 1)
        patch.setitem(task.BATCH, "fast", 1024)
        yield


@pytest.fixture(scope="module")
def fitted(sparse: np.ndarray) -> tinc.Finished:
    *_, finished = encoding_compress.fit(sparse, nbytes=2500, preset="fast")
    assert isinstance(finished, tinc.Finished)
    return finished


def test_scalars_survive_in_a_file(sparse: np.ndarray, fitted: tinc.Finished) -> None:
    volume = tinc.TincVolume(fitted.volume.parts.data())
    assert volume.nbytes_compressed <= 2500
    leaves = volume.leaves
    scalars = leaves["network"] < 0
    assert scalars.any() and not scalars.all()
    assert (leaves["parameters"][scalars] == 0).all() and (leaves["gain"][scalars] == 0).all()
    decoded = np.asarray(volume)
    assert fitted.quality == tinc.compare(sparse, volume)
    for leaf in leaves[scalars]:
        box = decoded[tuple(map(slice, leaf["start"], leaf["stop"]))]
        assert (box == box.flat[0]).all()
        assert box.flat[0] == pytest.approx(leaf["offset"] + volume.header.mean, abs=0.51)
    np.testing.assert_array_equal(decoded[7:30:2, 20:, 40], np.asarray(volume[7:30:2, 20:, 40]))
    assert leaves["bytes"].sum() <= 2500
    volume.verify()


def test_the_same_bytes_with_scalars(sparse: np.ndarray, fitted: tinc.Finished) -> None:
    again = tinc.compress(sparse, nbytes=2500, preset="fast")
    assert fitted.volume.parts.data() == again.parts.data() and (again.header.widths == SCALAR).any()


def test_damaged_scalars_are_refused(fitted: tinc.Finished) -> None:
    volume = fitted.volume
    model = volume.parts.entries()[0].payload
    for payload, message in (
        (model[:-1], "scalars of the MODEL chunk|bytes of scalars"),
        (model + bytes(4), "scalars of the MODEL chunk"),
        (model + b"\1", "scalars of the MODEL chunk"),
    ):
        chunks = (Chunk.of(ChunkKind.MODEL, payload), *volume.parts.entries()[1:])
        broken = tinc.TincVolume(networks_file.pack(volume.header, chunks))
        with pytest.raises(tinc.TincError, match=message):
            broken.verify()
