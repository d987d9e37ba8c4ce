"""TincVolume: a compressed volume as a lazy array. Nothing is decoded before values are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import container, storage
from .container import Ancillary, Chunk, Header, Kind, TincError

if TYPE_CHECKING:
    from .decode import Network
    from .metrics import Quality

MAX_EAGER_VOXELS = 2**30  # a larger request is refused: ask for a part, or for a coarser level
BLOCK = 2**16  # values turned into the dtype at a time
LEAF_FIELDS = np.dtype(
    [
        ("start", "<i8", 3), ("stop", "<i8", 3), ("level", "<i8"), ("network", "<i8"), ("parameters", "<i8"),
        ("bytes", "<f8"),
        ("rmse", "<f8"), ("psnr", "<f8"), ("max_error", "<f8"), ("gain", "<f8"), ("offset", "<f8"),
    ]
)  # fmt: skip


class Source(Protocol):
    """What a :class:`LazyArray` can be of."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        """Values of three ascending ranges of cells of ``factor`` voxels, 3D."""


@dataclass(frozen=True, eq=False)
class LazyArray:
    """A sampling of a volume: along each axis a range of voxels (or a single one), decoded when it becomes an array.

    ``array[...]`` with integers and slices gives another LazyArray; ``np.asarray(array)`` decodes exactly what it
    covers. ``factor`` is the edge, in voxels of the full volume, of the cells whose centres are evaluated.
    """

    volume: Source
    factor: int
    axes: tuple[range | int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self.axes if isinstance(axis, range))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.volume.dtype

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single value has no length")
        return self.shape[0]

    def __getitem__(self, index: Any) -> LazyArray:
        return LazyArray(self.volume, self.factor, _index(self.axes, index))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        ranges = [axis if isinstance(axis, range) else range(axis, axis + 1) for axis in self.axes]
        values = self.volume._decode(self.factor, [axis if axis.step > 0 else axis[::-1] for axis in ranges])
        values = values[tuple(slice(None, None, 1 if axis.step > 0 else -1) for axis in ranges)].reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"<LazyArray shape={self.shape} dtype={self.dtype} of {self.volume!r}>"


class TincVolume:
    """A volume in a ``.tinc`` file, read lazily. Made by :func:`napari_tinc.open` and :func:`napari_tinc.compress`."""

    def __init__(self, data: bytes, *, partial: bool = False) -> None:
        self._data = data
        self._header, self._chunks = container.parse(data, partial=partial)
        expected = int((self._header.widths > 0).sum())
        present = sum(chunk.n_nodes for chunk in self._chunks if chunk.role is Kind.WEIGHTS)
        if present < expected:
            raise TincError(f"file holds {present} of {expected} networks; coarser levels cannot be shown yet")

    def __deepcopy__(self, memo: dict[int, Any]) -> TincVolume:
        return self  # nothing of it can change; napari copies layers deeply

    @property
    def header(self) -> Header:
        return self._header

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return self._chunks

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return self._header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._header.dtype

    @property
    def ndim(self) -> int:
        return 3

    @property
    def size(self) -> int:
        z, y, x = self.shape
        return z * y * x

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of the original."""
        return self._header.value_range

    @property
    def spacing(self) -> tuple[float, ...]:
        """Edge lengths of a voxel along z, y, x, in :attr:`units`; ones where the file says nothing."""
        return self._header.spacing or (1.0, 1.0, 1.0)

    @property
    def units(self) -> str | None:
        return self._header.unit or None

    @property
    def axis_labels(self) -> str:
        """One letter an axis, "zyx" where the file says nothing else."""
        labels = self._json(Ancillary.META).get("axes", "zyx")
        if not (isinstance(labels, str) and len(labels) == 3):
            raise TincError(f"META chunk names the axes {labels!r}, expected three letters")
        return labels

    @property
    def nbytes(self) -> int:
        """Bytes of the raw array."""
        return self.size * self.dtype.itemsize

    @property
    def nbytes_compressed(self) -> int:
        """Bytes of the whole ``.tinc`` file."""
        return len(self._data)

    @property
    def ratio(self) -> float:
        return self.nbytes / self.nbytes_compressed

    @property
    def provenance(self) -> dict[str, Any]:
        """What the encoder wrote about itself: version, seed, options, measured quality. Empty if nothing."""
        return self._json(Ancillary.PROVENANCE)

    @cached_property
    def levels(self) -> list[LazyArray]:
        """The volume at full resolution, half, a quarter, ... down to 32 voxels along the longest axis; lazy.

        A coarse level holds the network's values at the centres of its cells.
        """
        levels, factor = [], 1
        while True:
            shape = [-(-n // factor) for n in self.shape]
            levels.append(LazyArray(self, factor, tuple(range(n) for n in shape)))
            if max(shape) <= 32:
                return levels
            factor *= 2

    @cached_property
    def leaves(self) -> NDArray[Any]:
        """One row a leaf, coarse level first, Morton order inside a level.

        Fields: start, stop (voxels, half open), level, network (number of the node whose network gives its values, -1
        for a scalar leaf), parameters (of that network's node), bytes (the leaf's share of the file's weights), rmse
        and max_error (data units) and psnr (dB, range of the whole volume) as measured when the file was written, of
        all leaves together that share a network, or are scalars, nan where it does not say; gain and offset (data
        units) of the calibration.
        """
        tree, counts = self._header.tree, container.parameter_counts(self._header)
        rows = np.zeros(len(tree.leaves), LEAF_FIELDS)
        payload = sum(len(chunk.payload) for chunk in self._chunks if chunk.role is Kind.WEIGHTS)
        rows["start"], rows["stop"] = tree.start[tree.leaves], tree.stop[tree.leaves]
        rows["level"] = tree.level[tree.leaves]
        rows["network"] = network = container.serving(tree, self._header.widths)[tree.leaves]
        rows["parameters"] = np.where(network < 0, 0, counts[network])
        part = container.parts_of_leaves(self._header)
        voxels = (rows["stop"] - rows["start"]).prod(axis=1)
        rows["bytes"] = rows["parameters"] * (voxels / np.bincount(part, voxels)[part]) * (payload / counts.sum())
        rows["rmse"] = rows["psnr"] = rows["max_error"] = np.nan
        for chunk in self._chunks:
            if chunk.role is Ancillary.QUALITY:
                errors = unpack_errors(chunk.checked(), int(part.max()) + 1, self.value_range)[part]
                rows["rmse"], rows["max_error"] = errors[:, 0], errors[:, 1]
                with np.errstate(divide="ignore", invalid="ignore"):
                    rows["psnr"] = 20 * np.log10((self.value_range[1] - self.value_range[0]) / rows["rmse"])
                rows["psnr"][rows["rmse"] == 0] = np.inf  # of a constant volume too
        rows["gain"], rows["offset"] = self._network.gain, self._network.offset * self._header.std
        return rows

    def decode(self, device: str = "auto") -> NDArray[Any]:
        """Everything, evaluated by torch on a device: for bulk work on a GPU.

        Values may differ by one rounding from ``np.asarray(volume)``, which sums in another order.

        Raises
        ------
        ValueError
            If torch cannot use the device.
        """
        from .training import pick_device

        grid = [np.arange(n, dtype=np.float64) + 0.5 for n in self.shape]
        return to_values(self._network.to(pick_device(device)).on_grid(grid), self._header)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file; the old one of that name stays intact until the new one is whole.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        storage.save(path, self._data)

    def verify(self) -> None:
        """Check every chunk and decode every weight; :class:`TincError` if anything is wrong."""
        container.verify(self._chunks)
        _ = self._network, self.leaves, self.axis_labels, self.provenance

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> LazyArray:
        return self.levels[0][index]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self.levels[0].__array__(dtype, copy)

    def __repr__(self) -> str:
        return f"<TincVolume shape={self.shape} dtype={self.dtype} ratio={self.ratio:.1f}>"

    def _json(self, role: Ancillary) -> dict[str, Any]:
        import json  # not needed for opening

        for chunk in self._chunks:
            if chunk.role is role:
                try:
                    value = json.loads(chunk.checked())
                except (ValueError, RecursionError) as error:
                    raise TincError(f"{role.name} chunk is not JSON: {error}") from error
                if not isinstance(value, dict):
                    raise TincError(f"{role.name} chunk holds a JSON {type(value).__name__}, expected an object")
                return value
        return {}

    @cached_property
    def _network(self) -> Network:
        from .weights import from_chunks

        return from_chunks(self._header, self._chunks).network()

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        shape = [len(axis) for axis in ranges]
        wanted = shape[0] * shape[1] * shape[2]
        if wanted > MAX_EAGER_VOXELS:
            raise TincError(f"{wanted} voxels asked for at once, expected at most {MAX_EAGER_VOXELS}: ask for a part")
        return to_values(self._network.on_grid(cell_centres(ranges, factor, self.shape)), self._header)


def open(path: str | os.PathLike[str], *, partial: bool = False) -> TincVolume:
    """Open a ``.tinc`` file. Only its header is decoded; torch is not imported.

    Raises
    ------
    TincError
        If it is not a good ``.tinc`` file.
    OSError
        If it cannot be read.
    """
    return TincVolume(storage.load(path), partial=partial)


def compare(original: ArrayLike, volume: ArrayLike) -> Quality:
    """Measure a volume (or any array) against its original, see :class:`napari_tinc.metrics.Quality`.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is not finite.
    """
    from .metrics import measure

    reconstruction = np.asarray(volume)
    if not isinstance(volume, TincVolume):
        return measure(original, reconstruction, reconstruction.nbytes)
    return quality_of(original, reconstruction, volume)


def quality_of(original: ArrayLike, values: NDArray[Any], volume: TincVolume) -> Quality:
    """:func:`compare` of a volume whose values have been decoded."""
    from .metrics import measure

    quality = measure(original, values, volume.nbytes_compressed)
    return replace(quality, ratio=volume.ratio)  # whatever dtype the original comes in now


def cell_centres(ranges: Sequence[range], factor: int, shape: Sequence[int]) -> list[NDArray[np.float64]]:
    """Voxel coordinates of the centres of cells of ``factor`` voxels, kept inside the volume, along each axis."""
    return [
        np.minimum((np.array(axis, np.float64) + 0.5) * factor, n - 0.5) for axis, n in zip(ranges, shape, strict=True)
    ]


def to_values(outputs: NDArray[np.float32], header: Header) -> NDArray[Any]:
    """Network outputs to values of the data: mean + std * output, clipped to the stored range, rounded to the dtype."""
    lo, hi = header.value_range
    values = np.empty(outputs.shape, header.dtype)
    flat, into = outputs.reshape(-1), values.reshape(-1)
    for first in range(0, flat.size, BLOCK):
        part = slice(first, first + BLOCK)
        wide = np.clip(flat[part].astype(np.float64) * header.std + header.mean, lo, hi)
        into[part] = np.rint(wide) if header.dtype.kind in "iu" else wide
    return values


def pack_errors(errors: NDArray[np.float64], value_range: tuple[float, float]) -> bytes:
    """RMSE and largest error of every part in a byte each: 0, or range * 2^((code - 255) / 12) rounded up."""
    span = max(float(value_range[1]) - float(value_range[0]), np.finfo(float).tiny)
    with np.errstate(divide="ignore"):
        codes = np.ceil(255 + 12 * np.log2(errors / span))
    return bytes(np.where(errors > 0, np.clip(codes, 1, 255), 0).astype(np.uint8).tobytes())


def unpack_errors(data: bytes, n_parts: int, value_range: tuple[float, float]) -> NDArray[np.float64]:
    """The inverse of :func:`pack_errors`, to 6 %; float64 (n_parts, 2)."""
    if len(data) != 2 * n_parts:
        raise TincError(f"QUALITY chunk is {len(data)} bytes, expected {2 * n_parts}: 2 a head, and 2 for scalars")
    codes = np.frombuffer(data, np.uint8).reshape(n_parts, 2)
    span = float(value_range[1]) - float(value_range[0])
    return np.where(codes > 0, span * 2.0 ** ((codes - 255.0) / 12), 0.0)


def _index(axes: Sequence[range | int], index: Any) -> tuple[range | int, ...]:
    """Basic indexing of what is left of the axes."""
    items = list(index) if isinstance(index, tuple) else [index]
    kept = sum(isinstance(axis, range) for axis in axes)
    dots = [at for at, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis")
    for at in dots:
        items[at : at + 1] = [slice(None)] * (kept - len(items) + 1)
    if len(items) > kept:
        raise IndexError(f"too many indices: array has {kept} axes, {len(items)} were given")
    items += [slice(None)] * (kept - len(items))
    out: list[range | int] = []
    for axis in axes:
        if isinstance(axis, int):
            out.append(axis)
            continue
        item = items.pop(0)
        if isinstance(item, slice):
            out.append(axis[item])
        elif isinstance(item, bool) or not isinstance(item, int | np.integer):
            raise IndexError(f"only integers, slices and ellipsis index a lazy array, not {item!r}; np.asarray first")
        else:
            out.append(axis[int(item)])
    return tuple(out)
