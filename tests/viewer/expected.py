"""What the Python readers make of files, written for the tests of the JavaScript reader, which read it back.

    export PYTHONPATH=src:tests:tests/hostile
    python tests/viewer/expected.py golden FOLDER/golden.bin
    python tests/viewer/expected.py hostile FOLDER/hostile.bin --inputs 20000 --seed 1
    python tests/viewer/expected.py details FOLDER/details.bin
    EXPECTED=FOLDER node --test tests/viewer/reader.test.mjs

``golden`` are the golden files with their values by docs/reader.py, or the CRC-32 of these that golden.json has;
``hostile`` are mutated files with the verdict of napari-tinc on each. Both are rows of records: u8 verdict, u32 length
of the file, u32 length of the values, the file, the values (little-endian, of the dtype of the file) or their CRC-32.
``details`` are files with DETAILS, and in place of values a JSON object of what napari-tinc reads in it.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mutator import DECODED, Mutator

import napari_tinc as tinc
from napari_tinc.decoding.bounded_box import BoundedBox
from napari_tinc.decoding.contents import SingleTree
from napari_tinc.decoding.volume import TincVolume
from napari_tinc.errors import TincError
from napari_tinc.format.chunks import Ancillary
from napari_tinc.format.details import Details, as_json, pack_details
from napari_tinc.format.metadata import with_chunk
from napari_tinc.format.placement import Placement, matrix_of_qform, rotation_of

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.tinc"))
# Verdicts. OPENED says that a file too large to be decoded is opened, EITHER nothing, CHECKSUM has a CRC-32 of values.
REFUSED, EXACT, NETWORKS, OPENED, EITHER, CHECKSUM = range(6)
Record = tuple[int, bytes, bytes]


def golden() -> Iterator[Record]:
    """Yield each golden file with the values that docs/reader.py finds, or with their checksum."""
    sys.path.insert(0, str(ROOT / "docs"))
    import reader

    records = json.loads((ROOT / "tests" / "golden" / "golden.json").read_text())
    for path in GOLDEN:
        data, record = path.read_bytes(), records[path.stem]
        if "crc32" in record and record["dtype"] != "f2":
            yield CHECKSUM, data, struct.pack("<I", record["crc32"])
        else:
            with np.errstate(all="ignore"):
                values = reader.decode(data)
            yield EXACT if "crc32" in record else NETWORKS, data, values.tobytes()


def hostile(seed: int, n_inputs: int) -> Iterator[Record]:
    """Yield mutated files with the verdict of napari-tinc."""
    mutator = Mutator(seed, [path.read_bytes() for path in GOLDEN])
    for _ in range(n_inputs):
        data = mutator.next()
        with np.errstate(all="ignore"):
            verdict, values = judged(data)
        yield verdict, data, values


def details() -> Iterator[Record]:
    """Yield files with each kind of placement and all details, and what they say."""
    volume = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    turned = np.diag([2.0, 0.5, 0.25, 1.0])
    turned[:3, :3] = rotation_of((0.5, 0.1, -0.7, 0.5)) @ turned[:3, :3]
    turned[:3, 3] = -1.25, 1e4, 3.25e-3
    qform = (0.1, -0.2, 0.3, -90.0, 12.5, 0.1, 0.25, 0.5, 2.0, -1.0)
    by_qform = Placement.from_xyz(matrix_of_qform(qform), "RAS", qform_code=1, qform=qform)
    exact = Placement(affine=[[2, 0.1, 0, 5], [0, 0.5, 0, -3], [0, 0, 0.25, 7]], space="LPS")
    look = Details(
        time=(0.0334, "second"), limits=(-1000, 2.5), colormap="#000000 #ff0000", gamma=0.7, opacity=0.5, name="Größe",
        look={"rendering": "mip", "blending": "translucent" * 9},
        objects=tuple((label, f"name {label}", "#00ff0080") for label in range(-3, 40)),
    )  # fmt: skip
    for placement in (exact, Placement(affine=turned.tolist(), space="RAS"), by_qform, None):
        file = tinc.compress(volume, max_error=0, spacing=(2, 0.5, 0.25), units="mm")
        payload = pack_details(placement, look, file.spacing, volume.shape, 4000)
        chunks = with_chunk(file.parts.ancillary(), Ancillary.DETAILS, payload)
        data = file.parts.rewritten(chunks)
        read = TincVolume(data)
        matrix = None if read.placement is None else read.placement.matrix[:3].tolist()
        yield EXACT, data, json.dumps({"affine": matrix, **as_json(None, read.details)}).encode()


def judged(data: bytes) -> tuple[int, bytes]:
    """Return the verdict on a file, and its values if they can be compared."""
    try:
        volume = TincVolume(data)
    except TincError:
        return REFUSED, b""
    try:
        if not has_plain_json(volume):
            return EITHER, b""
        if volume.size > DECODED:
            volume.parts.check()
            if isinstance(volume.parts, SingleTree):
                volume.parts.part(0, 0)._errors()
            _ = volume.dtype, volume.axis_labels, volume.channels, volume.provenance, volume.details, volume.fill
            return OPENED, b""
        volume.verify()
        values = np.asarray(volume)
    except TincError:
        return (EITHER if volume.size > DECODED else REFUSED), b""
    exact = all(isinstance(part, BoundedBox) for _, _, part in volume.boxes())
    return EXACT if exact else NETWORKS, values.tobytes()


def has_plain_json(volume: TincVolume) -> bool:
    """Return False for JSON on which parsers may differ: other encodings, NaN, numbers or nests without end."""

    def refuse(text: str) -> None:
        raise ValueError(text)

    for role in (Ancillary.META, Ancillary.PROVENANCE):
        for chunk in volume.parts.ancillary(role)[:1]:
            try:
                json.loads(chunk.payload)
            except RecursionError:
                return False
            except ValueError as error:
                if "integer string conversion" in str(error):
                    return False
                continue  # refused by all
            try:
                json.loads(chunk.payload.decode(), parse_constant=refuse)
            except ValueError:
                return False
    return True


def write(path: Path, records: Iterator[Record]) -> None:
    """Write records to a file."""
    with path.open("wb") as file:
        for verdict, data, values in records:
            file.write(struct.pack("<BII", verdict, len(data), len(values)) + data + values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["golden", "hostile", "details"])
    parser.add_argument("path", type=Path, help="where the records are written to")
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"golden": golden, "hostile": lambda: hostile(options.seed, options.inputs), "details": details}
    write(options.path, kinds[options.kind]())


if __name__ == "__main__":
    main()
