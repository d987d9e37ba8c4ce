"""Parameters survive their chunks as round_trip says, in every format, and damaged chunks are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from architectures import mixed

from napari_tinc.errors import TincError
from napari_tinc.format.chunks import Chunk, ChunkKind
from napari_tinc.format.networks_file import Calibration, NetworksHeader, WeightsFormat
from napari_tinc.networks import entropy, weights
from napari_tinc.networks.calibration import Corrections
from napari_tinc.networks.entropy import MAX_MAGNITUDE
from napari_tinc.networks.rounding import quantize, to_bfloat16
from napari_tinc.networks.scalars import Scalars
from napari_tinc.networks.weights import from_chunks, round_trip, to_chunks
from napari_tinc.octree import Octree


def header(form: WeightsFormat, calibration: Calibration) -> NetworksHeader:
    architecture = mixed()
    return NetworksHeader(
        tree=architecture.octree, dtype=np.dtype("u1"), value_range=(0, 9), mean_q=9, std_q=9,
        widths=architecture.widths.astype(np.int16), layers=2, omega0=5.0, weights_format=form,
        calibration=calibration,
    )  # fmt: skip


def corrections(kind: Calibration, rng: np.random.Generator) -> Corrections:
    n = len(mixed().octree.leaves)
    if kind is Calibration.NONE:
        return Corrections.none(n)
    gain, offset = rng.normal(1, 0.1, n), rng.normal(0, 0.1, n)
    if kind is Calibration.GLOBAL:
        gain[:], offset[:] = gain[0], offset[0]
    return Corrections(kind, gain, offset).stored()


@pytest.mark.parametrize("form", WeightsFormat)
@pytest.mark.parametrize("kind", Calibration)
def test_chunks_hold_what_round_trip_says(
    form: WeightsFormat, kind: Calibration, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "CHUNK_BYTES", 100)  # several chunks a level
    architecture, stored_corrections = mixed(), corrections(kind, rng)
    vector, steps = round_trip(
        architecture, architecture.initial(1), rng.uniform(0.01, 0.1, len(architecture.tensors)), form
    )
    chunks = to_chunks(architecture, vector, steps, form, stored_corrections, Scalars.none())
    assert max(sum(c.level == level for c in chunks) for level in range(4)) > 1
    network = from_chunks(header(form, kind), chunks).network()
    np.testing.assert_array_equal(network.vector, vector)
    np.testing.assert_array_equal(network.gain, stored_corrections.gain)
    np.testing.assert_array_equal(network.offset, stored_corrections.offset)


@pytest.mark.parametrize("form", WeightsFormat)
def test_payloads_that_do_not_fit_are_refused(form: WeightsFormat, rng: np.random.Generator) -> None:
    architecture = mixed()
    vector, steps = round_trip(architecture, architecture.initial(1), np.full(len(architecture.tensors), 0.05), form)
    chunks = to_chunks(architecture, vector, steps, form, corrections(Calibration.PER_LEAF, rng), Scalars.none())
    for index, chunk in enumerate(chunks):
        for payload in (chunk.payload[:-4], chunk.payload + b"\1\2\3\4", b"\xff" * len(chunk.payload)):
            changed = Chunk.of(ChunkKind(chunk.kind), payload, chunk.level, chunk.n_nodes)
            if index and form is WeightsFormat.INT8 and len(payload) == len(chunk.payload):
                continue  # any bytes are 8-bit integers
            with pytest.raises(TincError):
                from_chunks(header(form, Calibration.PER_LEAF), [*chunks[:index], changed, *chunks[index + 1 :]])
        with pytest.raises(TincError, match="CRC-32"):
            from_chunks(
                header(form, Calibration.PER_LEAF),
                [*chunks[:index], dataclasses.replace(chunk, crc=chunk.crc ^ 1), *chunks[index + 1 :]],
            )


def test_steps_too_fine_for_16_bits_are_widened() -> None:
    """A fine step once clipped the root's largest weights, and with them the whole picture."""
    architecture = mixed()
    vector = architecture.initial(1)
    rounded, steps = round_trip(architecture, vector, np.full(len(architecture.tensors), 1e-9), WeightsFormat.ENTROPY)
    np.testing.assert_allclose(rounded, vector, atol=np.abs(vector).max() / MAX_MAGNITUDE)
    for tensor, step in zip(architecture.tensors, steps, strict=True):
        part = vector[tensor.offset : tensor.offset + tensor.size]
        assert np.abs(part / step).max() <= MAX_MAGNITUDE


def test_storable_steps_are_bfloat16(rng: np.random.Generator) -> None:
    steps = np.exp(rng.uniform(-30, 5, 1000))
    stored = to_bfloat16(steps)
    assert (stored.view(np.uint32) & 0xFFFF == 0).all()
    np.testing.assert_allclose(stored, steps, rtol=2**-8)
    assert to_bfloat16(np.array(0.0)) > 0


def test_quantize_rounds_to_nearest_within_the_limit() -> None:
    values: Any = np.array([-9.0, -0.26, 0.24, 0.26, 9.0], np.float32)
    assert quantize(values, np.float32(0.5), 3).tolist() == [-3, -1, 0, 1, 3]


def test_a_tree_of_ever_new_widths_is_refused_at_once() -> None:
    """Such a file once kept a reader busy for minutes."""
    tree = Octree.full((64, 64, 64), 4)
    widths = np.resize(np.arange(1, 65), len(tree.split)).astype(np.int16)
    hostile = dataclasses.replace(header(WeightsFormat.ENTROPY, Calibration.NONE), tree=tree, widths=widths)
    with pytest.raises(TincError, match="more than 256 groups"):
        from_chunks(hostile, [Chunk.of(ChunkKind.MODEL, b"")])


def test_too_many_pieces_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_PIECES", 10)
    with pytest.raises(TincError, match="1 chunks of .* tensors, expected a product of at most 10"):
        from_chunks(header(WeightsFormat.ENTROPY, Calibration.NONE), [Chunk.of(ChunkKind.MODEL, b"")])


def test_large_architectures_are_not_kept() -> None:
    tree = Octree.full((64, 64, 64), 4)
    large = dataclasses.replace(header(WeightsFormat.FLOAT16, Calibration.NONE), tree=tree, widths=np.ones(4681, "i2"))
    assert weights.architecture_of(large) is not weights.architecture_of(large)
    small = header(WeightsFormat.FLOAT16, Calibration.NONE)
    assert weights.architecture_of(small) is weights.architecture_of(small)


def test_a_table_is_made_once_for_all_chunks(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "CHUNK_BYTES", 100)
    architecture = mixed()
    vector, steps = round_trip(architecture, architecture.initial(1), np.full(99, 0.02), WeightsFormat.ENTROPY)
    none = corrections(Calibration.NONE, rng)
    chunks = to_chunks(architecture, vector, steps, WeightsFormat.ENTROPY, none, Scalars.none())
    made = []
    categorical = entropy.constriction.stream.model.Categorical
    monkeypatch.setattr(
        entropy.constriction.stream.model, "Categorical", lambda *a, **k: made.append(1) or categorical(*a, **k)
    )
    from_chunks(header(WeightsFormat.ENTROPY, Calibration.NONE), chunks)
    assert len(chunks) > 5 and 0 < len(made) <= len(architecture.tensors)
