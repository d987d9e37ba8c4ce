"""Reading HDF5 files. Every file is made here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images import SHAPE, SPACING, check_volume, ramp, save_hdf5

from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_image


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".hdf", ".H5"])
def test_hdf5(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    save_hdf5(path, nested=ramp((1, *SHAPE)), table=ramp((5, 6)), other=ramp(dtype="uint8"))
    for key in ("/g/nested", "g/nested"):
        image = read_image(f"{path}:{key}")
        check_volume(image, None, None)
        assert image.name == "v nested"
    path.unlink()


def test_hdf5_takes_the_only_volume(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    save_hdf5(tmp_path / "v.h5", nested=ramp(), table=ramp((5, 6)), nothing=h5py.Empty("f4"))
    with h5py.File(tmp_path / "v.h5", "a") as file:
        file["g/nested"].attrs["element_size_um"] = SPACING
    image = read_image(tmp_path / "v.h5")
    check_volume(image, SPACING, "micrometer")
    assert image.name == "v"


def test_hdf5_channels_are_left_unread(tmp_path: Path) -> None:
    save_hdf5(tmp_path / "v.h5", raw=ramp((2, *SHAPE)))
    image = read_image(f"{tmp_path}/v.h5:/raw")
    assert image.axes == "QZYX"
    np.testing.assert_array_equal(image.array[1], ramp((2, *SHAPE))[1])  # its file is still open


def test_hdf5_errors_list_the_volumes(tmp_path: Path) -> None:
    save_hdf5(tmp_path / "v.h5", raw=ramp(), nested=ramp((2, 3, 4)), table=ramp((5, 6)))
    listed = r"3D datasets: .*v\.h5:/g/nested \(2x3x4\), .*v\.h5:/raw \(4x5x6\)$"
    for path, problem in [("v.h5", "it has 2 3D datasets, not one"), ("v.h5:/lost", "it has no dataset /lost")]:
        with pytest.raises(ValueError, match=f"{problem}; {listed}"):
            read_image(tmp_path / path)
    save_hdf5(tmp_path / "none.h5", table=ramp((5, 6)))
    with pytest.raises(ValueError, match="it has 0 3D datasets, not one; 3D datasets: none"):
        read_image(tmp_path / "none.h5")
    save_hdf5(tmp_path / "many.h5", **{f"t{i}": ramp((2, 2, 2)) for i in range(20)})
    with pytest.raises(ValueError, match=r"it has 20 3D datasets.*:/t17 \(2x2x2\), \.\.\.$"):
        read_image(tmp_path / "many.h5")


# --- values that are not simply there --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "attributes", "expected", "told"),
    [
        ("int16", {}, "int16", ""),
        ("int16", {"scale_factor": 2.0, "add_offset": -5.0}, "int16", ""),
        ("int16", {"scale_factor": 0.5, "add_offset": -5.0}, "float32", ""),
        ("int16", {"scale_factor": 0.1}, "float64", ""),
        ("int16", {"scale_factor": 0.1, "_FillValue": np.int16(3)}, "float64", "hold 3 .* become NaN"),
        ("float32", {"_FillValue": np.array([3], "f4")}, "float32", "become NaN"),
        ("float32", {"missing_value": np.float32(3)}, "float32", "become NaN"),
        ("int16", {"_FillValue": np.int16(3)}, "int16", "kept as a number"),
    ],
)
def test_scales_and_fill_values_are_those_of_netcdf(
    tmp_path: Path, dtype: str, attributes: dict[str, Any], expected: str, told: str
) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = file.create_dataset("v", data=ramp(dtype=dtype))
        dataset.attrs.update(attributes)
    if told:
        with pytest.warns(ReadWarning, match=told):
            array = read_image(tmp_path / "v.h5").array
    else:
        array = read_image(tmp_path / "v.h5").array
    scale, offset = attributes.get("scale_factor", 1.0), attributes.get("add_offset", 0.0)
    shown = ramp(dtype=dtype) * np.float64(scale) + offset
    shown[ramp() == 3] = np.nan if "NaN" in told else shown[ramp() == 3]
    assert array.dtype == expected
    np.testing.assert_array_equal(np.asarray(array, np.float64), shown)
    np.testing.assert_array_equal(np.asarray(array[1, 2:, 3], np.float64), shown[1, 2:, 3])


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"scale_factor": "0.5"}, r"times 0\.5 \(scale_factor\)"),
        ({"scale_factor": [0.5, 2.0]}, r"times \[0\.5 2\. \] \(scale_factor\)"),
        ({"scale_factor": 0.0}, r"times 0\.0 \(scale_factor\)"),
        ({"scale_factor": np.nan, "_FillValue": np.int16(3)}, r"times nan \(scale_factor\)"),
        ({"add_offset": "none"}, r"plus none \(add_offset\)"),
    ],
)
def test_scales_without_a_meaning_are_refused(tmp_path: Path, attributes: dict[str, Any], named: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("v", data=ramp(dtype="int16")).attrs.update(attributes)
    with pytest.raises(ValueError, match=f"stored as numbers {named}, which has no meaning"):
        read_image(tmp_path / "v.h5")


def test_parts_in_files_that_are_not_here_are_no_zeros(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    save_hdf5(tmp_path / "a.h5", d=ramp())
    save_hdf5(tmp_path / "b.h5", other=ramp())
    layout = h5py.VirtualLayout((3, *SHAPE), "u2")
    for number, name in enumerate("abc"):
        layout[number] = h5py.VirtualSource(f"{name}.h5", "d", shape=SHAPE)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
        assert not file["v"][2].any()  # what makes the check necessary
    with pytest.raises(ValueError, match=r"some of /v is in 2 places that are not here: b\.h5:d, c\.h5:d"):
        read_image(f"{tmp_path}/v.h5:/v")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("v", SHAPE, "u2", external=[("gone.raw", 0, 240)])
        file["x"], file["y"] = h5py.ExternalLink("gone.h5", "/d"), h5py.SoftLink("/nothing")
        file["z"] = h5py.ExternalLink("a.h5", "/d")
    (tmp_path / "gone.raw").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"some of /v is in 1 places that are not here: gone\.raw"):
        read_image(f"{tmp_path}/w.h5:/v")
    with pytest.raises(ValueError, match=r"links that lead nowhere: /x to gone\.h5/d, /y to /nothing"):
        read_image(f"{tmp_path}/w.h5:/x")
    check_volume(read_image(f"{tmp_path}/w.h5:/z"), None, None)


def test_chunks_that_were_never_written_are_said(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("v", (8, 5, 6), "u2", chunks=(2, 5, 6), fillvalue=9)[:4] = ramp()
    with pytest.warns(ReadWarning, match=r"2 of 4 chunks of /v were never written; they are 9"):
        assert (read_image(tmp_path / "v.h5").array[4:] == 9).all()


@pytest.mark.parametrize(("code", "name"), [(32008, r"32008 \(bitshuffle\)"), (32999, "32999")])
def test_a_filter_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, name: str
) -> None:
    h5py = pytest.importorskip("h5py")
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    if h5py.h5z.filter_avail(code):
        pytest.skip("the filter is installed")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(SHAPE)
        properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (0, 2))
        h5py.h5d.create(file.id, b"v", h5py.h5t.NATIVE_UINT16, h5py.h5s.create_simple(SHAPE), properties)
    with pytest.raises(ImportError, match=f"reading /v needs the HDF5 filter {name}, .*: pip install hdf5plugin"):
        read_image(tmp_path / "v.h5")
