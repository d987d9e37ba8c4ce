"""Features of a layer in the order of their keys are the same network, in fewer bytes; other orders are refused."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from itertools import pairwise

import numpy as np
import pytest
from architectures import mixed

from napari_tinc.errors import TincError
from napari_tinc.format import networks_file
from napari_tinc.format.chunks import Chunk, ChunkKind
from napari_tinc.format.networks_file import WeightsFormat
from napari_tinc.networks import entropy, streams
from napari_tinc.networks.architecture import Architecture, Tensor
from napari_tinc.networks.calibration import Corrections
from napari_tinc.networks.entropy import Geometric
from napari_tinc.networks.scalars import Scalars
from napari_tinc.networks.sorted_columns import has_keys, sort_columns
from napari_tinc.networks.streams import read_streams, saved_bits, streams_of
from napari_tinc.networks.weights import from_chunks, round_trip, to_chunks, to_network
from napari_tinc.octree import Octree


def values(architecture: Architecture, vector: np.ndarray) -> np.ndarray:
    n = len(architecture.octree.leaves)
    network = to_network(architecture, vector, Corrections.none(n), Scalars.none())
    return network.on_grid([np.arange(size) + 0.5 for size in architecture.octree.shape])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_sorted_networks_have_the_same_values(layers: int, rng: np.random.Generator) -> None:
    architecture = replace(mixed(), layers=layers)
    vector = rng.normal(0, 1, architecture.n_parameters).astype(np.float32)
    vector[rng.random(vector.size) < 0.2] = 0
    ordered = sort_columns(architecture, vector)
    np.testing.assert_allclose(values(architecture, ordered), values(architecture, vector), atol=2e-4)
    assert not np.array_equal(ordered, vector)
    np.testing.assert_array_equal(sort_columns(architecture, ordered), ordered)
    for weights in architecture.views(ordered):
        keyed = [tensor[:, 0] for kind, tensor in weights.items() if has_keys(kind)]
        assert len(keyed) == layers
        assert all((keys >= 0).all() and (np.diff(keys) >= 0).all() for keys in keyed)
    assert not (np.signbit(ordered) & (ordered == 0)).any()


def test_a_sign_that_follows_is_lost_nowhere() -> None:
    """By hand: two features, of which the first changes its sign and both their places."""
    tree = Octree.full((4, 4, 4), 0)
    architecture = Architecture(tree, np.array([2]), 1, 1.0)
    vector = np.array([-3, 1, 0, 2, 5, 0, 7, 8, 10, 20, 30], np.float32)  # position (4, 2), head (2, 1) and its bias
    assert sort_columns(architecture, vector).tolist() == [1, 3, 2, 0, 0, -5, 8, -7, 20, -10, 30]


@pytest.mark.parametrize("width", [*range(1, 40), 136, 255, 256])
def test_streams_are_put_together_again(width: int, rng: np.random.Generator) -> None:
    for kind, rows in (("position", 4), ("bias1", 1)):
        tensor = Tensor(0, kind, (3, rows, width), 0)
        integers = rng.geometric(0.1, tensor.shape).astype(np.int32) * rng.choice([-1, 0, 1], tensor.shape)
        integers[:, 0] = np.sort(np.abs(integers[:, 0]), axis=1)
        integers = integers.astype(np.int32)
        law = Geometric.of_mean(integers)
        parts = streams_of(tensor, integers.ravel(), law, WeightsFormat.SORTED)
        (read,) = read_streams(entropy.encode(parts), [(tensor, law)], [integers.size], [], WeightsFormat.SORTED)
        np.testing.assert_array_equal(read, integers.ravel())
        tables = 2 * law.largest + 1 + len(parts[:-1]) * (law.largest + 1)
        assert streams.count_table_items(tensor, law, WeightsFormat.SORTED) == tables


def test_laws_of_gaps_are_those_of_the_nearest_power_of_two() -> None:
    """A key of rest r has the law of the power of two from 2/3 r to 4/3 r."""
    for width in range(1, 257):
        runs = streams._stretches(width)
        assert [stop for _, stop, _ in runs] == [first for first, _, _ in runs[1:]] + [width] and runs[0][0] == 0
        for first, stop, power in runs:
            rests = np.arange(width - stop, width - first) + 1
            assert (3 * 2**power <= 4 * rests).all() and (4 * rests < 6 * 2**power + 3).all()
    law = Geometric.from_decay(60000, 9)
    assert [gap.theta for gap in law.gaps] == pytest.approx([law.theta**2**power for power in range(9)])


def test_codes_of_means_are_their_own() -> None:
    laws = [Geometric.from_mean_code(code, 5) for code in range(256)]
    assert [law.mean_code for law in laws] == list(range(256))
    assert all(0 < low.theta < high.theta < 1 for low, high in pairwise(laws))
    assert Geometric.from_mean_code(7, 0) == Geometric.of_mean(np.zeros(3, np.int32)) == Geometric(0.0, 0)


def test_a_code_of_the_mean_costs_next_to_nothing(rng: np.random.Generator) -> None:
    for mean in (0.1, 0.3, 4, 60, 3000):
        integers = np.rint(rng.laplace(0, mean, 20_000)).clip(-32767, 32767).astype(np.int32)
        coarse, fine = (law.bits(integers).sum() for law in (Geometric.of_mean(integers), Geometric.of(integers)))
        assert coarse < 1.002 * fine


def test_bytes_are_the_same_everywhere() -> None:
    """Golden bytes: the tables are made with IEEE operations that every machine rounds alike."""
    tensor = Tensor(0, "bias1", (2, 1, 20), 0)
    integers = np.sort(np.arange(40, dtype=np.int32).reshape(2, 20) * 37 % 23, axis=1)
    law = Geometric.of_mean(integers)
    assert (law.mean_code, law.largest) == (139, 22)
    assert entropy.encode(streams_of(tensor, integers, law, WeightsFormat.SORTED)).hex() == GOLDEN


GOLDEN = "3f6a9ef670e2f9b6f3bf93714fe20a00"


def test_it_is_known_beforehand_by_how_much_a_sorted_file_is_smaller() -> None:
    """The sample's networks, trained before columns were sorted."""
    data = (resources.files("napari_tinc") / "data" / "mri_mni152_crop.tinc").read_bytes()
    header, chunks = networks_file.parse(data)
    stored = from_chunks(header, chunks)
    ordered = replace(stored, vector=sort_columns(stored.architecture, stored.vector))
    sizes = [
        sum(chunk.length for chunk in network.to_chunks(form)[1:])
        for network, form in ((stored, WeightsFormat.ENTROPY), (ordered, WeightsFormat.SORTED))
    ]
    n_long = sum(
        np.abs(stored.vector[tensor.offset : tensor.offset + tensor.size] / step).max() >= 127.5
        for tensor, step in zip(stored.architecture.tensors, stored.steps, strict=True)
    )
    saved = saved_bits(stored.architecture, stored.vector, stored.steps) / 8
    assert sizes[0] - sizes[1] == pytest.approx(saved + n_long, abs=8)  # chunks end with whole words
    assert saved_bits(stored.architecture, ordered.vector, stored.steps) / 8 == pytest.approx(saved)


def test_keys_beyond_the_largest_are_refused() -> None:
    architecture = Architecture(Octree.full((4, 4, 4), 0), np.array([2]), 2, 1.0)
    vector, steps = round_trip(architecture, architecture.initial(0), np.full(9, 0.05), WeightsFormat.SORTED)
    tensor, law = architecture.tensors[2], Geometric.from_mean_code(120, 3)
    assert tensor.kind == "bias1"
    gaps = [(np.array([[3]], np.int32), law.gaps[1]), (np.array([[1]], np.int32), law.gaps[0])]
    payload = entropy.encode([*gaps, (np.zeros((1, 0), np.int32), law)])
    with pytest.raises(ValueError, match="a key is 4, expected at most 3"):
        read_streams(payload, [(tensor, law)], [2], [], WeightsFormat.SORTED)
    none = Corrections.none(1)
    chunks = to_chunks(architecture, vector, steps, WeightsFormat.SORTED, none, Scalars.none())
    header = networks_file.NetworksHeader(
        tree=architecture.octree, dtype=np.dtype("u1"), value_range=(0, 9), mean_q=9, std_q=9,
        widths=np.array([2], np.int16), layers=2, omega0=1.0,
    )  # fmt: skip
    assert header.weights_format is WeightsFormat.SORTED
    np.testing.assert_array_equal(from_chunks(header, chunks).vector, vector)
    short = Chunk.of(ChunkKind.MODEL, chunks[0].payload[:-1])
    with pytest.raises(TincError, match=r"MODEL chunk is \d+ bytes, expected at least"):
        from_chunks(header, [short, *chunks[1:]])


def test_tables_of_gaps_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each table of gaps is as long as the largest integer: they must not get past the limit of all tables."""
    tensor = Tensor(0, "position", (1, 4, 256), 0)
    assert streams.count_table_items(tensor, Geometric.from_mean_code(9, 1000), WeightsFormat.SORTED) == 2001 + 9 * 1001
    assert streams.count_table_items(tensor, Geometric.from_decay(9, 1000), WeightsFormat.ENTROPY) == 2001
