"""Bytes of a leaf: measured from the file, and summing up to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.decoding.bounded_box import BoundedBox
from napari_tinc.decoding.boxes import Contents
from napari_tinc.decoding.network_box import NetworkBox
from napari_tinc.format.chunks import ChunkKind
from napari_tinc.format.widths import SCALAR
from napari_tinc.networks import entropy
from napari_tinc.training import task

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.tinc"))
OPTIONS: dict[str, Any] = {"preset": "fast", "device": "cpu", "method": "networks"}


@pytest.fixture(autouse=True)
def _short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def busy_corner() -> np.ndarray:
    """uint8 (32, 32, 32): smooth, but for waves in the first of eight boxes."""
    z, y, x = np.meshgrid(*[np.linspace(0, 2, 32)] * 3, indexing="ij")
    volume = 100 + 20 * z
    volume[:16, :16, :16] += (100 * np.sin(9 * z + 5 * y) * np.cos(12 * x))[:16, :16, :16]
    return volume.clip(0, 255).astype("u1")


def weights_of(part: NetworkBox | BoundedBox | None) -> int:
    """Bytes of all that gives values, of one box."""
    if isinstance(part, NetworkBox):
        behind = 0 if part.background is None else len(part.background.data)
        return behind + sum(
            len(chunk.payload)
            for chunk in part.chunks
            if chunk.role is ChunkKind.MODEL or chunk.role is ChunkKind.WEIGHTS
        )
    return len(part.data) if part else 0


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_leaves_sum_up_to_their_tree(path: Path) -> None:
    volume = tinc.open(path)
    parts: Contents = volume.parts
    for number, box, part in volume.boxes():
        rows = parts.leaves(number, box, volume.value_range)
        assert rows is not None and (rows["bytes"] > 0).all()
        assert rows["bytes"].sum() == pytest.approx(weights_of(part))
    assert volume.leaves["bytes"].dtype == np.float64


@pytest.mark.parametrize(
    "options",
    [{}, {"weights": "int8"}, {"weights": "float16"}, {"block": 16}, {"method": "predictive", "block": 16}],
    ids=["entropy", "int8", "float16", "blocks", "predictive"],
)
def test_fresh_files_of_every_kind(options: dict[str, Any]) -> None:
    volume = tinc.compress(busy_corner(), ratio=7, **OPTIONS | options)
    weights = sum(weights_of(part) for *_, part in volume.boxes())
    assert volume.leaves["bytes"].sum() == pytest.approx(weights)
    assert 0.7 * volume.nbytes_compressed < weights < volume.nbytes_compressed


def test_a_busy_corner_takes_more_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LEAST_STEPS", 100)
    leaves = tinc.compress(busy_corner(), ratio=12, widths=(4, 12), **OPTIONS).leaves
    first, *others = leaves["bytes"]
    assert len(leaves) == 8 and first > max(others) and len(np.unique(leaves["bytes"])) == 8
    assert len(np.unique(leaves["parameters"])) == 1


def test_numbers_of_fixed_size_are_counted_exactly() -> None:
    volume = tinc.compress(busy_corner(), ratio=10, widths=(8, 4), weights="float16", calibration="none", **OPTIONS)
    root, *others = (len(chunk.payload) for chunk in volume.parts.entries() if chunk.role is ChunkKind.WEIGHTS)
    np.testing.assert_allclose(volume.leaves["bytes"], (root + sum(others)) / 8)
    np.testing.assert_allclose(2 * volume.leaves["parameters"], sum(others) / 8)


def test_shares_go_by_voxels() -> None:
    """Leaves that share a network share its bytes; a scalar takes hardly any."""
    volume = tinc.open(Path(__file__).parents[1] / "golden" / "scalars.tinc")
    leaves = volume.leaves
    is_scalar = leaves["network"] < 0
    assert is_scalar.any() and leaves["bytes"][is_scalar].max() < leaves["bytes"][~is_scalar].min()
    voxels = (leaves["stop"] - leaves["start"]).prod(axis=1)
    for network in np.unique(leaves["network"][~is_scalar]):
        rows = leaves["network"] == network
        np.testing.assert_allclose((leaves["bytes"] / voxels)[rows], (leaves["bytes"] / voxels)[rows][0])
    (header,) = (part.header for *_, part in volume.boxes() if isinstance(part, NetworkBox))
    assert (header.widths == SCALAR).sum() == is_scalar.sum()


def test_channels_have_their_own() -> None:
    series = np.stack([busy_corner(), busy_corner() // 2])
    volume = tinc.compress(series, ratio=10, axis_labels="czyx", **OPTIONS)
    assert volume.leaves["bytes"].sum() == pytest.approx(sum(weights_of(part) for *_, part in volume.boxes()))
    second = volume.select(1).leaves
    np.testing.assert_allclose(second["bytes"], volume.leaves["bytes"][-len(second) :])


def test_labels_are_blocks() -> None:
    volume = tinc.compress(busy_corner(), max_error=0, labels=True)
    assert volume.leaves["bytes"].tolist() == [weights_of(part) for *_, part in volume.boxes()]


def test_a_file_that_was_cut_off() -> None:
    """What is there is counted, and leaves without their network have their share of those above it."""
    data = (Path(__file__).parents[1] / "golden" / "many-chunks.tinc").read_bytes()
    whole = tinc.TincVolume(data)
    cut = tinc.TincVolume(data[:-20], partial=True)
    (tree,) = (part for *_, part in cut.boxes() if isinstance(part, NetworkBox))
    assert tree.missing.any()
    assert cut.leaves["bytes"].sum() == pytest.approx(weights_of(tree))
    assert cut.leaves["bytes"][-1] < cut.leaves["bytes"][0] == pytest.approx(whole.leaves["bytes"][0])


def test_a_damaged_file_is_refused_as_before() -> None:
    data = bytearray((Path(__file__).parents[1] / "golden" / "trained.tinc").read_bytes())
    data[-40] ^= 1
    with pytest.raises(tinc.TincError, match="CRC-32"):
        _ = tinc.TincVolume(bytes(data)).leaves


def test_code_lengths_are_those_of_the_coder(rng: np.random.Generator) -> None:
    integers = np.rint(rng.laplace(0, 6, 20_000)).astype(np.int32)
    law = entropy.Geometric.of(integers)
    assert law.bits(integers).sum() / 8 == pytest.approx(len(entropy.encode([(integers, law)])), rel=1e-3)
    assert law.bits(np.array([0, 3], np.int32))[0] < law.bits(np.array([0, 3], np.int32))[1]
    assert entropy.Geometric.of(np.zeros(9, np.int32)).bits(np.zeros(9, np.int32)).sum() == 0
