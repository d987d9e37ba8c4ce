"""Random files: what is read is what their own library reads, to the last bit. TINC_FUZZ=2000 tries as many."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from fuzz_files import WRITERS, file_in, same_spacing

from napari_tinc.io.read import read_image

COUNT = int(os.environ.get("TINC_FUZZ", "90"))


@pytest.mark.parametrize("writer", range(len(WRITERS)), ids=lambda number: f"{number}-{WRITERS[number].__name__}")
def test_random_files_are_read_as_their_own_library_reads_them(tmp_path: Path, writer: int) -> None:
    for seed in range(writer, COUNT, len(WRITERS)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        expected = WRITERS[writer](np.random.default_rng(seed), folder)
        layout = folder / "layout"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = read_image(file_in(folder), raw=layout.read_text() if layout.exists() else None)
        about = f"seed {seed}: {file_in(folder).name} {image.array.dtype} {image.array.shape}"
        values = np.asarray(image.array)
        assert values.shape == np.squeeze(expected.values).shape or values.shape == expected.values.shape, about
        wide = np.int64 if values.dtype.kind in "iub" and expected.values.dtype.kind in "iub" else np.float64
        np.testing.assert_array_equal(values.astype(wide), expected.values.astype(wide), about)
        assert same_spacing(image.spacing, expected.spacing), f"{about}: {image.spacing}, not {expected.spacing}"
        assert image.units == expected.units, f"{about}: {image.units}, not {expected.units}"
        shutil.rmtree(folder)
