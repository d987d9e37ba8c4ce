"""Golden files: what earlier versions wrote is read to the same values, and every damage of it refused."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fields import FURTHER, File, Row

import napari_tinc as tinc
from napari_tinc.decoding.block_contents import BlockContents
from napari_tinc.decoding.bounded_box import BoundedBox
from napari_tinc.differences import checksum
from napari_tinc.errors import TincError
from napari_tinc.format.chunks import Ancillary, ChunkKind

FOLDER = Path(__file__).parents[1] / "golden"
RECORDS: dict[str, dict[str, Any]] = json.loads((FOLDER / "golden.json").read_text())
FILES = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.tinc"))}
each = pytest.mark.parametrize("name", FILES)


def near(found: np.ndarray, values: np.ndarray, probes: list[list[float]], span: float) -> None:
    """Unrounded and rounded values at the places of a record: to 1e-5 of the range, and half a unit of the dtype."""
    places, wanted = np.array(probes).T
    places = places.astype(int)
    np.testing.assert_allclose(found.ravel()[places], wanted, rtol=0, atol=1e-5 * span)
    rounded = values.ravel()[places]
    unit = np.ones(len(places)) if rounded.dtype.kind in "iu" else np.spacing(np.abs(rounded)).astype(np.float64)
    assert (np.abs(rounded.astype(np.float64) - wanted) <= 1e-5 * span + unit / 2).all()


def test_the_files_are_those_that_were_recorded() -> None:
    assert FILES.keys() == RECORDS.keys() and len(FILES) >= 60
    assert {name: zlib.crc32(data) for name, data in FILES.items()} == {
        name: record["file_crc32"] for name, record in RECORDS.items()
    }


@each
def test_it_decodes_to_its_record(name: str) -> None:
    record = RECORDS[name]
    volume = tinc.open(FOLDER / f"{name}.tinc")
    volume.verify()
    assert list(volume.shape) == record["shape"] and volume.header.dtype == np.dtype(record["dtype"])
    assert (volume.dtype.kind == "b") == record["bool"]
    for key in ("value_range", "spacing"):
        assert list(getattr(volume, key)) == record[key]
    for key in ("labels", "channels", "error_bound"):
        assert getattr(volume, key) == record[key]
    assert (volume.axis_labels, volume.units) == (record["axes"], record["unit"])
    values = np.asarray(volume)
    assert values.shape == volume.shape and values.dtype == volume.dtype
    span = volume.value_range[1] - volume.value_range[0]
    if "crc32" in record:
        assert checksum(values.astype(volume.header.dtype)) == record["crc32"]
    else:
        axes = [np.arange(n) + 0.5 for n in volume.header.shape]
        n_volumes = values.size // np.prod(volume.header.shape)
        found = np.stack([volume._decoder.floats(at, 1, axes, 1) for at in range(n_volumes)])
        near(found, values, record["probes"], span)
    for at, wanted in enumerate(record.get("overviews", [])):
        assert isinstance(volume.parts, BlockContents)
        part = volume.parts.overview(at)
        assert part is not None and list(part.shape) == wanted["shape"]
        if isinstance(part, BoundedBox):
            assert checksum(part.array) == wanted["crc32"]
        else:
            axes = [np.arange(n) + 0.5 for n in part.shape]
            near(part.floats(axes, spacing=1), part.values(axes), wanted["probes"], span)


@each
def test_it_is_written_again_as_it_is(name: str, tmp_path: Path) -> None:
    tinc.open(FOLDER / f"{name}.tinc").save(tmp_path / "again.tinc")
    assert (tmp_path / "again.tinc").read_bytes() == FILES[name]


def flips(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """One bit of each of the first 400 bytes and of every third behind. ``make fuzz`` flips every bit."""
    damaged = bytearray(data)
    for at in [*range(min(400, len(data))), *range(400, len(data), 3)]:
        bit = 1 << rng.randrange(8)
        damaged[at] ^= bit
        yield bytes(damaged)
        damaged[at] ^= bit


@each
def test_flipped_bits_are_refused(name: str) -> None:
    for damaged in flips(FILES[name], random.Random(name)):
        with pytest.raises(TincError):
            tinc.TincVolume(damaged).verify()


@each
def test_it_is_refused_when_it_is_cut_off(name: str) -> None:
    """Anywhere up to byte 200, and at every eleventh behind. ``make fuzz`` tries every length."""
    data = FILES[name]
    for size in [*range(min(200, len(data))), *range(200, len(data), 11), len(data) - 1]:
        with pytest.raises(TincError):
            tinc.TincVolume(data[:size])


FUTURE = Row(0xE5, 3, b"from the future")
ONE_TREE, BLOCKS = "every-fact", "trained-blocks"


@pytest.mark.parametrize("name", [ONE_TREE, BLOCKS, "exact-labels-u1"])
class TestLaterVersions:
    """The table of format.md: what a reader of 1.0 does with a file of a later version."""

    def test_a_newer_minor_is_read(self, name: str) -> None:
        file = File.parse(FILES[name])
        for minor in (1, 7, 15):
            file.version = 0x10 | minor
            np.testing.assert_array_equal(tinc.TincVolume(file.build()), tinc.TincVolume(FILES[name]))

    @pytest.mark.parametrize("major", [0, 2, 15])
    def test_another_major_is_refused(self, name: str, major: int) -> None:
        file = File.parse(FILES[name])
        file.version = major << 4
        with pytest.raises(TincError, match=f"needs a reader of format {major}; this version of napari-tinc reads f"):
            tinc.TincVolume(file.build())

    def test_an_unknown_feature_is_refused_by_number(self, name: str) -> None:
        file = File.parse(FILES[name])
        file.features |= FURTHER
        file.fields = {"further": b"\2", **{key: value for key, value in file.fields.items() if key != "further"}}
        with pytest.raises(
            TincError, match="needs the feature of number 9; this version of napari-tinc cannot read it"
        ):
            tinc.TincVolume(file.build())

    @pytest.mark.parametrize(("kind", "called"), [(2, "RESIDUAL"), (6, "number 6")])
    def test_an_unknown_critical_chunk_is_refused_by_name(self, name: str, kind: int, called: str) -> None:
        file = File.parse(FILES[name])
        file.rows.append(Row(kind << 4, 0, b""))
        with pytest.raises(TincError, match=f"needs the chunk kind {called}; this version"):
            tinc.TincVolume(file.build())

    @pytest.mark.parametrize("kind", [1, 4, 5, 6, 7])
    def test_an_unknown_ancillary_chunk_is_skipped_and_kept(self, name: str, kind: int, tmp_path: Path) -> None:
        file = File.parse(FILES[name])
        file.rows.insert(1, Row(0x85 | kind << 4, 3, FUTURE.payload))
        volume = tinc.TincVolume(file.build())
        volume.verify()
        np.testing.assert_array_equal(volume, tinc.TincVolume(FILES[name]))
        volume.save(tmp_path / "same.tinc")
        assert (tmp_path / "same.tinc").read_bytes() == file.build()
        changed = volume.rewritten(spacing=(3, 2, 1), units="cm", axis_labels="zyx")
        kept = [chunk for chunk in changed.parts.ancillary() if chunk.kind == kind]
        assert [(c.level, c.n_nodes, c.checked()) for c in kept] == [(5, 3, FUTURE.payload)]


def test_critical_chunks_of_the_other_kind_of_file_are_refused_by_name() -> None:
    one_tree = [(ONE_TREE, kind) for kind in (ChunkKind.BLOCK, ChunkKind.OVERVIEW, ChunkKind.VERIFY)]
    for name, kind in [*one_tree, (BLOCKS, ChunkKind.MODEL), (BLOCKS, ChunkKind.WEIGHTS)]:
        file = File.parse(FILES[name])
        file.rows.append(Row(kind << 4, 0, b""))
        with pytest.raises(TincError, match=f"needs the chunk kind {kind.name}"):
            tinc.TincVolume(file.build())


def test_what_a_later_ancillary_chunk_holds_is_checked() -> None:
    file = File.parse(FILES["unknown-ancillary"])
    assert [row.code >> 4 for row in file.rows[2:]] == [8 | Ancillary.META, 15, 8 | Ancillary.THUMB]
    file.rows[3].crc = 0
    volume = tinc.TincVolume(file.build())
    with pytest.raises(TincError, match=r"unknown \(7\) chunk of level 5: CRC-32 is [0-9a-f]{8}, expected 00000000"):
        volume.verify()
