"""Drive a real napari through a compression; saves docs/images/*.png: python benchmarks/screenshots.py [--preset fast]

Needs a screen: Xvfb :9 -screen 0 1400x900x24 & DISPLAY=:9 QT_QPA_PLATFORM=xcb python benchmarks/screenshots.py
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

from napari_tinc.plugin.compress import CompressWidget  # noqa: E402

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = 1080, 680  # of the window, in pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="balanced")
    arguments = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)

    viewer = new_viewer()
    viewer.open_sample("napari-tinc", "sample_mri")
    get_app_model().commands.execute_command("napari-tinc.compress_widget")  # as the menu item does
    widget = viewer.window.dock_widgets["Compress (TINC)"]
    assert isinstance(widget, CompressWidget)
    widget.preset.value = arguments.preset

    click(widget.compress)
    wait(lambda: "step" in widget.status.value)
    click(widget.cancel)
    wait(lambda: widget.compress.enabled)
    assert len(viewer.layers) == 1, "a cancelled job must add nothing"

    click(widget.compress)
    wait(lambda: widget.bar.max > 1 and widget.bar.value > widget.bar.max / 2)
    save(viewer, "compress-running.png")
    wait(lambda: widget.compress.enabled)
    viewer.canvas.grid.enabled = True
    viewer.reset_view()
    save(viewer, "compress-done.png")

    path = Path(scratch.name) / "brain.tinc"
    viewer.layers.selection = {viewer.layers[-1]}
    viewer.layers.save(str(path), selected=True, plugin="napari-tinc")
    viewer.close()

    reopen(path)


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
