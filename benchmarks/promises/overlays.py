"""Whether what lay over something lies over it afterwards: files by the command, layers by napari.

    python -m benchmarks.promises.overlays

A NIfTI with an oblique matrix and its label image, a DICOM series, and napari layers with every kind of transformation
are compressed and brought back. Each row has how far 1000 voxels moved, by nibabel, SimpleITK and napari.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import computer, markdown

SHAPE = (18, 30, 26)
N_VOXELS = 1000
LARGEST = 1e-4  # A voxel may move by less than this, in mm or in units of the layer.


def command(*words: object) -> None:
    """Run the installed command."""
    subprocess.run([sys.executable, "-m", "napari_tinc.cli.main", *map(str, words)], check=True, capture_output=True)


def voxels() -> np.ndarray[Any, Any]:
    """Return random voxels, (1000, 3), in the order of the axes of :data:`SHAPE`."""
    return np.random.default_rng(0).integers(0, SHAPE, (N_VOXELS, 3))


def images() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return a smooth CT in Hounsfield units, and labels of its parts with large numbers."""
    z, y, x = np.indices(SHAPE) / 5
    ct = (1000 * np.sin(z) * np.cos(y) + 300 * x - 500).astype(np.int16)
    return ct, np.where(ct > 200, 70000, np.where(ct > -300, 3, 0)).astype(np.int32)


def oblique() -> np.ndarray[Any, Any]:
    """Return a matrix (4, 4) of x, y, z: a rotation about two axes, unequal edges, a far corner."""
    a, b = np.radians((23, -11))
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(about_z) @ about_x * (0.71, 0.83, 2.5)
    matrix[:3, 3] = (-117.3, 88.21, 1204.5)
    return matrix


def nifti(folder: Path) -> list[tuple[str, float, bool]]:
    """Compress a scan and its labels. Rows: name, largest move of nibabel's world coordinates, same values."""
    import nibabel

    rows = []
    for name, values, flags in zip(("scan", "labels"), images(), (["--max-error", 0], ["--labels"]), strict=True):
        for form in ("sform and qform", "qform"):
            image = nibabel.Nifti1Image(values.T, oblique())
            image.header.set_xyzt_units("mm")
            image.set_qform(oblique(), 1)
            image.set_sform(oblique(), 0 if form == "qform" else 2)
            before, after = folder / f"{name}.nii.gz", folder / f"{name}.back.nii.gz"
            image.to_filename(before)
            command("compress", before, folder / "x.tinc", *flags)
            command("verify", folder / "x.tinc", "--against", before)
            command("decompress", folder / "x.tinc", after)
            was, now = nibabel.load(before), nibabel.load(after)
            ends = np.c_[voxels()[:, ::-1], np.ones(N_VOXELS)].T
            moved = np.abs(was.affine @ ends - now.affine @ ends).max()
            same = np.array_equal(np.asarray(was.dataobj), np.asarray(now.dataobj))
            rows.append((f"NIfTI {name}, {form}", float(moved), same))
    return rows


def dicom(folder: Path) -> list[tuple[str, float, bool]]:
    """Compress a DICOM series, write it in three formats, and compare what SimpleITK says of it with these."""
    import SimpleITK as sitk

    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from dicom_series import save_series

    rows = []
    save_series(folder / "series", images()[0])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "series")))
    was = reader.Execute()
    command("compress", folder / "series", folder / "ct.tinc", "--max-error", 0)
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        command("decompress", folder / "ct.tinc", folder / f"ct{suffix}")
        now = sitk.ReadImage(str(folder / f"ct{suffix}"))
        places = [voxel[::-1].tolist() for voxel in voxels()]
        moved = max(
            np.abs(np.subtract(was.TransformIndexToPhysicalPoint(at), now.TransformIndexToPhysicalPoint(at))).max()
            for at in places
        )
        same = np.array_equal(sitk.GetArrayFromImage(was), sitk.GetArrayFromImage(now))
        rows.append((f"DICOM to {suffix}", float(moved), same))
    return rows


def layers(folder: Path) -> list[tuple[str, float, bool]]:
    """Save napari layers, open them in an empty viewer, and compare where napari shows their voxels."""
    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from npe2 import PluginManager, PluginManifest

    manager = PluginManager.instance()
    if "napari-tinc" not in manager:  # where the sources are on the path only
        manager.register(PluginManifest.from_distribution("napari-tinc"))
    ct, labels = images()
    transforms: dict[str, dict[str, Any]] = {
        "rotate": {"rotate": (20, 10, -35)},
        "shear": {"shear": (0.2, -0.1, 0.3)},
        "translate": {"translate": (-1e4, 3.7, 80)},
        "rotate, shear, translate, scale": {
            "rotate": (20, 10, -35), "shear": (0.2, -0.1, 0.3), "translate": (5, -7.1, 3), "scale": (2.5, 0.7, 0.7),
        },
        "affine": {"affine": oblique(), "scale": (3, 1, 1)},
    }  # fmt: skip
    rows = []
    for name, transform in transforms.items():
        for layer in (Image(ct, **transform), Labels(labels, **transform)):
            path = folder / f"{type(layer).__name__}.tinc"
            layer.save(str(path), plugin="napari-tinc")
            viewer = ViewerModel()
            back = viewer.open(str(path), plugin="napari-tinc")[0]
            moved = max(
                np.abs(np.subtract(layer.data_to_world(at), back.data_to_world(at))).max() for at in voxels().tolist()
            )
            same = isinstance(layer, Image) or np.array_equal(layer.data, np.asarray(back.data))
            rows.append((f"{type(layer).__name__} layer, {name}", float(moved), same))
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [*nifti(Path(folder)), *dicom(Path(folder)), *layers(Path(folder))]
    print(computer("napari-tinc", "napari", "nibabel", "SimpleITK"))
    lines = [[name, f"{moved:.1e}", "yes" if same else "no"] for name, moved, same in rows]
    print(markdown(["what", "largest move", "same values or labels"], lines))
    wrong = [name for name, moved, same in rows if not (moved < LARGEST and same)]
    if wrong:
        raise SystemExit(f"not as it was: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
