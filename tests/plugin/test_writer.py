"""File > Save: at once from the compressed form, or by compressing."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes
from napari.utils import cancelable_progress
from napari.utils.notifications import notification_manager
from npe2 import PluginManager, PluginManifest
from short_fits import shorten
from volumes import small_array, small_volume, wide_array

import napari_tinc as tinc
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.plugin import writer
from napari_tinc.plugin.layers import display
from napari_tinc.plugin.layers.compressed import OVERLAY
from napari_tinc.plugin.layers.from_volume import to_layer
from napari_tinc.plugin.layers.origin import edited_message
from napari_tinc.plugin.preferences import Preferences
from napari_tinc.plugin.writer import SaveError
from napari_tinc.training import task

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    monkeypatch.setattr(writer, "read_preferences", lambda: Preferences(ratio=12, preset="fast", isolate=False))


@pytest.fixture
def viewer(npe2pm: PluginManager) -> ViewerModel:
    npe2pm.register(PluginManifest.from_distribution("napari-tinc"))
    return ViewerModel()


def save(layer: Image, path: Path) -> list[str]:
    return writer.write(str(path), *layer.as_layer_data_tuple()[:2])


def opened() -> Image:
    data, arguments = to_layer(small_volume(), "a", 10**6)
    return Image(data, **arguments)


def test_an_unchanged_layer_is_written_byte_for_byte(viewer: ViewerModel, tmp_path: Path) -> None:
    viewer.add_layer(opened())
    small_volume().save(tmp_path / "expected.tinc")
    written = viewer.layers.save(str(tmp_path / "a.tinc"), plugin="napari-tinc")
    assert written == [str(tmp_path / "a.tinc")]
    assert (tmp_path / "a.tinc").read_bytes() == (tmp_path / "expected.tinc").read_bytes()


def test_what_the_user_changed_around_the_data_is_stored(tmp_path: Path) -> None:
    layer = opened()
    layer.scale, layer.units = (3, 1, 1), ("nm",) * 3
    save(layer, tmp_path / "a.tinc")
    volume = tinc.open(tmp_path / "a.tinc")
    assert (volume.spacing, volume.units) == ((3, 1, 1), "nanometer")
    np.testing.assert_array_equal(np.asarray(volume), layer.data)


def test_any_other_layer_is_compressed(tmp_path: Path) -> None:
    layer = Image(small_array(), scale=(2, 1, 1), units=("um",) * 3, axis_labels=("t", "y", "x"), name="a")
    assert save(layer, tmp_path / "a.v2") == [str(tmp_path / "a.v2.tinc")]
    volume = tinc.open(tmp_path / "a.v2.tinc")
    assert 12 <= volume.ratio < 12.4
    assert (volume.spacing, volume.units, volume.axis_labels) == ((2, 1, 1), "micrometer", "tyx")


def test_an_edited_layer_is_compressed_again(tmp_path: Path) -> None:
    layer = opened()
    layer.data[:] = 77
    save(layer, tmp_path / "a.tinc")
    assert np.unique(np.asarray(tinc.open(tmp_path / "a.tinc"))) == [77]


def test_a_multiscale_layer_is_compressed_from_its_finest_level(tmp_path: Path) -> None:
    array = small_array()
    save(Image([array, array[::2, ::2, ::2]], multiscale=True), tmp_path / "a.tinc")
    assert tinc.open(tmp_path / "a.tinc").shape == array.shape


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((5, 6)), "2 axes"),
        (np.zeros((3, 4, 5, 6)), "a holds 3 volumes"),
        (np.zeros((5, 6, 7, 3), np.uint8), "a holds 3 volumes"),
        (np.full((5, 6, 7), np.nan), "NaN"),
    ],
)
def test_what_cannot_be_saved_is_one_line_and_the_old_file_stays(
    tmp_path: Path, array: np.ndarray, reason: str
) -> None:
    old = tmp_path / "a.tinc"
    old.write_bytes(b"old")
    layer = Image(array, rgb=array.shape[-1] == 3, contrast_limits=(0, 1), name="a")
    with pytest.raises(SaveError, match=f"^a.tinc was not saved: .*{reason}") as caught:
        save(layer, old)
    assert "\n" not in str(caught.value) and not isinstance(caught.value, ValueError)
    assert old.read_bytes() == b"old"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tinc").mkdir()
    with pytest.raises(SaveError, match=r"a\.tinc was not saved: .*"):
        save(opened(), tmp_path / "a.tinc")
    with pytest.raises(SaveError, match="it is a folder"):
        save(Image(small_array()), tmp_path / "a.tinc")
    with pytest.raises(SaveError, match="there is no folder"):
        save(Image(small_array()), tmp_path / "no" / "a.tinc")
    with pytest.raises(SaveError, match="No such file"):
        save(opened(), tmp_path / "no" / "a.tinc")


@pytest.mark.parametrize("layer", [opened, lambda: Image(small_array(), name="a")], ids=["as it is", "compressed"])
def test_a_full_disk_says_how_many_bytes_are_needed(layer: Callable[[], Image], full_disk: Path) -> None:
    old, rest = full_disk / "a.tinc", full_disk / "rest"
    old.write_bytes(b"old")
    with suppress(OSError), rest.open("wb", buffering=0) as file:
        while file.write(bytes(2**12)):
            pass
    with pytest.raises(SaveError, match=r"^a\.tinc was not saved: cannot save, \d+ bytes needed: No space left"):
        save(layer(), old)
    assert old.read_bytes() == b"old" and sorted(file.name for file in full_disk.iterdir()) == ["a.tinc", "rest"]


def test_cancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cancelled(cancelable_progress):
        def update(self, n: int = 1) -> None:
            super().update(n)
            self.cancel()  # as the button in napari's activity does

    monkeypatch.setitem(task.STEPS, "fast", 10**6)
    monkeypatch.setattr("napari.utils.cancelable_progress", Cancelled)
    with pytest.raises(SaveError, match=r"a\.tinc was not saved: cancelled$"):
        save(Image(small_array()), tmp_path / "a.tinc")
    assert not list(tmp_path.iterdir())


def test_the_trainers_own_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(encoding_compress, "fit", fail)
    with pytest.raises(SaveError, match=r"a\.tinc was not saved: RuntimeError: CUDA out of memory\.$"):
        save(Image(small_array()), tmp_path / "a.tinc")


def test_labels_are_written_bit_for_bit(viewer: ViewerModel, tmp_path: Path) -> None:
    names = (small_array() > 300).astype(np.int64) * 70_000
    viewer.add_labels(names, name="cells", scale=(2, 1, 1))
    viewer.layers.save(str(tmp_path / "a.tinc"), plugin="napari-tinc")
    (layer,) = viewer.open(tmp_path / "a.tinc", plugin="napari-tinc")
    assert isinstance(layer, Labels) and list(layer.scale) == [2, 1, 1]
    np.testing.assert_array_equal(layer.data, names)
    layer.data[0, 0, 0] = 5  # as a brush does
    viewer.layers.selection = {layer}
    viewer.layers.save(str(tmp_path / "b.tinc"), selected=True, plugin="napari-tinc")
    np.testing.assert_array_equal(np.asarray(tinc.open(tmp_path / "b.tinc")), layer.data)


def test_a_mask_that_is_an_image_is_saved_as_it_is(tmp_path: Path) -> None:
    mask = small_array() > 300
    for layer in (Image(mask, name="a"), Image([mask, mask[::2, ::2, ::2]], multiscale=True, name="a")):
        save(layer, tmp_path / "a.tinc")
        volume = tinc.open(tmp_path / "a.tinc")
        np.testing.assert_array_equal(np.asarray(volume), mask)
        assert volume.dtype == bool and volume.error_bound == 0


def test_a_mask_stays_one(viewer: ViewerModel, tmp_path: Path) -> None:
    mask = small_array() > 300
    tinc.compress(mask, max_error=0).save(tmp_path / "a.tinc")
    (layer,) = viewer.open(tmp_path / "a.tinc", plugin="napari-tinc")
    assert isinstance(layer, Labels) and layer.data.dtype == np.uint8
    viewer.layers.save(str(tmp_path / "b.tinc"), plugin="napari-tinc")
    assert (tmp_path / "b.tinc").read_bytes() == (tmp_path / "a.tinc").read_bytes()
    assert tinc.open(tmp_path / "b.tinc").dtype == bool


@pytest.mark.parametrize("bound", [0.0, 7.0])
def test_a_largest_error_from_the_preferences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: float) -> None:
    monkeypatch.setattr(
        writer, "read_preferences", lambda: Preferences("Max error", max_error=bound, isolate=bound > 0)
    )
    save(Image(small_array(), name="a"), tmp_path / "a.tinc")
    volume = tinc.open(tmp_path / "a.tinc")
    assert volume.error_bound == bound and not volume.labels
    assert np.abs(np.asarray(volume).astype(float) - small_array()).max() <= bound


def test_what_was_changed_of_a_file_with_a_bound_is_kept_exactly(tmp_path: Path) -> None:
    """Under the same bound again it was up to twice as far from the original, and promised not to be."""
    for bound in (0.0, 2.0):
        data, arguments = to_layer(tinc.compress(small_array(), max_error=bound), "a", 10**6)
        layer = Image(data, **arguments)
        layer.data[3, 4, 5] = 7
        save(layer, tmp_path / "a.tinc")
        again = tinc.open(tmp_path / "a.tinc")
        assert again.error_bound == 0
        np.testing.assert_array_equal(np.asarray(again), layer.data)


def test_a_lazy_layer_that_was_flipped_is_saved_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is still of the volume, and of its shape: what had been opened was written, and nobody told."""
    monkeypatch.setattr(display, "OVERVIEW_VOXELS", 0)
    volume = tinc.compress(wide_array(), max_error=0)
    data, arguments = to_layer(volume, "a", 0)
    layer = Image(data, **arguments)
    assert layer.multiscale and not edited_message(layer)
    layer.data = [level[::-1] for level in data]
    assert edited_message(layer)
    save(layer, tmp_path / "a.tinc")
    np.testing.assert_array_equal(tinc.open(tmp_path / "a.tinc"), wide_array()[::-1])


def test_several_layers_become_a_file_each(viewer: ViewerModel, tmp_path: Path) -> None:
    """napari's dialog asked about x.tinc only: no other file is replaced, and what is no volume is named."""
    notification_manager.records.clear()
    image = viewer.add_image(small_array(), name="a (tinc 64x)")
    viewer.add_image(small_array(), name="a")
    names = (small_array() > 300).astype(np.uint16)
    viewer.add_labels(names, name="cells/1", translate=(1, 2, 3))
    viewer.add_points(np.ones((2, 3)), name="dots")
    viewer.add_image(small_array(), name="a error", metadata={OVERLAY: weakref.ref(image)})
    (tmp_path / "x-a.tinc").write_bytes(b"old")
    written = viewer.layers.save(str(tmp_path / "x.tinc"), plugin="napari-tinc")
    assert [Path(each).name for each in written] == ["x-a 2.tinc", "x-a 3.tinc", "x-cells 1.tinc"]
    assert (tmp_path / "x-a.tinc").read_bytes() == b"old"
    np.testing.assert_array_equal(np.asarray(tinc.open(written[2])), names)
    told = [note.message for note in notification_manager.records]
    assert told[-1].endswith("Left out, since only images and labels can be saved: dots, a error.")
    assert tinc.open(written[2]).affine[:3, 3].tolist() == [1, 2, 3]
    assert any(re.match(r"Ratio 12\.\d, PSNR .* dB, \d+ s: x-a 2, 2\.\d kB", each) for each in told)


def test_layers_that_are_no_volumes_are_refused_in_one_line(tmp_path: Path) -> None:
    shapes = Shapes(name="s").as_layer_data_tuple()
    with pytest.raises(SaveError, match="a .tinc file holds an image or labels"):
        writer.write_layers(str(tmp_path / "x.tinc"), [shapes, shapes])


def test_what_can_be_saved_of_several_is_saved(tmp_path: Path) -> None:
    notification_manager.records.clear()
    layers = [
        Image(small_array(), name="a").as_layer_data_tuple(),
        Image(np.zeros((5, 6)), name="f").as_layer_data_tuple(),
    ]
    assert writer.write_layers(str(tmp_path / "x.tinc"), layers) == [str(tmp_path / "x-a.tinc")]
    assert "x-f.tinc was not saved: f has 2 axes" in notification_manager.records[-1].message
    with pytest.raises(SaveError, match="x-f.tinc was not saved"):
        writer.write_layers(str(tmp_path / "x.tinc"), layers[1:] * 2)
