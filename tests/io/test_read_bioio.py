"""Reading images of microscopes through BioIO, where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from images import ramp

from napari_tinc.io.read import read_image


@pytest.mark.parametrize(
    ("name", "package"),
    [("v.czi", "bioio-czi"), ("v.lif", "bioio-lif"), ("v.ND2", "bioio-nd2"), ("v.oib", "bioio-bio")],
)
def test_the_package_is_named_if_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "bioio", None)
    with pytest.raises(ImportError, match=f"needs BioIO: pip install bioio {package}"):
        read_image(tmp_path / name)


@pytest.mark.filterwarnings("ignore")  # those of BioIO's readers
def test_czi(tmp_path: Path) -> None:
    pytest.importorskip("bioio_czi")
    writer = pytest.importorskip("pylibCZIrw.czi")
    array = ramp((2, 4, 20, 24))
    with writer.create_czi(str(tmp_path / "v.czi")) as czi:
        for c, z in np.ndindex(2, 4):
            czi.write(data=array[c, z][..., None], plane={"C": c, "Z": z, "T": 0})
        czi.write_metadata(
            document_name="v", channel_names={0: "DAPI", 1: "GFP"}, scale_x=0.25e-6, scale_y=0.5e-6, scale_z=2e-6
        )
    image = read_image(tmp_path / "v.czi")
    assert image.axes == "CZYX"
    np.testing.assert_array_equal(image.array, array)
    assert (image.spacing, image.units) == (pytest.approx((2, 0.5, 0.25)), "micrometer")
    assert [channel["name"] for channel in image.channels] == ["DAPI", "GFP"]
