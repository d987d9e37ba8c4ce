"""A layer that is saved and opened again lies where it lay, and looks as it looked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils import Colormap
from napari.utils.colormaps import DirectLabelColormap

import napari_tinc as tinc
from napari_tinc.format.placement import Placement
from napari_tinc.plugin import reader, writer
from napari_tinc.plugin.preferences import Preferences

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
VALUES = np.random.default_rng(0).integers(0, 99, (12, 14, 16)).astype(np.uint16)
SHEARED = np.array([[1, 0.2, 0, 3], [0, 1, 0, 4], [0.1, 0, 2, 5], [0, 0, 0, 1.0]])
PLACES: list[dict[str, Any]] = [
    {"translate": (5, 6, 7), "scale": (2, 1, 0.5), "units": ("um",) * 3},
    {"scale": (2, -1, 0.5), "translate": (0, 100, 0)},
    {"scale": (2, 1, 0.5), "rotate": (10, 20, 30), "shear": (0.1, 0.2, 0.3), "translate": (1e4, -7.1, 3)},
    {"affine": SHEARED, "scale": (3, 1, 1), "units": ("um",) * 3},
]


@pytest.fixture(autouse=True)
def lossless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "read_preferences", lambda: Preferences("Max error", max_error=0, isolate=False))


def reopened(layer: Any, path: Path) -> Any:
    writer.write(str(path), *layer.as_layer_data_tuple()[:2], labels=isinstance(layer, Labels))
    ((data, arguments, kind),) = reader.read(str(path))
    return (Labels if kind == "labels" else Image)(data, **arguments)


def check_place(layer: Any, other: Any) -> None:
    for point in np.random.default_rng(1).uniform(0, 12, (20, 3)):
        np.testing.assert_allclose(layer.data_to_world(point), other.data_to_world(point), rtol=0, atol=1e-6)
    assert layer.units == other.units


@pytest.mark.parametrize("place", PLACES, ids=["moved", "flipped", "turned", "affine"])
def test_place_and_look(tmp_path: Path, place: dict[str, Any]) -> None:
    look = {"contrast_limits": (3, 70), "colormap": "viridis", "gamma": 1.3, "opacity": 0.5}
    layer = Image(VALUES, name="my cells", **look, **place)
    other = reopened(layer, tmp_path / "x.tinc")
    check_place(layer, other)
    np.testing.assert_array_equal(other.data, VALUES)
    assert (other.name, other.colormap.name, other.gamma, other.opacity) == ("my cells", "viridis", 1.3, 0.5)
    assert tuple(other.contrast_limits) == (3, 70)
    plain = tinc.compress(VALUES, max_error=0, spacing=(2, 1, 1), units="micrometer").nbytes_compressed
    assert (tmp_path / "x.tinc").stat().st_size <= plain + 90  # 80, and longer numbers in the table of chunks
    again = reopened(other, tmp_path / "y.tinc")  # and nothing is lost or added when it is saved once more
    assert (tmp_path / "x.tinc").read_bytes() == (tmp_path / "y.tinc").read_bytes()
    check_place(layer, again)


def test_what_is_changed_after_opening_is_saved_without_compressing(tmp_path: Path) -> None:
    tinc.compress(VALUES, max_error=5, spacing=(2, 1, 1)).save(tmp_path / "x.tinc")
    ((data, arguments, _),) = reader.read(str(tmp_path / "x.tinc"))
    layer = Image(data, **arguments)
    assert "translate" not in arguments
    layer.translate, layer.rotate, layer.contrast_limits, layer.gamma = (1, 2, 3), (0, 30, 0), (10, 20), 0.5
    other = reopened(layer, tmp_path / "x.tinc")
    check_place(layer, other)
    assert (tuple(other.contrast_limits), other.gamma, other.name) == ((10, 20), 0.5, "x")
    assert tinc.open(tmp_path / "x.tinc").error_bound == 5


def test_a_place_in_a_body_stays_one(tmp_path: Path) -> None:
    """A file made of a NIfTI image, whose layer is moved: its coordinates are still those of the scanner."""
    place = Placement(affine=SHEARED.tolist(), space="RAS", sform_code=1, qform_code=1)
    tinc.compress(VALUES, max_error=0, placement=place, units="millimeter").save(tmp_path / "x.tinc")
    ((data, arguments, _),) = reader.read(str(tmp_path / "x.tinc"))
    layer = Image(data, **arguments)
    np.testing.assert_allclose(layer.data_to_world((1, 2, 3)), (SHEARED @ [1, 2, 3, 1])[:3], atol=1e-9)
    reopened(layer, tmp_path / "x.tinc")
    assert tinc.open(tmp_path / "x.tinc").placement == place
    layer.translate = (10, 0, 0)
    reopened(layer, tmp_path / "x.tinc")
    moved = tinc.open(tmp_path / "x.tinc").placement
    assert moved is not None and (moved.space, moved.sform_code) == ("RAS", 1) and moved.affine != place.affine


def test_a_colormap_of_ones_own(tmp_path: Path) -> None:
    layer = Image(VALUES, name="x", colormap=Colormap([[0, 0, 0], [1, 0.5, 0]], name="mine"))
    other = reopened(layer, tmp_path / "x.tinc")
    np.testing.assert_allclose(other.colormap.colors, layer.colormap.colors, atol=1 / 255)
    assert tinc.open(tmp_path / "x.tinc").details.limits is None  # they are the range of the values


def test_names_and_colours_of_labels(tmp_path: Path) -> None:
    labels = (np.indices((24, 40, 40)).sum(0) // 30).astype(np.uint8)
    colors = DirectLabelColormap(color_dict={None: "gray", 1: "blue", 2: "#00ff00"})
    names = {"index": [1, 2], "name": ["liver", "spleen"]}
    layer = Labels(labels, name="seg", colormap=colors, features=names, translate=(1, 2, 3))
    other = reopened(layer, tmp_path / "seg.tinc")
    check_place(layer, other)
    np.testing.assert_array_equal(other.data, labels)
    assert list(other.features["name"]) == ["liver", "spleen"]
    np.testing.assert_allclose(other.get_color(2), [0, 1, 0, 1])


def test_time_steps(tmp_path: Path) -> None:
    volume = tinc.compress(np.stack([VALUES, VALUES]), max_error=0, axis_labels="tzyx", spacing=(2, 1, 1),
                           units="micrometer", details={"time": (2.5, "second")})  # fmt: skip
    volume.save(tmp_path / "t.tinc")
    ((data, arguments, _),) = reader.read(str(tmp_path / "t.tinc"))
    layer = Image(data, **arguments)
    assert tuple(layer.scale) == (2.5, 2, 1, 1) and [str(unit) for unit in layer.units][:2] == ["second", "micrometer"]


def test_windows_of_channels(tmp_path: Path) -> None:
    channels = [{"name": "a", "window": "5 50"}, {"name": "b"}]
    tinc.compress(np.stack([VALUES, VALUES]), max_error=0, axis_labels="czyx", channels=channels).save(
        tmp_path / "c.tinc"
    )
    first, second = reader.read(str(tmp_path / "c.tinc"))
    assert first[1]["contrast_limits"] == (5, 50) and second[1]["contrast_limits"] != (5, 50)
