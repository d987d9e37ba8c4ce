"""What can be compressed in the Compress dock and to what: targets, options, masks, channels."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compress_dock import QUICK, finish
from napari.components import ViewerModel
from napari.layers import Image, Labels
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.encoding import compress as encoding_compress
from napari_tinc.encoding.options import Options
from napari_tinc.events import Progress
from napari_tinc.plugin import writer
from napari_tinc.plugin.compress import plan
from napari_tinc.plugin.compress import widget as compress_widget


def test_one_of_several_volumes_or_all(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    pair = np.stack([small_array(), small_array()[::-1]])
    viewer.add_image(pair, name="c", scale=(9, 2, 1, 1), translate=(7, 5, 3, 1), colormap="magma", rotate=0)
    widget = make_widget(viewer)
    assert (
        list(widget.volumes.choices) == ["all, in one file", "all, one file each", "0", "1"]
        and widget.volumes.value == "all, in one file"
    )
    widget.volumes.value = "1"
    widget.start()
    finish(qtbot, widget)
    result = viewer.layers["c [1] (tinc 12x)"]
    assert list(result.scale) == [2, 1, 1] and list(result.translate) == [5, 3, 1] and result.colormap.name == "magma"
    correlation = np.corrcoef(result.data.ravel(), pair[1].ravel())[0, 1]
    assert correlation > np.corrcoef(result.data.ravel(), pair[0].ravel())[0, 1]
    widget.image.value = viewer.layers["c"]
    widget.volumes.value = "all, one file each"
    assert widget.plan_text.value.startswith("2 times 20 x 24 x 28")
    widget.start()
    assert len(widget.queue.waiting) == 1
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=60_000)
    finish(qtbot, widget)


def test_colours_of_an_rgb_volume(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.stack([(small_array() // 8).astype(np.uint8)] * 3, axis=-1), name="c", rgb=True)
    widget = make_widget(viewer)
    assert list(widget.volumes.choices)[2:5] == ["R", "G", "B"]
    widget.volumes.value = "G"
    widget.start()
    finish(qtbot, widget)
    assert viewer.layers["c [G] (tinc 12x)"].data.shape == (20, 24, 28)


def test_targets_and_options_reach_the_fit(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    given: list[dict[str, Any]] = []

    def note(_: object, options: Options, **__: object) -> Iterator[Progress]:
        given.append(vars(options))
        yield from ()

    monkeypatch.setattr(encoding_compress, "fit", note)
    widget = make_widget(viewer)
    assert "8 leaves, widths " in widget.networks_text.value
    widget.seed.value, widget.weights.value, widget.levels.value = 7, "int8", 3
    assert widget.networks_text.value.startswith("64 leaves")
    for target, value in (("Size (kB)", {"nbytes": 1500}), ("PSNR (dB)", {"psnr": 35})):
        widget.target.value = target
        widget.size.value = 1.5
        widget.start()
        finish(qtbot, widget)
        assert given[-1].items() >= (value | {"seed": 7, "weights": "int8", "levels": 3, "preset": "fast"}).items()
    widget.log.value = str(tmp_path / "log.jsonl")
    widget.start()
    finish(qtbot, widget)
    assert (tmp_path / "log.jsonl").exists()
    widget.log.value = str(tmp_path / "none" / "log.jsonl")
    widget.start()
    assert "there is no folder" in widget.status.value and widget.queue.running is None


def test_widths_and_calibration(
    qtbot: Any, viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = make_widget(viewer)
    entropy = plan.estimate(widget, small_array()).n_parameters
    widget.weights.value = "float16"
    assert plan.estimate(widget, small_array()).n_parameters < entropy / 2
    widget.weights.value = "entropy"
    widget.widths.value = "10, 4"
    assert widget.networks_text.value.startswith("8 leaves, widths 10, 4: ") and not widget.levels.enabled
    for text, reason in (
        ("a", "expected numbers"),
        ("300", "expected each 1 to 256"),
        ("250", "weights take at least"),
    ):
        widget.widths.value = text
        assert reason in widget.networks_text.value
        widget.start()
        assert reason in widget.status.value and widget.queue.running is None
    widget.widths.value, widget.calibration.value = "10 4", "none"
    widget.start()
    assert finish(qtbot, widget).startswith("Ratio")
    header = viewer.layers["a (tinc 12x)"].metadata["tinc"].header
    assert header.widths[0] == 10 and header.calibration.name == "NONE"
    widget.target.value = "PSNR (dB)"  # which chooses them
    assert not widget.widths.enabled and widget.levels.enabled and widget.chosen_widths() is None


def test_settings_are_remembered(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    from napari_tinc.plugin.preferences import read_preferences, save_preferences

    widget = make_widget(viewer)
    widget.ratio.value, widget.target.value, widget.size.value = 13, "Size (kB)", 2.5
    widget.start()
    finish(qtbot, widget)
    found = read_preferences()
    assert (found.ratio, found.preset, found.target, found.size) == (13, "fast", "Size (kB)", 2.5)
    assert not found.isolate
    save_preferences(target="Ratio", ratio=64, size=100.0, preset="balanced", isolate=True)  # settings outlive a test


def test_where_no_process_can_be_started_none_is_offered(
    viewer: ViewerModel, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/napari/napari")
    monkeypatch.setattr(compress_widget, "read_preferences", lambda: replace(QUICK, isolate=True))
    widget = make_widget(viewer)
    assert not widget.isolate.enabled and not widget.isolate.value


def test_a_compressed_copy_is_not_what_is_chosen_first(viewer: ViewerModel, make_widget: Any) -> None:
    viewer.add_image(small_array(), name="a (tinc 12x)", metadata={"tinc": object()})
    assert make_widget(viewer).image.value.name == "a"


def test_all_volumes_in_one_file(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    series = np.stack([small_array(), small_array()[::-1]])
    viewer.add_image(series, name="c", scale=(9, 2, 1, 1), translate=(7, 5, 3, 1), colormap="magma")
    widget = make_widget(viewer)
    widget.volumes.value = "all, in one file"
    assert widget.plan_text.value.startswith("2 x 20 x 24 x 28 uint16\n53.8 kB will become 4.5 kB")
    widget.start()
    assert finish(qtbot, widget).startswith("Ratio 12")
    result = viewer.layers["c (tinc 12x)"]
    assert result.metadata["tinc"].axis_labels == "tzyx" and result.data.shape == series.shape
    assert list(result.scale) == [9, 2, 1, 1] and list(result.translate) == [7, 5, 3, 1]
    assert result.colormap.name == "magma" and not widget.queue.waiting


def test_channels_of_a_mask_in_one_file(qtbot: Any, make_widget: Any) -> None:
    """Names are never channels with colours: they stay one layer, which had the axes of three."""
    viewer = ViewerModel()
    mask = np.stack([small_array() > 300, small_array() > 900])
    viewer.add_image(mask, name="c", axis_labels=("c", "z", "y", "x"))
    widget = make_widget(viewer)
    widget.volumes.value = "all, in one file"
    widget.start()
    assert "bit for bit" in finish(qtbot, widget)
    np.testing.assert_array_equal(viewer.layers["c (tinc lossless)"].data, mask)


def test_colours_in_one_file_become_layers(qtbot: Any, make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.stack([(small_array() // 8).astype(np.uint8)] * 3, axis=-1), name="c", rgb=True)
    widget = make_widget(viewer)
    widget.volumes.value = "all, in one file"
    widget.start()
    assert finish(qtbot, widget).startswith("Ratio 12")
    assert [layer.name for layer in viewer.layers] == ["c", "c R (tinc 12x)", "c G (tinc 12x)", "c B (tinc 12x)"]
    np.testing.assert_allclose(viewer.layers["c G (tinc 12x)"].colormap.colors[-1], [0, 1, 0, 1])


def test_a_largest_error_and_what_it_makes_of_the_other_choices(
    qtbot: Any, viewer: ViewerModel, make_widget: Any
) -> None:  # fmt: skip
    widget = make_widget(viewer)
    fitted = (widget.preset, widget.device, widget.seed, widget.weights, widget.levels, widget.widths, widget.preview)
    widget.target.value = "Max error"
    assert widget.max_error.value == "lossless" and "every voxel bit for bit" in widget.plan_text.value
    assert not any(choice.enabled for choice in fitted)
    widget.max_error.value = "12.5"
    assert "every voxel within 12.5\n" in widget.plan_text.value
    widget.start()
    assert not widget.stop.enabled and widget.cancel.enabled
    assert "Checked: every voxel within 12.5\nPSNR" in finish(qtbot, widget)
    layer = viewer.layers["a (tinc ±12.5)"]
    assert layer.metadata["tinc"].error_bound == 12.5 and layer.metadata["tinc_promise"] == "every voxel within 12.5"
    assert np.abs(layer.data.astype(float) - small_array()).max() <= 12.5
    widget.target.value = "Ratio"
    assert all(choice.enabled for choice in fitted)


@pytest.mark.parametrize("text", ["abc", "-1", "inf", "nan", "1,5"])
def test_a_largest_error_that_is_none(viewer: ViewerModel, make_widget: Any, text: str) -> None:
    widget = make_widget(viewer)
    widget.target.value, widget.max_error.value = "Max error", text
    assert f'max error is "{text}", expected a number' in widget.plan_text.value
    widget.start()
    assert widget.queue.running is None and widget.status.value == widget.plan_text.value


def test_labels_are_kept_bit_for_bit(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    names = (small_array() > 300).astype(np.int64) * 70_000
    labels = viewer.add_labels(names.copy(), name="cells", scale=(2, 0.5, 0.5), opacity=0.3)
    viewer.layers.selection.active = viewer.layers["a"]
    widget = make_widget(viewer)
    widget.image.value = labels
    assert (widget.target.value, widget.max_error.value) == ("Max error", "lossless")
    assert not (widget.target.enabled or widget.max_error.enabled)
    assert "int32" in widget.plan_text.value and "Labels and masks are always kept" in widget.plan_text.value
    widget.start()
    labels.data[:] = 9  # painted on while it is compressed
    assert "every voxel bit for bit" in finish(qtbot, widget)
    copy = viewer.layers["cells (tinc lossless)"]
    assert isinstance(copy, Labels) and copy.metadata["tinc"].labels
    assert (list(copy.scale), copy.opacity) == ([2, 0.5, 0.5], 0.3)
    np.testing.assert_array_equal(copy.data, names)
    widget.image.value = viewer.layers["a"]
    assert widget.target.value == "Ratio" and widget.target.enabled and widget.preset.enabled

    viewer.add_labels(names << 40, name="far")
    widget.reset_choices()  # as napari does
    widget.image.value = viewer.layers["far"]
    widget.start()
    assert "does not fit into int32" in finish(qtbot, widget)


def test_layers_that_come_leave_the_other_choices_alone(make_widget: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.stack([small_array()] * 3), name="t")
    widget = make_widget(viewer)
    widget.device.choices = ["auto", "cpu", "cuda"]
    widget.device.value, widget.volumes.value = "cuda", "1"
    viewer.add_image(small_array(), name="a")
    widget.reset_choices()  # as napari does
    assert (widget.image.value.name, widget.volumes.value, widget.device.value) == ("t", "1", "cuda")
    assert len(widget.volumes.choices) == 5


def test_a_mask_that_is_an_image(qtbot: Any, make_widget: Any, tmp_path: Any) -> None:
    viewer = ViewerModel()
    mask = small_array() > 300
    viewer.add_image(mask, name="mask")
    widget = make_widget(viewer)
    assert not widget.target.enabled and "bit for bit" in widget.plan_text.value
    widget.start()
    assert "bit for bit" in finish(qtbot, widget)
    copy = viewer.layers["mask (tinc lossless)"]
    assert isinstance(copy, Image)
    np.testing.assert_array_equal(copy.data, mask)
    data, arguments, _ = copy.as_layer_data_tuple()
    (path,) = writer.write(str(tmp_path / "mask.tinc"), data, arguments)
    assert tinc.open(path).dtype == bool


def test_a_result_can_be_saved_without_its_source(qtbot: Any, viewer: ViewerModel, make_widget: Any) -> None:
    widget = make_widget(viewer)
    widget.start()
    status = finish(qtbot, widget)
    viewer.layers.remove("a")
    widget.reset_choices()  # as napari does
    copy = viewer.layers["a (tinc 12x)"]
    assert widget.image.value is copy and widget.status.value == status
    assert not widget.save.native.isHidden()
    assert "This layer is a compressed copy." in widget.plan_text.value
