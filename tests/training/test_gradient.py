"""The compiled gradient and that of PyTorch are those of the formula, for every kind of tree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from architectures import mixed, reference
from hypothesis import given
from hypothesis import strategies as st

from napari_tinc.format.widths import INHERITS, SCALAR, heads_of_leaves
from napari_tinc.networks.architecture import Architecture
from napari_tinc.octree import Octree
from napari_tinc.training import layout
from napari_tinc.training.sampling import Sampler
from napari_tinc.training.shards import Shards
from napari_tinc.training.torch_shard import TorchShards


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Trees of 1 to 4 levels with any widths, leaves that use a network above, and scalars."""
    shape = draw(st.tuples(*[st.integers(1, 17)] * 3))
    tree = Octree.full(shape, draw(st.integers(0, 3)))
    widths = np.full(len(tree.split), INHERITS, np.int64)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    some = random.integers(1, 40, size=3)
    share = draw(st.sampled_from([0.0, 0.2, 0.6]))

    def grow(node: int) -> None:
        widths[node] = random.choice(some)
        children = np.flatnonzero(tree.parent == node)
        if not len(children):
            return
        if random.random() < share:  # no networks below
            leaves = [leaf for leaf in tree.leaves.tolist() if node in tree.path(leaf)]
            widths[[leaf for leaf in leaves[1:] if random.random() < share]] = SCALAR
            return
        for child in random.permutation(children).tolist():
            if not tree.split[child] and random.random() < share and (widths[children] > 0).any():
                widths[child] = SCALAR
            else:
                grow(child)

    grow(0)
    return Architecture(tree, widths, draw(st.integers(1, 3)), omega0=5.0)


def sampler_of(architecture: Architecture, background: bool = False) -> Sampler:
    """Values of which many are the lowest or the highest there are, or unknown."""
    octree, random = architecture.octree, np.random.default_rng(1)
    volume = random.normal(size=octree.shape).clip(-0.25, 0.25).astype(np.float32)
    volume[random.random(octree.shape) < 0.3 * background] = np.nan
    volume.flat[0] = 0.1
    return Sampler(volume, octree, heads_of_leaves(octree, architecture.widths))


@given(architectures(), st.integers(1, 3000), st.booleans(), st.sampled_from([16, 64]))
def test_both_gradients_are_equal(architecture: Architecture, batch: int, background: bool, columns: int) -> None:
    sampler, vector = sampler_of(architecture, background), architecture.initial(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CACHE_FLOATS", 0)
        patch.setattr(layout, "LEAST_COLUMNS", columns)
        shards = Shards(sampler, architecture, batch, (3,), 1)
    by_torch = TorchShards(sampler, architecture, batch, (3,), "cpu")
    gradient, loss = shards.step(vector, map)
    expected, expected_loss = by_torch.step(vector)
    assert loss == pytest.approx(expected_loss, rel=1e-5, abs=1e-12)
    np.testing.assert_allclose(shards.shards[0].squares, by_torch.squares, rtol=1e-4, atol=1e-6)
    for tensor in architecture.tensors:
        place = slice(tensor.offset, tensor.offset + tensor.size)
        scale = np.abs(expected).max() if tensor.size < 100 else np.abs(expected[place]).max()
        np.testing.assert_allclose(gradient[place], expected[place], atol=1e-5 * scale, err_msg=tensor.kind)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("full", [True, False])
def test_gradient_by_torch_is_that_of_the_formula(full: bool, layers: int) -> None:
    architecture = mixed(layers)
    if full:
        tree = Octree.full((12, 10, 9), 2)
        architecture = Architecture(tree, np.array([6, 5, 4])[tree.level], layers, omega0=5.0)
    shards = TorchShards(sampler_of(architecture), architecture, 512, (3,), "cpu")
    vector = architecture.initial(0)
    gradient, loss = shards.step(vector)
    (draws,) = shards.draws
    columns = np.concatenate([begin + np.arange(n) for begin, n in zip(draws.begins, draws.counts, strict=True)])
    wanted, weight = torch.from_numpy(draws.intensity), torch.from_numpy(draws.weight)
    free = torch.from_numpy(vector).requires_grad_(True)
    outputs = reference(architecture, free, torch.from_numpy(draws.coordinates.T[columns]).double() + 0.5)
    off = torch.where(
        (wanted.abs() == 0.25) & (outputs * wanted > 0.0625), 0.0, outputs - wanted
    )  # clipped to what is wanted
    assert (off == 0).any() and not (off == 0).all()
    expected = (weight * off**2).mean()
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(torch.from_numpy(gradient), free.grad, rtol=2e-4, atol=2e-6)
