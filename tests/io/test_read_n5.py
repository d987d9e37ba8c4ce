"""Reading N5 folders, written by hand: big-endian blocks, each behind a header."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images import SHAPE, check_volume, ramp

from napari_tinc.io.read import read_image, read_volumes


def save(path: Path, array: np.ndarray[Any, Any], **attributes: Any) -> None:
    """Write a dataset of one block. Its dimensions are the reverse of the array's axes."""
    path.mkdir(parents=True)
    sizes = array.shape[::-1]
    facts = {"dimensions": sizes, "blockSize": sizes, "dataType": str(array.dtype), "compression": {"type": "raw"}}
    (path / "attributes.json").write_text(json.dumps(facts | attributes))
    block = path.joinpath(*"0" * array.ndim)
    block.parent.mkdir(parents=True)
    header = struct.pack(f">HH{array.ndim}I", 0, array.ndim, *sizes)
    block.write_bytes(header + array.astype(array.dtype.newbyteorder(">")).tobytes())


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ({}, None),
        ({"pixelResolution": {"dimensions": [0.25, 0.5, 2], "unit": "um"}}, (2, 0.5, 0.25)),
        ({"pixelResolution": {"dimensions": [1, 1, 2], "unit": "um"}, "downsamplingFactors": [2, 2, 1]}, (2, 2, 2)),
        ({"resolution": [0.25, 0.5, 2], "units": ["um", "um", "um"], "axes": ["x", "y", "z"]}, (2, 0.5, 0.25)),
        (
            {"transform": {"axes": ["z", "y", "x"], "scale": [2, 0.5, 0.25], "units": ["um"] * 3}},
            (2, 0.5, 0.25),
        ),
    ],
)
def test_n5(tmp_path: Path, attributes: dict[str, Any], spacing: Any) -> None:
    pytest.importorskip("tensorstore")
    save(tmp_path / "v.n5" / "volume", ramp(), **attributes)
    for path in ("v.n5", "v.n5/volume"):
        check_volume(read_image(tmp_path / path), spacing, "micrometer" if spacing else None)


def test_levels_and_several_datasets(tmp_path: Path) -> None:
    pytest.importorskip("tensorstore")
    for level in ("s0", "s1", "s10"):
        save(tmp_path / "v.n5" / "c0" / level, ramp())
    check_volume(read_image(tmp_path / "v.n5"), None, None)
    save(tmp_path / "v.n5" / "c1" / "s0", ramp())
    with pytest.raises(ValueError, match=r"it has 2 N5 datasets.*v\.n5/c0/s0 \(4x5x6\), .*v\.n5/c1/s0 \(4x5x6\)$"):
        read_image(tmp_path / "v.n5")
    check_volume(read_image(tmp_path / "v.n5" / "c1"), None, None)


def test_axes_that_are_not_named_are_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("tensorstore")
    save(tmp_path / "v.n5", ramp((2, *SHAPE)))
    with pytest.raises(ValueError, match="--axes"):
        read_volumes(tmp_path / "v.n5")
    image = read_volumes(tmp_path / "v.n5", axes="XYZC")
    assert image.axes == "CZYX"
    np.testing.assert_array_equal(image.array, ramp((2, *SHAPE)))


def test_the_library_is_named_if_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "v.n5", ramp())
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(ImportError, match=r'reading N5 needs tensorstore: pip install "napari-tinc\[n5\]"'):
        read_image(tmp_path / "v.n5")
