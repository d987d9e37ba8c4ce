"""The table of formats in the documentation is what a round trip in each format keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from napari_tinc.io.write import KEEPS, OUTPUT_SUFFIXES, output_suffix

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_tools"))

for library in ("zarr", "h5py", "nibabel", "nrrd", "SimpleITK", "mrcfile"):
    pytest.importorskip(library)

import formats  # noqa: E402


def test_the_page_has_the_table_that_round_trips_make() -> None:
    made = formats.table()
    page = (ROOT / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    assert made in page, f"docs/reference/formats.md needs this table:\n{made}"


@pytest.mark.parametrize("suffix", [suffix for _, _, suffix, _ in formats.WRITTEN])
def test_what_is_said_to_be_lost_is_lost_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    said = KEEPS[suffix if suffix in KEEPS else output_suffix(f"v{suffix}")]
    assert formats.facts_kept(tmp_path, suffix) == set(said)


def test_every_format_that_is_written_is_in_the_table() -> None:
    listed = {suffix for _, suffixes, suffix, _ in formats.WRITTEN for suffix in (*suffixes.split(", "), suffix)}
    assert set(OUTPUT_SUFFIXES) <= listed
