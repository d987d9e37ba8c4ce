"""Drive a real napari through all it can do; saves docs/images/*:

    python -m benchmarks.making.screenshots [--preset fast]

Needs a screen: Xvfb :9 -screen 0 1400x900x24 & DISPLAY=:9 QT_QPA_PLATFORM=xcb python -m benchmarks.making.screenshots
Works on a settings file of its own, and clicks the buttons a user would click.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

scratch = tempfile.TemporaryDirectory(prefix="napari-tinc-screenshots-")
os.environ["NAPARI_CONFIG"] = str(Path(scratch.name) / "settings.yaml")

import napari  # noqa: E402
import numpy as np  # noqa: E402
from napari._app_model import get_app_model  # noqa: E402
from PIL import Image  # noqa: E402
from qtpy.QtCore import Qt  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402

import napari_tinc as tinc  # noqa: E402
from napari_tinc.plugin.compare.modes import Mode  # noqa: E402
from napari_tinc.plugin.compare.widget import CompareWidget  # noqa: E402
from napari_tinc.plugin.compress import widget as compress_widget  # noqa: E402
from napari_tinc.plugin.compress.widget import CompressWidget  # noqa: E402
from napari_tinc.plugin.layers.from_volume import to_layer  # noqa: E402
from napari_tinc.plugin.leaves.widget import LeavesWidget  # noqa: E402

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SIZE = 1080, 680  # of the window, in pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="balanced")
    arguments = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    compress_widget.PREVIEW_SECONDS = 5  # so that a preview is in the picture

    viewer = new_viewer()
    viewer.open_sample("napari-tinc", "sample_mri")
    get_app_model().commands.execute_command("napari-tinc.compress_widget")  # as the menu item does
    widget = viewer.window.dock_widgets["Compress (TINC)"]
    assert isinstance(widget, CompressWidget)
    widget.preset.value = arguments.preset

    click(widget.compress)
    wait(lambda: "step" in widget.status.value)
    click(widget.cancel)
    wait(lambda: widget.queue.running is None)
    assert len(viewer.layers) == 1, "a cancelled job must add nothing"

    click(widget.compress)
    wait(lambda: widget.bar.max > 1 and widget.bar.value > widget.bar.max / 2 and "brain preview" in viewer.layers)
    save(viewer, "compress-running.png")
    wait(lambda: "brain (tinc 64x)" in viewer.layers)
    save(viewer, "compress-done.png")

    path = Path(scratch.name) / "brain.tinc"
    viewer.layers.selection = {viewer.layers["brain (tinc 64x)"]}
    viewer.layers.save(str(path), selected=True, plugin="napari-tinc")
    viewer.close()

    reopen(path)
    promise()
    compare()
    detail()
    leaves()
    gain()


def promise() -> None:
    """A file within a largest error, its leaves, and labels kept bit for bit."""
    viewer = new_viewer()
    viewer.open_sample("napari-tinc", "sample_mri")
    image = viewer.layers["brain"]
    get_app_model().commands.execute_command("napari-tinc.compress_widget")
    widget = viewer.window.dock_widgets["Compress (TINC)"]
    assert isinstance(widget, CompressWidget)
    widget.target.value = "Max error"
    widget.max_error.value = "2"
    click(widget.compress)
    wait(lambda: "brain (tinc ±2)" in viewer.layers)
    viewer.reset_view()
    save(viewer, "max-error.png")
    tissue = (image.data > 60).astype(np.uint8) + (image.data > 150)
    viewer.add_labels(tissue, name="tissue", scale=image.scale, units=image.units, axis_labels=image.axis_labels)
    widget.image.value = viewer.layers["tissue"]
    click(widget.compress)
    wait(lambda: "tissue (tinc lossless)" in viewer.layers)
    save(viewer, "labels.png")
    viewer.close()


def compare() -> None:
    viewer = new_viewer()
    viewer.open_sample("napari-tinc", "sample_mri")
    viewer.open_sample("napari-tinc", "sample_mri_tinc")
    get_app_model().commands.execute_command("napari-tinc.compare")
    widget = viewer.window.dock_widgets["Compare (TINC)"]
    assert isinstance(widget, CompareWidget)
    click(widget.measure)
    wait(lambda: widget.measure.enabled)
    widget.mode.value = str(Mode.SIDE)
    viewer.scene.camera.zoom *= 1.6
    save(viewer, "compare.png")
    widget.mode.value = str(Mode.CURTAIN)
    viewer.scene.camera.zoom *= 1.6
    frames = []
    for place in (*np.linspace(0.3, 0.7, 9), *np.linspace(0.65, 0.35, 7)):
        widget.place.value = float(place)
        wait(lambda: False, seconds=0.2)
        pixels = np.asarray(viewer.screenshot(flash=False))[..., :3]
        frames.append(Image.fromarray(np.ascontiguousarray(pixels)).resize((240, 240 * len(pixels) // pixels.shape[1])))
    frames = [frame.convert("L").quantize(24) for frame in frames]
    path = IMAGES / "curtain.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    widget.mode.value = str(Mode.OFF)
    click(widget.signed)
    wait(lambda: "brain difference" in viewer.layers)
    viewer.reset_view()
    save(viewer, "difference.png")
    viewer.close()


def detail() -> None:
    """What Measure tells of a small copy: errors, the regions of a labels layer, and which detail is kept."""
    viewer = new_viewer()
    viewer.open_sample("napari-tinc", "sample_mri")
    image = viewer.layers["brain"]
    packed = tinc.compress(image.data, ratio=512, preset="fast", spacing=(1, 1, 1), units="mm")
    data, arguments = to_layer(packed, "brain (tinc 512x)", 10**7)
    viewer.add_image(data, **arguments)
    tissue = (image.data > 60).astype(np.uint8) + (image.data > 150)
    labels = viewer.add_labels(tissue, name="tissue", scale=image.scale, units=image.units, visible=False)
    viewer.layers.selection.active = viewer.layers["brain (tinc 512x)"]
    get_app_model().commands.execute_command("napari-tinc.compare")
    widget = viewer.window.dock_widgets["Compare (TINC)"]
    assert isinstance(widget, CompareWidget)
    widget.regions.value = labels
    click(widget.measure)
    wait(lambda: widget.measure.enabled)
    viewer.window.resize(SIZE[0], 895)  # the plots need some height
    wait(lambda: False, seconds=1)
    widget.native.verticalScrollBar().setValue(widget.native.verticalScrollBar().maximum())
    save(viewer, "compare-detail.png")
    viewer.close()


def leaves() -> None:
    """A volume that is mostly empty, whose leaves are of many sizes."""
    z, y, x = np.indices((96, 96, 96)) / 96
    ball = np.exp(-60 * ((z - 0.5) ** 2 + (y - 0.4) ** 2 + (x - 0.3) ** 2))
    ripples = np.where((z - 0.5) ** 2 + (y - 0.6) ** 2 + (x - 0.7) ** 2 < 0.03, np.sin(90 * x) * np.sin(80 * y), 0)
    volume = (200 * (ball + 0.3 * ripples).clip(0, 1)).astype(np.uint8)
    viewer = new_viewer()
    viewer.add_image(volume, name="phantom")
    packed = tinc.compress(volume, ratio=400, preset="fast")
    data, arguments = to_layer(packed, "phantom (tinc)", 10**7)
    viewer.add_image(data, **arguments)
    get_app_model().commands.execute_command("napari-tinc.leaves_widget")
    widget = viewer.window.dock_widgets["Leaves (TINC)"]
    assert isinstance(widget, LeavesWidget)
    click(widget.measure)
    wait(lambda: not widget.pair.busy)
    widget.outlines.value = True
    click(widget.table)
    viewer.window.resize(SIZE[0], 860)  # the table needs some height
    save(viewer, "leaves.png")
    viewer.window.dock_widgets["Features table widget (napari)"].parent().close()
    viewer.window.resize(*SIZE)
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (15, 30, 105)
    save(viewer, "leaves-3d.png")
    viewer.dims.ndisplay = 2
    widget.outlines.value = False
    widget.map.value = True
    save(viewer, "leaf-error.png")
    viewer.close()


def gain() -> None:
    """The brain under a shading that its file knows nothing of, and what its leaves are corrected by."""
    viewer = new_viewer()
    viewer.open_sample("napari-tinc", "sample_mri")
    viewer.open_sample("napari-tinc", "sample_mri_tinc")
    shade = np.linspace(0.6, 1, 128, dtype=np.float32)
    viewer.layers["brain"].data = (viewer.layers["brain"].data * shade).astype(np.uint8)
    get_app_model().commands.execute_command("napari-tinc.leaves_widget")
    widget = viewer.window.dock_widgets["Leaves (TINC)"]
    click(widget.recalibrate)
    wait(lambda: not widget.pair.busy)
    widget.map_column.value = "gain"
    widget.map.value = True
    save(viewer, "leaf-gain.png")
    viewer.close()


def reopen(path: Path) -> None:
    viewer = new_viewer()
    (layer,) = viewer.open(path, plugin="napari-tinc")
    layer.rendering = "attenuated_mip"
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (25, 180, 105)
    viewer.scene.camera.zoom *= 0.8
    save(viewer, "reopened.png")
    viewer.close()


def new_viewer() -> napari.Viewer:
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(*SIZE)
    wait(lambda: False, seconds=1)
    return viewer


def click(button: object) -> None:
    QTest.mouseClick(button.native, Qt.MouseButton.LeftButton)


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QTest.qWait(50)


def save(viewer: napari.Viewer, name: str) -> None:
    wait(lambda: False, seconds=1)
    pixels = np.asarray(viewer.screenshot(canvas_only=False, flash=False))[..., :3]
    Image.fromarray(np.ascontiguousarray(pixels)).quantize(64).save(IMAGES / name, optimize=True)
    print(f"{name}: {(IMAGES / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
