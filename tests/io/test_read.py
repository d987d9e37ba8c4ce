"""Reading images of other formats. Every file is made here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from images import ramp, save_hdf5, save_nifti

from napari_tinc.io import units
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image

# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v.tif", "v.npy", "v.nii.gz", "v.zarr", "v.zarr/0", "v.h5", "v.h5:/raw"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name.partition(":")[0]):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "problem"), [("v.png", "the suffix .png is not supported"), ("v", "it has no suffix")]
)
def test_unsupported_suffix(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{problem}; supported are \.tif, .*\.npy, .*\.h5, .*, and files without a header \(--raw\)"
    ):
        read_image(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"not an image of any kind\n" * 20])
@pytest.mark.parametrize("name", ["v.tif", "v.npy", "v.nii", "v.nii.gz", "v.zarr", "v.h5"])
def test_unreadable_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"^cannot read .*{name}: .+") as caught:
        read_image(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["v.tif", "v.npy", "v.nii", "v.nii.gz", "v.h5"])
def test_file_cut_in_half(tmp_path: Path, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 2**15, (8, 16, 16), np.int16)
    if name.startswith("v.nii"):
        save_nifti(tmp_path / name, array)
    elif name == "v.h5":
        save_hdf5(tmp_path / name, raw=array)
    else:
        write_image(tmp_path / name, array, None, None)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"^cannot read .*{name}: .+"):
        read_image(tmp_path / name)


def test_folders_and_archives_and_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "folder.zarr").mkdir()
    with (tmp_path / "archive.npy").open("wb") as stream:
        np.savez(stream, a=ramp(), b=ramp())
    np.save(tmp_path / "pickle.npy", np.array([{}, {}], object))
    for name in ("folder.tif", "folder.zarr", "archive.npy", "pickle.npy"):
        with pytest.raises(ValueError, match=f"cannot read .*{name}: .+"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(("name", "library"), [("v.nii", "nibabel"), ("v.zarr", "zarr"), ("v.h5", "h5py")])
def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'needs {library}: pip install "napari-tinc\[io\]"'):
        read_image(tmp_path / name)


# --- units and imports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(units.UNITS))
def test_units_are_those_of_napari(name: str) -> None:
    pint = pytest.importorskip("pint")
    unit = pint.get_application_registry().parse_expression(name).units
    symbol, metres = units.UNITS[name]
    if name != "pixel":
        assert (1 * unit).to("meter").magnitude == pytest.approx(metres)
    assert {units.unit_name(text) for text in (name, symbol, f"{name}s", name.title())} == {name}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("μm", "micrometer"),
        ("µm", "micrometer"),
        ("\u212b", "angstrom"),
        ("Micrometre", "micrometer"),
        (" mm ", "millimeter"),
    ]
    + [(text, None) for text in (None, "", "Mm", "reference frame", "second", 3)],
)
def test_unit_spellings(text: object, name: str | None) -> None:
    assert units.unit_name(text) == name


def test_importing_the_module_imports_no_library() -> None:
    heavy = ["tifffile", "nibabel", "h5py", "zarr", "torch", "napari", "qtpy"]
    code = f"import sys, napari_tinc.io.image; sys.exit(', '.join(set({heavy}) & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
