"""The table of docs/reference/formats.md, made by writing an image in each format and reading it back.

    python docs/_tools/formats.py        prints it

tests/io/test_formats_table.py compares it with the page.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from napari_tinc.format.details import Details
from napari_tinc.format.limits import DTYPES
from napari_tinc.format.placement import Placement, rotation_of
from napari_tinc.io.described import FACTS
from napari_tinc.io.image import Image
from napari_tinc.io.read import read_image
from napari_tinc.io.write import write_image

# Name, suffixes to read, suffix to write ("" for none), library.
WRITTEN = (
    ("TIFF of ImageJ", ".tif, .tiff", ".tif", "tifffile"),
    ("OME-TIFF", ".ome.tif, .ome.tiff", ".ome.tif", "tifffile"),
    ("OME-Zarr", ".zarr, .ozx, .zip, URLs", ".ome.zarr", "zarr"),
    ("NumPy", ".npy, .npz", ".npy", "numpy"),
    ("HDF5", ".h5, .hdf5, .hdf", ".h5", "h5py"),
    ("NIfTI", ".nii, .nii.gz", ".nii.gz", "nibabel"),
    ("NRRD", ".nrrd, .nhdr", ".nrrd", "pynrrd"),
    ("MetaImage", ".mha, .mhd", ".mha", "SimpleITK"),
    ("MRC", ".mrc, .map, .rec, .st, .mrcs, .ali, .ccp4, these with .gz or .bz2", ".mrc", "mrcfile"),
)
ANGLE = 0.3
SPACING = (2.5, 0.5, 0.75)


def facts_kept(folder: Path, suffix: str) -> set[str]:
    """Return which facts an image has that was written with a suffix and read back. AssertionError for other values."""
    kept: set[str] = set()
    values = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    matrix = np.diag([*SPACING, 1.0])
    matrix[:3, 3] = 10, 20, 30
    turned, sheared = matrix.copy(), matrix.copy()
    turned[:3, :3] = rotation_of((np.cos(ANGLE), 0, 0, np.sin(ANGLE))) @ np.diag(SPACING)
    sheared[0, 1] = 0.4
    for fact, affine in (("origin", matrix), ("orientation", turned), ("shear", sheared)):
        place = Placement(affine=affine.tolist(), space="LPS")
        image = _there_and_back(folder, suffix, values, placement=place, spacing=place.spacing)
        if fact == "origin" and image.spacing is not None:
            factor = {"millimeter": 1.0, "micrometer": 1e-3, "angstrom": 1e-7}.get(image.units or "", 1.0)
            kept |= {"spacing"} if np.allclose(np.array(image.spacing) * factor, SPACING) else set()
            kept |= {"unit"} if image.units and "spacing" in kept else set()
        if image.placement is not None:
            factor = {"millimeter": 1.0, "micrometer": 1e-3, "angstrom": 1e-7}.get(image.units or "", 1.0)
            space = "LPS" if image.placement.space else ""
            same = np.allclose(image.placement.xyz(space, factor), place.xyz("LPS"), atol=1e-4)
            kept |= {fact} if same else set()
    series = _there_and_back(
        folder, suffix, np.stack([values, values]), axes="tzyx", details=Details(time=(2.5, "second"))
    )
    kept |= {"time step"} if series.details is not None and series.details.time is not None else set()
    channels = [
        {"name": name, "color": color, "window": "5 50"} for name, color in (("a", "#ff0000"), ("b", "#00ff00"))
    ]
    stack = _there_and_back(
        folder, suffix, np.stack([values, values]), axes="czyx", channels=channels, value_range=(0, 209)
    )
    kept |= {"channels"} if stack.channels == channels else set()
    shown = _there_and_back(folder, suffix, values, details=Details(limits=(5, 50)), value_range=(0, 209))
    kept |= {"contrast limits"} if shown.details is not None and shown.details.limits == (5, 50) else set()
    objects = ((1, "liver", "#ff0000"), (2, "spleen", "#00ff00"))
    labels = _there_and_back(folder, suffix, values % 3, details=Details(objects=objects), labels=True)
    kept |= {"labels"} if labels.labels else set()
    kept |= {"names of labels"} if labels.details is not None and labels.details.objects == objects else set()
    look = Details(colormap="viridis", gamma=1.5, name="liver")
    styled = _there_and_back(folder, suffix, values, details=look)
    kept |= {"colormap, gamma and layer name"} if styled.details == look else set()
    return kept


def dtypes_kept(folder: Path, suffix: str) -> str:
    """Say in words what becomes of each dtype that a ``.tinc`` file may have."""
    becomes, refused = [], []
    for dtype in ("bool", *(np.dtype(code).name for code in DTYPES)):
        values = (np.arange(4 * 5 * 6).reshape(4, 5, 6) % 2).astype(dtype)
        try:
            found = np.dtype(_there_and_back(folder, suffix, values).array.dtype).name
        except ValueError:
            refused.append(dtype)
        else:
            becomes += [f"{dtype} as {found}"] if found != dtype else []
    return "; ".join([*becomes, *([f"no {', '.join(refused)}"] if refused else [])]) or "all"


def _there_and_back(folder: Path, suffix: str, values: Any, **described: Any) -> Image:
    """Write an image, read it, and compare the values."""
    described = {"spacing": SPACING, "units": "millimeter"} | described
    path = folder / f"v{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_image(path, values, described.pop("spacing"), described.pop("units"), **described)
        image = read_image(path)
    np.testing.assert_array_equal(np.asarray(image.array), values)
    return image


def table() -> str:
    """Return the table as Markdown."""
    rows = [("format", "read", "written", "kept when written", "not kept", "dtypes", "library")]
    with tempfile.TemporaryDirectory() as folder:
        for name, suffixes, suffix, library in WRITTEN:
            kept = facts_kept(Path(folder), suffix)
            lost = [fact for fact in FACTS if fact not in kept]
            rows.append((name, suffixes, suffix, ", ".join(f for f in FACTS if f in kept) or "values only",
                         ", ".join(lost) or "-", dtypes_kept(Path(folder), suffix), library))  # fmt: skip
    rows.insert(1, ("---",) * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(table())
