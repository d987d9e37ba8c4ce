"""The bundled sample: a 128^3 crop of the ICBM 152 brain template (T1 MRI, uint8, 1 mm), and the same compressed.

Licence and citation stand in ``data/NOTICE-mni152.txt``; ``benchmarks/making/make_sample.py`` makes both files.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from .io.image import Image
from .io.read import read_image


def mri_path() -> Path:
    """Return the path of the volume as a TIFF."""
    return _path("mri_mni152_crop.tif")


def mri_tinc_path() -> Path:
    """Return the path of the volume as a ``.tinc`` file of ratio 64."""
    return _path("mri_mni152_crop.tinc")


def mri() -> Image:
    """Read the volume: uint8 (128, 128, 128), axes ZYX, spacing 1 millimeter."""
    return read_image(mri_path())


def _path(name: str) -> Path:
    """Return the path of a file in ``data/``."""
    return Path(str(files(__package__) / "data" / name))
