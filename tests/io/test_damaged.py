"""Files that are cut short, or full of zeros: one line that names the file and what is wrong, in our words first."""

from __future__ import annotations

import gzip
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_tinc.errors import ReadWarning
from napari_tinc.io.arrays import MOST_FOREIGN
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image

ARRAY = np.random.default_rng(0).integers(0, 60000, (6, 24, 28)).astype("u2")
FOREIGN = re.compile(r"Exception thrown|Traceback|0x[0-9a-f]|\.cxx|\n|allow_pickle=")


def plain(library: str) -> Callable[[Path], None]:
    def save(file: Path) -> None:
        pytest.importorskip(library)
        write_image(file, ARRAY, (1, 1, 1), "mm")

    return save


def deflated_tiff(file: Path) -> None:
    tifffile.imwrite(file, ARRAY, compression="zlib", photometric="minisblack")


def compressed_mha(file: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(file), True)


def packed_mrc(file: Path) -> None:
    plain("mrcfile")(file.with_name("w.mrc"))
    file.write_bytes(gzip.compress(file.with_name("w.mrc").read_bytes()))


def mgz(file: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.MGHImage(ARRAY.astype("f4"), np.eye(4)).to_filename(file)


def mat(file: Path) -> None:
    pytest.importorskip("scipy.io").savemat(file, {"a": ARRAY})


def netcdf(file: Path) -> None:
    with pytest.importorskip("scipy.io").netcdf_file(file, "w") as made:
        for name, length in zip("zyx", ARRAY.shape, strict=True):
            made.createDimension(name, length)
        made.createVariable("v", "i2", tuple("zyx"))[:] = ARRAY


def zipped_zarr(file: Path) -> None:
    plain("zarr")(file.with_name("w.zarr"))
    with zipfile.ZipFile(file, "w") as archive:
        for part in file.with_name("w.zarr").rglob("*"):
            if part.is_file():
                archive.write(part, part.relative_to(file.with_name("w.zarr")))


def folder_of(suffix: str) -> Callable[[Path], None]:
    def save(file: Path) -> None:
        pillow = pytest.importorskip("PIL.Image")
        file.parent.mkdir()
        for number, plane in enumerate(ARRAY[:3]):
            slice_file = file.with_name(f"s{number}.{suffix}")
            if suffix == "tif":
                tifffile.imwrite(slice_file, plane, compression="zlib")
            else:
                pillow.fromarray((plane >> 8).astype("u1")).save(slice_file)

    return save


KINDS: dict[str, Callable[[Path], Any]] = {
    "v.tif": plain("tifffile"), "v.ome.tif": plain("tifffile"), "z.tif": deflated_tiff, "v.npy": plain("numpy"),
    "v.npz": lambda file: np.savez_compressed(file, ARRAY), "v.nii": plain("nibabel"), "v.nii.gz": plain("nibabel"),
    "v.nrrd": plain("nrrd"), "v.mha": plain("SimpleITK"), "c.mha": compressed_mha, "v.mrc": plain("mrcfile"),
    "v.mrc.gz": packed_mrc, "v.h5": plain("h5py"), "v.nxs": plain("h5py"), "v.mgz": mgz, "v.mat": mat, "v.nc": netcdf,
    "v.ozx": zipped_zarr, "png/s1.png": folder_of("png"), "jpg/s1.jpg": folder_of("jpg"),
    "tif/s1.tif": folder_of("tif"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    made = tmp_path / name
    file = made if made.suffix != ".nxs" else made.with_name("v.h5")
    KINDS[name](file)
    file.replace(made)
    good = made.read_bytes()
    for content in (good[: len(good) * 6 // 10], bytes(len(good)), np.random.default_rng(1).bytes(len(good))):
        made.write_bytes(content)
        with (
            pytest.raises(ValueError, match="^cannot read ") as caught,
            warnings.catch_warnings(action="ignore", category=ReadWarning),
        ):
            np.asarray(read_image(made.parent if made.parent != tmp_path else made).array)
        text = str(caught.value)
        assert made.name in text or made.parent != tmp_path
        assert not FOREIGN.search(text), text
        assert len(text) < len(str(made)) + MOST_FOREIGN + 100
        assert "damaged" in text
