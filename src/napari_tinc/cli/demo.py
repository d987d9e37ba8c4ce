"""The command ``napari-tinc demo``: compress the sample, and show it beside its original."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from typing import TYPE_CHECKING

import napari_tinc as tinc

from .compress import fit_table, fit_to_file
from .output import print_result
from .paths import check_output
from .tables import put

if TYPE_CHECKING:
    from ..io.image import Image

# Run in another process: Qt aborts a process in which it cannot open a window.
QT_PROBE = "from qtpy.QtGui import QGuiApplication as A; a = A([]); print(a.platformName())"


def run_demo(args: argparse.Namespace) -> None:
    """Compress the sample, reopen and verify it, print its figures, and show it if there is a screen."""
    from .. import samples

    with tempfile.TemporaryDirectory() as folder:
        args.file = args.out or os.path.join(folder, "mri.tinc")
        check_output(args.file, [".tinc"])
        image = samples.mri()
        figures = fit_to_file(args, image, tinc.Options(ratio=64, preset=args.preset or "balanced"))
        volume = tinc.open(args.file)
        volume.verify()
    figures |= {"file": args.out, **asdict(tinc.compare(image.array, volume))}
    print_result(args, figures, fit_table(figures))
    if args.view and not args.json:
        _show(image, volume)


def _show(image: Image, volume: tinc.TincVolume) -> None:
    """Show original and reconstruction side by side in napari, until its window is closed.

    Without a screen, or a Qt that can open a window there, nothing is shown.
    """
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not screen or os.environ.get("CI"):
        return
    try:
        probe = subprocess.run([sys.executable, "-c", QT_PROBE], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return
    if probe.returncode == 1:  # an ImportError; an abort has another code
        put('napari cannot show it: no Qt binding is installed (pip install "napari-tinc[all]")')
    if probe.returncode or probe.stdout.strip() in ("offscreen", "minimal"):
        return
    import napari
    import numpy as np

    viewer = napari.Viewer(title="napari-tinc demo")
    units = [volume.units or "pixel"] * 3
    options = {"scale": volume.spacing, "units": units, "contrast_limits": volume.value_range}
    viewer.add_image(image.array, name=image.name, **options)
    viewer.add_image(np.asarray(volume), name=f"{image.name} (tinc)", **options)
    viewer.canvas.grid.enabled = True
    napari.run()
