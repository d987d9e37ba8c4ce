"""Reading HDF5 files. Every file is made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from images import SHAPE, SPACING, check_volume, ramp, save_hdf5

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
