"""Reading folders of slices, files without a header and .npz. Every file is made here, by other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from images import SHAPE, ramp

from napari_tinc.errors import ReadWarning
from napari_tinc.io.read import read_image, read_volumes

LONG = (12, 5, 6)


def save(folder: Path, names: list[str], array: Any = None, suffix: str = ".tif", **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, plane in zip(names, ramp(LONG) if array is None else array, strict=False):
        if suffix == ".tif":
            tifffile.imwrite(folder / f"{name}.tif", plane, **options)
        else:
            image = pytest.importorskip("PIL.Image")
            image.fromarray(plane).save(folder / f"{name}{suffix}")
    return folder


@pytest.mark.parametrize("suffix", [".tif", ".png", ".bmp"])
@pytest.mark.parametrize("pattern", ["slice_{}", "{}", "2024_scan7_{:04}_rec"])
def test_slices_come_in_the_order_of_their_numbers(tmp_path: Path, suffix: str, pattern: str) -> None:
    array = ramp(LONG, "u1" if suffix == ".bmp" else "u2")
    folder = save(tmp_path / "scan", [pattern.format(i) for i in range(12)], array, suffix)
    (folder / ".DS_Store").write_text("x")
    (folder / "scan.log").write_text("x")
    image = read_volumes(folder)
    assert (image.axes, image.name, image.array.dtype) == ("ZYX", "scan", array.dtype)
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_array_equal(image.array[3:7, 2, ::2], array[3:7, 2, ::2])
    np.testing.assert_array_equal(read_volumes(f"{folder}/*{suffix}").array, array)


def test_facts_and_calibration_of_slices(tmp_path: Path) -> None:
    text = "ImageJ=1.54f\nunit=mm\ncf=0\nc0=-32768.0\nc1=1.0\n"
    names = [f"s{i}" for i in range(12)]
    folder = save(tmp_path / "s", names, ramp(LONG) + 32768, description=text, metadata=None, resolution=(4, 2))
    with pytest.warns(ReadWarning, match="no voxel size along z, 1 is taken"):
        image = read_image(folder)
    assert (image.spacing, image.units, image.array.dtype) == ((1, 0.5, 0.25), "millimeter", "int16")
    np.testing.assert_array_equal(image.array, ramp(LONG))
    tifffile.imwrite(folder / "s3.tif", ramp(LONG)[3])
    with pytest.raises(ValueError, match=r"1 of its 12 slices are not like the others, 5 x 6 uint16, cf=0.*s3\.tif"):
        read_image(folder)


def test_the_odd_slice_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "scan", [f"a{i}" for i in range(12)])
    tifffile.imwrite(folder / "a7.tif", np.zeros((4, 4), "u1"))
    with pytest.raises(ValueError, match=r"1 of its 12 slices .*5 x 6 uint16: a7\.tif \(4 x 4 uint8\)"):
        read_image(folder)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a0", "a1", "b0", "b1"], "names of 2 kinds, 2 like a0.tif, 2 like b0.tif"),
        (["t0_z0", "t0_z1", "t1_z0", "t1_z1"], "count more than one thing, 0 to 1, 0 to 1"),
        (["s1", "s01"], "count more than one thing"),
    ],
)
def test_names_that_tell_no_order_are_refused(tmp_path: Path, names: list[str], problem: str) -> None:
    folder = save(tmp_path / "scan", names)
    with pytest.raises(ValueError, match=problem):
        read_image(folder)


def test_some_of_a_folder(tmp_path: Path) -> None:
    folder = save(tmp_path / "scan", [f"t{t}_z{z}" for t in range(2) for z in range(6)])
    np.testing.assert_array_equal(read_image(folder / "t1_*.tif").array, ramp(LONG)[6:])
    with pytest.raises(FileNotFoundError, match="there are no such files"):
        read_image(folder / "t3_*.tif")


@pytest.mark.parametrize(
    ("names", "told"),
    [(["s0", "s1", "s2", "s4", "s5"], "s2.tif to s4.tif"), (["f0_c0", "f1_c1", "f2_c0", "f3_c1"], "count a second")],
)
def test_what_is_doubtful_is_said(tmp_path: Path, names: list[str], told: str) -> None:
    folder = save(tmp_path / "scan", names)
    with pytest.warns(ReadWarning, match=told):
        assert read_image(folder).array.shape == (len(names), 5, 6)


def test_folders_without_slices_say_what_they_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folder without slices .*its files: none"):
        read_image(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="its files: 1 .txt"):
        read_image(tmp_path)
    save(tmp_path, ["a1"], ramp((1, 3, 5, 6)), photometric="minisblack", planarconfig="separate")
    with pytest.raises(ValueError, match="images of 3 x 5 x 6 uint16, expected single slices"):
        read_volumes(tmp_path)
    save(tmp_path, ["a1", "a2"])
    save(tmp_path, ["a1"], suffix=".png")
    with pytest.raises(ValueError, match=r"slices of several kinds, .*say which with"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match="a single slice; give the folder that has all slices"):
        read_volumes(tmp_path / "a1.tif")


def test_a_folder_that_is_a_zarr_has_any_name(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "volume", data=ramp())
    np.testing.assert_array_equal(read_image(tmp_path / "volume").array, ramp())


# --- raw and npz -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "dtype", "offset"),
    [
        ("4x5x6,uint16", "<u2", 0),
        ("4,5,6,uint16", "<u2", 0),
        ("4x5x6,uint16,big", ">u2", 0),
        ("4x5x6,>u2,offset=7", ">u2", 7),
        ("4x5x6,float32,little,offset=16", "<f4", 16),
        ("2x4x5x6,u1", "u1", 0),
    ],
)
def test_raw(tmp_path: Path, layout: str, dtype: str, offset: int) -> None:
    array = ramp((2, *SHAPE) if layout[1:].startswith("x4") else SHAPE, dtype)
    (tmp_path / "v.vol").write_bytes(bytes(offset) + array.tobytes())
    image = read_image(tmp_path / "v.vol", raw=layout)
    assert isinstance(image.array, np.memmap) and image.array.dtype == dtype
    np.testing.assert_array_equal(image.array, array)


@pytest.mark.parametrize(
    ("layout", "problem"),
    [
        ("4x5x7,uint16", "takes 280 bytes, but the file has 240, 40 fewer"),
        ("4x5x5,uint16", r"takes 200 bytes, but the file has 240, 40 more: if they are a header, say offset=40"),
        ("4x5x6", "expected a shape z, y, x and a dtype such as 300x512x512,uint16"),
        ("4x5x6,uint17", "expected a shape"),
        ("4x5x6,uint16,middle", "expected a shape"),
        ("4x5x0,uint16", "expected a shape"),
        ("uint16", "expected a shape"),
    ],
)
def test_raw_layouts_that_do_not_fit(tmp_path: Path, layout: str, problem: str) -> None:
    (tmp_path / "v").write_bytes(ramp().tobytes())
    with pytest.raises(ValueError, match=problem):
        read_image(tmp_path / "v", raw=layout)


def test_raw_in_the_wrong_order_of_bytes_is_doubted(tmp_path: Path) -> None:
    (1000 + ramp((8, 30, 40), ">u2")).astype(">u2").tofile(tmp_path / "v.raw")
    with pytest.warns(ReadWarning, match="far more alike in the other order of bytes; is it big"):
        read_image(tmp_path / "v.raw", raw="8x30x40,uint16")
    read_image(tmp_path / "v.raw", raw="8x30x40,uint16,big")


def test_npz(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "v.npz", image=ramp(), affine=np.eye(4))
    for path in ("v.npz", "v.npz:image"):
        np.testing.assert_array_equal(read_image(tmp_path / path).array, ramp())
    with pytest.raises(ValueError, match="it has no array mask; its arrays: image, affine"):
        read_image(f"{tmp_path}/v.npz:mask")
    np.savez(tmp_path / "two.npz", a=ramp(), b=ramp())
    with pytest.raises(ValueError, match=r"it has 2 arrays of 3 axes or more, not one: .*two\.npz:a \(4x5x6\)"):
        read_image(tmp_path / "two.npz")
    np.savez(tmp_path / "bad.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match="cannot read"):
        read_image(f"{tmp_path}/bad.npz:a")
