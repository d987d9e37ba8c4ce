"""Read images of microscopes through BioIO, whose readers are packages of their own: CZI, LIF, ND2, OIF, OIB."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from .arrays import ArrayOfFile
from .image import Content
from .read_options import ReadOptions, say

# The package that reads a suffix.
PACKAGES = {
    ".czi": "bioio-czi", ".lif": "bioio-lif", ".nd2": "bioio-nd2", ".oif": "bioio-bioformats",
    ".oib": "bioio-bioformats", ".vsi": "bioio-bioformats", ".dv": "bioio-dv", ".sldy": "bioio-sldy",
}  # fmt: skip


def read_bioio(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the scene that ``--series`` names, or the first one.

    Raises
    ------
    ImportError
        If BioIO or its reader for this suffix is not installed.
    ValueError
        If there is no such scene.
    """
    package = PACKAGES[file.suffix.lower()]
    try:
        bioio = importlib.import_module("bioio")
        reader = importlib.import_module(package.replace("-", "_")).Reader
    except ImportError as error:
        raise ImportError(
            f"reading {file.suffix} needs BioIO: pip install bioio {package} (CZI, LIF and ND2 are in "
            '"napari-tinc[microscopy]")'
        ) from error
    image = bioio.BioImage(file, reader=reader)
    scenes = list(image.scenes)
    number = options.series or 0
    if number >= len(scenes):
        raise ValueError(f"--series is {number}, expected 0 to {len(scenes) - 1}: so many scenes are in it")
    if options.series is None and len(scenes) > 1:
        more = ", ..." if len(scenes) > 5 else ""
        say(f"the first of {len(scenes)} scenes is read ({', '.join(scenes[:5])}{more}); --series chooses another")
    image.set_scene(number)
    sizes = image.physical_pixel_sizes
    names = image.channel_names or []
    array: Any = ArrayOfFile(image.dask_data, file, portable=False)
    # BioIO gives sizes in micrometers.
    return Content(array, image.dims.order, [(size, "um") for size in (sizes.Z, sizes.Y, sizes.X)], [
        (name, None) for name in names
    ])  # fmt: skip
