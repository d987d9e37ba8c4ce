"""Random files: what is read is what their own library reads, to the last bit. TINC_FUZZ=2000 tries as many."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import fuzz_files
import fuzz_scans
import fuzz_science
import numpy as np
import pytest
from fuzz_files import Expected, file_in, same_spacing

from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_image

WRITERS = (*fuzz_files.WRITERS, *fuzz_scans.WRITERS, *fuzz_science.WRITERS)
NAMES = (*fuzz_files.NAMES, *fuzz_scans.NAMES, *fuzz_science.NAMES)
COUNT = int(os.environ.get("TINC_FUZZ", str(4 * len(WRITERS))))


@pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")  # nibabel's MGH
@pytest.mark.parametrize("writer", range(len(WRITERS)), ids=lambda number: f"{number}-{WRITERS[number].__name__}")
def test_random_files_are_read_as_their_own_library_reads_them(tmp_path: Path, writer: int) -> None:
    for seed in range(writer, COUNT, len(WRITERS)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        expected = WRITERS[writer](np.random.default_rng(seed), folder)
        file, layout = file_in(folder, NAMES), folder / "layout"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("error")
            warnings.simplefilter("always", ReadWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            image = read_image(file, raw=layout.read_text() if layout.exists() else None, **expected.choices)
            values = np.asarray(image.array)
        about = f"seed {seed}: {file.name} {image.axes} {image.array.dtype} {image.array.shape}"
        said = [str(one.message) for one in caught]
        assert all(expected.said and re.search(expected.said, text) for text in said), f"{about}: {said}"
        assert bool(said) == bool(expected.said), f"{about}: {said}, expected {expected.said!r}"
        check_values(values, expected, about)
        check_place(image, expected, about)
        shutil.rmtree(folder)


def check_values(values: np.ndarray, expected: Expected, about: str) -> None:
    """Fail if the values are others, or in another order."""
    shape = np.shape(expected.values)
    assert values.shape == shape or values.shape == np.squeeze(expected.values).shape, f"{about}, not {shape}"
    wide = np.int64 if values.dtype.kind in "iub" and expected.values.dtype.kind in "iub" else np.float64
    np.testing.assert_array_equal(values.astype(wide), expected.values.astype(wide).reshape(values.shape), about)


def check_place(image: Any, expected: Expected, about: str) -> None:
    """Fail if spacing, unit, place in the world, axes or channels are others."""
    assert same_spacing(image.spacing, expected.spacing), f"{about}: {image.spacing}, not {expected.spacing}"
    assert image.units == expected.units, f"{about}: {image.units}, not {expected.units}"
    if expected.matrix is not None:
        assert image.placement is not None, about
        found, corner = image.placement.xyz(expected.space), [*np.shape(expected.values)[:-4:-1], 1]
        away = max(np.abs((found - expected.matrix) @ end).max() for end in ([0, 0, 0, 1], corner))
        assert away < 1e-4 * max(1, *(image.spacing or [1])), f"{about}: off by {away}: {found}, not {expected.matrix}"
    if expected.names is not None:
        assert [channel.get("name") for channel in image.channels] == list(expected.names), about
    assert expected.axes in (None, image.axes), f"{about}, not {expected.axes}"
