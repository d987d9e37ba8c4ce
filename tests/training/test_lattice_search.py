"""The lattice that an encoder chooses is faster, costs next to nothing, and is what the file is measured with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.decoding.network_box import NetworkBox
from napari_tinc.errors import TincError
from napari_tinc.format import blocks_file, head, networks_file
from napari_tinc.format.blocks_file import BlocksHeader, Payload
from napari_tinc.format.head import Feature
from napari_tinc.networks.architecture import Architecture
from napari_tinc.networks.evaluate import Network
from napari_tinc.networks.values import normalise
from napari_tinc.octree import Octree
from napari_tinc.training import task
from napari_tinc.training.lattice_search import MOST_LOSS_DB, choose_lattice, decoding_time


def waves(n: int = 40) -> np.ndarray:
    z, y, x = np.meshgrid(*[np.arange(n)] * 3, indexing="ij")
    noise = np.random.default_rng(0).normal(0, 4, (n, n, n))
    return (120 + 60 * np.sin(z / 5) * np.cos(y / 7) + 30 * np.sin(x / 6) + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def compressed() -> tinc.TincVolume:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(task.STEPS, "fast", 200)
        return tinc.compress(waves(), ratio=10, preset="fast", method="networks")


def tree_of(volume: tinc.TincVolume) -> NetworkBox:
    part = volume.parts.part(0, 0)
    assert isinstance(part, NetworkBox)
    return part


def psnr(values: np.ndarray) -> float:
    errors = values.astype(float) - waves()
    return float(10 * np.log10(float(np.ptp(waves())) ** 2 / np.square(errors).mean()))


def test_a_new_file_has_a_lattice_and_is_measured_with_it(compressed: tinc.TincVolume) -> None:
    header = tree_of(compressed).header
    assert header.lattice and header.lattice[0] >= 1
    assert head.read_head(lambda a, b: tree_of(compressed).data[a:b], 2**20)[0] == Feature.LATTICE | Feature.SORTED
    assert float(compressed.provenance["psnr"]) == pytest.approx(psnr(np.asarray(compressed)), abs=0.006)
    chunks = tree_of(compressed).chunks
    plain = tinc.TincVolume(networks_file.pack(replace(header, lattice=()), chunks))
    assert np.abs(np.asarray(plain).astype(int) - np.asarray(compressed)).max() > 0
    assert psnr(np.asarray(plain)) - psnr(np.asarray(compressed)) < MOST_LOSS_DB + 0.005


def test_a_part_of_a_coarse_level_is_that_of_the_whole(compressed: tinc.TincVolume) -> None:
    for level in compressed.levels[1:]:
        whole = np.asarray(level).astype(int)
        for part in (np.s_[3], np.s_[:, 5:9, 2], np.s_[4:5, 6:7, 8:9], np.s_[::3, 1::2]):
            np.testing.assert_allclose(np.asarray(level[part]), whole[part], atol=1)


def network_and_wanted(noise: float) -> tuple[Network, networks_file.NetworksHeader, np.ndarray]:
    """A random network, and a volume that it meets but for a noise."""
    tree = Octree.full((40, 40, 40), 1)
    architecture = Architecture(tree, np.array([24, 6])[tree.level], 3, 6.0)
    network = Network(architecture, architecture.initial(1), np.ones(8), np.zeros(8))
    outputs = network.on_grid([np.arange(40) + 0.5] * 3)
    volume = outputs + np.random.default_rng(2).normal(0, noise, outputs.shape).astype(np.float32)
    header = task.make_header(volume, networks_file.WeightsFormat.ENTROPY)
    header = replace(header, tree=tree, widths=architecture.widths.astype(np.int16), layers=3)
    scaled = Network(architecture, network.vector, np.full(8, 1 / header.std), np.full(8, -header.mean / header.std))
    return scaled, header, normalise(volume, header)


@pytest.mark.parametrize("noise", [0.3, 0.01, 0.0])
def test_the_choice_costs_no_more_than_it_may(noise: float) -> None:
    network, header, wanted = network_and_wanted(noise)
    chosen = choose_lattice(network, header, wanted, None, lambda: None)
    if not noise:
        assert chosen == ()
        return
    grid = [np.arange(40) + 0.5] * 3
    exact, found = (np.square(network.on_grid(grid, lattice=of) - wanted).mean() for of in ((), chosen))
    assert 10 * np.log10(found / exact) < MOST_LOSS_DB + 0.01
    if noise == 0.3:
        assert chosen and decoding_time(network.architecture, chosen) < 0.7 * decoding_time(network.architecture, ())


def test_what_a_background_hides_and_what_matters_little_do_not_count() -> None:
    network, header, wanted = network_and_wanted(0.3)
    hidden, slight = wanted.copy(), np.ones(wanted.shape, np.float32)
    hidden[20:] = np.nan
    slight[20:] = 0
    wrong = wanted.copy()
    wrong[20:] = network.on_grid([np.arange(40) + 0.5] * 3)[20:]  # where any lattice would cost all
    chosen = [
        choose_lattice(network, header, hidden, None, lambda: None),
        choose_lattice(network, header, wrong, slight, lambda: None),
    ]
    assert chosen[0] == chosen[1] != ()


def test_a_file_says_that_its_blocks_have_lattices(compressed: tinc.TincVolume) -> None:
    data = tree_of(compressed).data
    header = BlocksHeader(tree=Octree.full((80, 40, 40), 1), dtype=np.dtype("u1"), value_range=compressed.value_range)
    blocks = blocks_file.pack(header, [], [Payload(data)] * 2, [])
    features, _ = head.read_head(lambda a, b: blocks[a:b], len(blocks))
    assert features == Feature.BLOCKS | Feature.LATTICE | Feature.SORTED
    volume = tinc.TincVolume(blocks)
    whole = np.asarray(volume).astype(int)
    np.testing.assert_allclose(whole[:40], compressed, atol=1)
    for z in (3, 4, 5, 43, 44, 45):
        np.testing.assert_allclose(np.asarray(volume[z]), whole[z], atol=1)
        np.testing.assert_allclose(np.asarray(volume[:, z % 40]), whole[:, z % 40], atol=1)


@pytest.mark.parametrize("feature", [Feature.LATTICE, Feature.SORTED])
def test_a_block_that_needs_a_feature_in_a_file_that_says_nothing_is_refused(
    feature: Feature, compressed: tinc.TincVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = BlocksHeader(tree=Octree.full((40, 40, 40), 0), dtype=np.dtype("u1"), value_range=compressed.value_range)
    monkeypatch.setattr(Payload, "features", lambda _: (Feature.LATTICE | Feature.SORTED) ^ feature)
    volume = tinc.TincVolume(blocks_file.pack(header, [], [Payload(tree_of(compressed).data)], []))
    with pytest.raises(TincError, match=f"a block needs the feature {feature.name}, expected the file to say so"):
        np.asarray(volume)
