"""Read and write MetaImage files (.mha, .mhd), as ITK makes them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...array_like import LazyBase
from ...format.placement import Placement
from ..arrays import slabs_of
from ..described import FACTS, USUAL_CHANGES, Described, written_dtype
from ..image import Content, library
from ..own_facts import KEY, PLACE, own_text, with_own_facts
from ..read_options import ReadOptions

_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
_HEADER_BYTES = 2**14  # The text before the values is shorter.
_LAST = b"ElementDataFile = LOCAL\n"  # The last line of that text.


def read_metaimage(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a .mha or .mhd file; one that is not compressed piece by piece.

    ValueError if it is damaged.
    """
    sitk = library("SimpleITK", "scans")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    ndim, components = reader.GetDimension(), reader.GetNumberOfComponents()
    with file.open("rb") as stream:
        compressed = b"CompressedData = True" in stream.read(_HEADER_BYTES)
    array: Any = _ItkArray(file, reader)
    if compressed:
        array = array[()]
    axes = "XYZT"[:ndim][::-1] + ("C" if components > 1 else "")
    if ndim < 3:
        return Content(array, axes)
    matrix = np.eye(4)
    direction = np.reshape(reader.GetDirection(), (ndim, ndim))[:3, :3]
    matrix[:3, :3] = direction * reader.GetSpacing()[:3]
    matrix[:3, 3] = reader.GetOrigin()[:3]
    sizes = [(size, "mm") for size in reversed(reader.GetSpacing()[:3])]
    content = Content(array, axes, sizes, placement=Placement.from_xyz(matrix, "LPS"))
    return with_own_facts(content, reader.GetMetaData(KEY) if reader.HasMetaDataKey(KEY) else None)


class _ItkArray(LazyBase):
    """The values of a file that ITK reads, slowest axis first, components last. Each index reads what it needs."""

    def __init__(self, file: Path, reader: Any) -> None:
        sitk = library("SimpleITK", "scans")
        self.file, self.portable = file, False
        self._size = tuple(reader.GetSize())
        self._components = int(reader.GetNumberOfComponents())
        probe = sitk.Image([1] * len(self._size), reader.GetPixelID(), self._components)
        self._dtype = sitk.GetArrayViewFromImage(probe).dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return (*self._size[::-1], *([self._components] if self._components > 1 else []))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return np.dtype(self._dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part, given by integers and slices. ValueError if the file is damaged."""
        items = index if isinstance(index, tuple) else (index,)
        items = (*items, *(slice(None),) * (self.ndim - len(items)))
        taken = [range(size)[item] for size, item in zip(self.shape, items, strict=True)]
        wanted = [[number] if isinstance(number, int) else list(number) for number in taken]
        if not all(wanted):
            return np.empty([len(numbers) for numbers in taken if not isinstance(numbers, int)], self.dtype)
        box = [slice(min(numbers), max(numbers) + 1) for numbers in wanted]
        values = self._read(box[: len(self._size)])
        for axis in reversed(range(self.ndim)):
            first = box[axis].start if axis < len(self._size) else 0
            values = values.take(taken[axis] - first if isinstance(taken[axis], int) else
                                 [number - first for number in wanted[axis]], axis)  # fmt: skip
        return values

    def _read(self, box: list[slice]) -> NDArray[Any]:
        """Read a box."""
        sitk = library("SimpleITK", "scans")
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(self.file))
        reader.SetExtractIndex([side.start for side in reversed(box)])
        reader.SetExtractSize([side.stop - side.start for side in reversed(box)])
        return sitk.GetArrayFromImage(reader.Execute())


def write_metaimage(stream: Any, array: Any, described: Described) -> None:
    """Write a .mha file, not compressed, in millimetres and DICOM's coordinates. One axis before z, y, x is the fourth.

    ITK writes the header, of an image of one voxel.
    """
    sitk = library("SimpleITK", "scans")
    dtype = written_dtype(array.dtype, _TYPES, "MetaImage", USUAL_CHANGES)
    if len(array.shape) > 4:
        raise ValueError(f"MetaImage has at most four axes, not {len(array.shape)}")
    image = sitk.GetImageFromArray(np.zeros((1,) * len(array.shape), dtype), isVector=False)
    factor = described.factor_to("millimeter") or 1.0
    extra = len(array.shape) - 3
    spacing = described.edges_in("millimeter") or described.spacing or (1.0, 1.0, 1.0)
    step = described.seconds[0] if described.seconds and described.axes[0] == "t" else 1.0
    image.SetSpacing([*map(float, reversed(spacing)), *[step] * extra])
    if described.placement is not None:
        direction = np.eye(len(array.shape))
        matrix = described.placement.xyz("LPS", factor)
        direction[:3, :3] = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
        image.SetDirection(direction.ravel().tolist())
        image.SetOrigin([*matrix[:3, 3].tolist(), *[0.0] * extra])
    if own := own_text(described, set(FACTS) - set(PLACE)):
        image.SetMetaData(KEY, own)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.mha"
        sitk.WriteImage(image, str(path), False)
        header = path.read_bytes().partition(_LAST)[0] + _LAST
    one, real = (" ".join(map(str, sizes)).encode() for sizes in ((1,) * len(array.shape), reversed(array.shape)))
    stream.write(header.replace(b"DimSize = " + one + b"\n", b"DimSize = " + real + b"\n"))
    for slab in slabs_of(array):
        stream.write(np.ascontiguousarray(slab.astype(dtype, copy=False)).data)
