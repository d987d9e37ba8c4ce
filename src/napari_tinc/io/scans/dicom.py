"""Read DICOM: a folder, any file of a series, or a file of many frames."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...array_like import LazyBase
from ...format.details import Details
from ..arrays import AxesView
from ..image import INVERTED, Content, library
from ..read_options import ReadOptions, say
from .dicom_files import headers_of
from .dicom_frames import Frame, frames_of
from .dicom_order import stack_of

_CACHE_BYTES = 2**29  # So many bytes of decoded frames are kept: blocks beside each other need the same ones.
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66"  # SOP classes of segmentations and of surfaces begin so.
_MOST_LISTED = 12  # More series are not listed in a message.


def read_dicom(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a series as a volume. Its frames are decoded when they are needed.

    Raises
    ------
    ImportError
        If pydicom is not installed.
    ValueError
        If there are several series and none is chosen, or slices are missing or doubled, or it is no volume.
    """
    series = _series_of(headers_of(file))
    frames = _chosen(series, file, options)
    _check_colors(frames[0].header)
    stack = stack_of(_without_copies(frames, file))
    array: Any = DicomArray(stack.frames, single=not options.precise)
    if not stack.axis:
        array = AxesView(array, (1, 2, 3))
    z, y, x = stack.spacing
    return Content(
        array,
        f"{stack.axis}ZYX",
        [(z, "mm"), (y, "mm"), (x, "mm")],
        placement=stack.placement,
        details=_details(frames),
        fill=_padding(frames[0]),
    )


def _padding(frame: Frame) -> list[float]:
    """Return the value of the pixels outside what a scanner sees, as the header declares it; none if it does not.

    A range of such values (PixelPaddingRangeLimit) is not taken.
    """
    value = frame.header.get("PixelPaddingValue")
    if not isinstance(value, int | bytes) or frame.header.get("PixelPaddingRangeLimit") is not None:
        return []
    is_signed = bool(frame.header.get("PixelRepresentation", 0))
    stored = int.from_bytes(value, "little", signed=is_signed) if isinstance(value, bytes) else int(value)
    if is_signed and stored >= 2**15:  # written as unsigned, as many scanners do
        stored -= 2**16
    slope, intercept = frame.scale
    return [stored * slope + intercept]


def _series_of(headers: Sequence[tuple[Path, Any]]) -> list[list[Frame]]:
    """Return the frames of each series; images of other sizes, spacings or orientations are separate series."""
    series: dict[Any, list[Frame]] = {}
    images = [(file, header) for file, header in headers if not _is_segmentation(header)]
    if not images:
        raise ValueError("it is a DICOM segmentation, whose frames may overlap: export it as NIfTI or NRRD first")
    for file, header in images:
        for frame in _frames(file, header):
            directions = () if frame.orientation is None else tuple(np.round(frame.orientation, 2).ravel() + 0.0)
            spacing = () if frame.spacing is None else tuple(f"{edge:.4g}" for edge in frame.spacing)
            key = (str(header.get("SeriesInstanceUID", "")), int(header.Rows), int(header.Columns), directions, spacing)
            series.setdefault(key, []).append(frame)
    return sorted(series.values(), key=lambda frames: (int(frames[0].header.get("SeriesNumber") or 0), frames[0].file))


def _frames(file: Path, header: Any) -> list[Frame]:
    """Return the frames of a file. ValueError, with the name of the file, if a field has a text that is no number."""
    try:
        return list(frames_of(file, header))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file.name} is damaged, a field of its header cannot be read: {error}") from error


def _is_segmentation(header: Any) -> bool:
    return str(header.get("SOPClassUID", "")).startswith(_SEGMENTATION)


def _chosen(series: list[list[Frame]], file: Path, options: ReadOptions) -> list[Frame]:
    """Return the series that is asked for: by its number, or by one of its files."""
    if options.series is not None:
        if options.series >= len(series):
            raise ValueError(f"--series is {options.series}, expected 0 to {len(series) - 1}")
        return series[options.series]
    if file.is_file():
        of_file = [frames for frames in series if any(frame.file == file for frame in frames)]
        if len(of_file) == 1:
            return of_file[0]
    if len(series) == 1:
        return series[0]
    texts = [f"--series {number}: {_describe(frames)}" for number, frames in enumerate(series[:_MOST_LISTED])]
    more = "; ..." if len(series) > _MOST_LISTED else ""
    raise ValueError(f"it has {len(series)} series; choose one: {'; '.join(texts)}{more}")


def _describe(frames: Sequence[Frame]) -> str:
    """Describe a series in a message."""
    header = frames[0].header
    size = f"{len(frames)} of {header.Rows} x {header.Columns}"
    return f"{header.get('Modality', 'images')} {size}, such as {frames[0].file.name}"


def _check_colors(header: Any) -> None:
    """Raise ValueError for images that are no numbers."""
    if int(header.get("SamplesPerPixel") or 1) != 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise ValueError("its images are in colours, which are no values of a volume")


def _without_copies(frames: Sequence[Frame], file: Path) -> list[Frame]:
    """Drop copies of the same image, but not the file that is asked for."""
    unique: dict[Any, Frame] = {}
    for frame in sorted(frames, key=lambda frame: frame.file != file):
        unique.setdefault((str(frame.header.get("SOPInstanceUID") or frame.file), frame.index), frame)
    if len(unique) < len(frames):
        say(f"{len(frames) - len(unique)} of its {len(frames)} images are copies of others, and are left out")
    return list(unique.values())


def _details(frames: Sequence[Frame]) -> Details:
    """Return contrast limits from the window of the first image, the time step, and whether the display is inverted."""
    header = frames[0].header
    centre, width = (_first(header.get(name)) for name in ("WindowCenter", "WindowWidth"))
    limits = (centre - width / 2, centre + width / 2) if centre is not None and width and width > 0 else None
    step = _first(header.get("TemporalResolution"))
    inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
    if inverted:
        say("its images are shown inverted (MONOCHROME1): values are those that are stored, the colormap is gray_r")
    return Details(
        limits=limits, time=(step, "millisecond") if step else None, colormap=INVERTED if inverted else ""
    )  # fmt: skip


def _first(value: Any) -> float | None:
    """Return the first number of a field; None if there is none."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])


class DicomArray(LazyBase):
    """Frames as an array (volumes, z, y, x). Indexed by integers and slices it decodes the frames that it needs."""

    def __init__(self, rows: list[list[Frame]], *, single: bool) -> None:
        self.rows, self.portable = rows, False
        self._cache: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._dtype: np.dtype[Any] = np.dtype(np.float64)
        self._dtype = self._find_dtype(single)

    @property
    def shape(self) -> tuple[int, ...]:
        """Volumes, slices, rows and columns."""
        header = self.rows[0][0].header
        return len(self.rows), len(self.rows[0]), int(header.Rows), int(header.Columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self._dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part, given by integers and slices."""
        items = index if isinstance(index, tuple) else (index,)
        items = (*items, *(slice(None),) * (4 - len(items)))
        volumes = _numbers(items[0], len(self.rows))
        slices = _numbers(items[1], len(self.rows[0]))
        planes = [[self._frame(volume, z)[items[2:]] for z in slices] for volume in volumes]
        values = np.array(planes, self.dtype).reshape(len(volumes), len(slices), *np.shape(planes[0][0]))
        return values[(*(0 if not isinstance(item, slice) else slice(None) for item in items[:2]),)]

    def _frame(self, volume: int, z: int) -> NDArray[Any]:
        """Return the values of a frame, from the cache if it is there."""
        with self._lock:
            if (plane := self._cache.get((volume, z))) is not None:
                self._cache.move_to_end((volume, z))
                return plane
        plane = self._values(self.rows[volume][z]).astype(self.dtype, copy=False)
        with self._lock:
            self._cache[volume, z] = plane
            while len(self._cache) * plane.nbytes > _CACHE_BYTES and len(self._cache) > 1:
                self._cache.popitem(last=False)
        return plane

    def _values(self, frame: Frame) -> NDArray[Any]:
        """Decode a frame and scale it, in int64 if the results are whole, else in float64."""
        stored, (slope, intercept) = stored_pixels(frame), frame.scale
        if frame.header.get("ModalityLUTSequence"):
            return library("pydicom.pixels").apply_modality_lut(stored, frame.header)
        if (slope, intercept) == (1, 0):
            return stored
        if _is_whole(frame) and stored.dtype.kind in "iu":
            return stored.astype(np.int64) * int(slope) + int(intercept)
        return stored.astype(np.float64) * slope + intercept

    def _find_dtype(self, single: bool) -> np.dtype[Any]:
        """Return the smallest dtype for all values: by the bits that are stored, or by the values themselves."""
        frames = [frame for row in self.rows for frame in row]
        if not all(_is_whole(frame) for frame in frames):
            return np.dtype(np.float32 if single else np.float64)
        first = self._values(frames[0])
        alike = len({_stored_as(frame) for frame in frames}) == 1
        if first.dtype.kind == "f" or (
            alike and first.dtype.itemsize < 8 and all(frame.scale == (1, 0) for frame in frames)
        ):
            return first.dtype
        ends: list[int] = []
        for frame in frames:
            bits, signed = int(frame.header.BitsStored), int(frame.header.get("PixelRepresentation") or 0)
            low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
            ends += [int(frame.scale[0]) * end + int(frame.scale[1]) for end in (low, high)]
        dtype = _smallest(min(ends), max(ends))
        if dtype is None or dtype.itemsize > int(frames[0].header.BitsAllocated) // 8:
            extremes = [extreme for frame in frames for extreme in _extremes(self._values(frame))]
            dtype = _smallest(min(extremes), max(extremes))
        if dtype is None:
            raise ValueError("its values are whole numbers of more than 32 bits, which a file cannot hold")
        return dtype


def _numbers(item: Any, length: int) -> list[int]:
    """Return the numbers that an integer or a slice stands for."""
    if isinstance(item, slice):
        return list(range(*item.indices(length)))
    return [range(length)[int(item)]]


def _stored_as(frame: Frame) -> tuple[int, int]:
    """Return the bits of a stored number, and whether it is signed: files of one series may differ."""
    return int(frame.header.get("BitsAllocated") or 0), int(frame.header.get("PixelRepresentation") or 0)


def _is_whole(frame: Frame) -> bool:
    """Tell whether the scale of a frame makes whole numbers of whole numbers."""
    return all(number.is_integer() for number in frame.scale)


def _extremes(values: NDArray[Any]) -> tuple[int, int]:
    """Return the smallest and the largest value."""
    return int(values.min()), int(values.max())


def _smallest(low: int, high: int) -> np.dtype[Any] | None:
    """Return the smallest integer dtype that holds a range, a signed one if two are as small; None if there is none."""
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32"):
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return np.dtype(name)
    return None


def stored_pixels(frame: Frame) -> NDArray[Any]:
    """Decode a frame: the numbers that are stored, without bits that hold something else."""
    try:
        values = _decoded(frame)
    except RuntimeError as error:
        if "missing dependencies" in str(error):
            raise ImportError(
                f'{frame.file.name} is compressed, which needs python-gdcm: pip install "napari-tinc[scans]"'
            ) from error
        raise _undecoded(frame, error) from error
    except Exception as error:
        raise _undecoded(frame, error) from error
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    allocated = 8 * values.dtype.itemsize
    stored = int(frame.header.get("BitsStored") or allocated)
    if values.dtype.kind not in "iu" or stored >= allocated:
        return values
    highest = frame.header.get("HighBit")
    above = allocated - 1 - int(stored - 1 if highest is None else highest)
    return (values << above) >> (allocated - stored)


def _undecoded(frame: Frame, error: Exception) -> ValueError:
    """Return the error for pixels that pydicom and its decoders cannot read, with what they said."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"the pixels of {frame.file.name} cannot be decoded, it may be damaged: {reason}")


def _decoded(frame: Frame) -> NDArray[Any]:
    """Decode a frame. The file is not read as a whole where that can be avoided."""
    pydicom, pixels = library("pydicom", "scans"), library("pydicom.pixels", "scans")
    syntax = getattr(getattr(frame.header, "file_meta", None), "TransferSyntaxUID", "")
    if syntax != pydicom.uid.DeflatedExplicitVRLittleEndian:
        try:
            return pixels.pixel_array(frame.file, index=frame.index, raw=True)
        except (pydicom.errors.InvalidDicomError, AttributeError):  # without the usual first bytes
            pass
    return pixels.pixel_array(pydicom.dcmread(frame.file, force=True), index=frame.index, raw=True)
