"""TincVolume: a compressed volume as a lazy array. Nothing is decoded before values are asked for."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..array_like import LazyBase
from ..errors import TincError
from ..format.chunks import Ancillary
from ..format.fill import Fill
from ..format.head import VolumeFacts
from ..format.metadata import QUALITY_KEYS, read_json, usual_labels, with_chunk, with_json
from ..storage import atomic, stores
from .block_contents import BlockContents
from .boxes import Contents, Part
from .cache import LeastRecentlyUsed
from .contents import read_contents
from .lazy_array import LazyArray, levels_of
from .leaf_table import LEAF_FIELDS
from .regions import Regions
from .values import VoxelDecoder

if TYPE_CHECKING:  # slow to import, and not needed to show a slice
    from ..format.details import Details
    from ..format.placement import Placement

CACHE_BYTES = 2**27  # A volume keeps at most so many bytes of decoded tiles and parsed boxes.


class TincVolume(LazyBase):
    """A compressed volume, decoded lazily. Made by :func:`napari_tinc.open` and :func:`napari_tinc.compress`.

    It behaves as a read-only array, and states what the file says about the volume. Any number of threads may read it.
    ``cache_bytes`` bounds the memory for what it has decoded; lattices of networks may take 2.5 times as much besides.

    Examples
    --------
    Indexing decodes nothing; ``np.asarray`` decodes exactly what the index covers:

    >>> import numpy as np
    >>> import napari_tinc as tinc
    >>> array = np.arange(40**3, dtype=np.uint16).reshape(40, 40, 40)
    >>> volume = tinc.compress(array, max_error=0, spacing=(2, 1, 1), units="micrometer")
    >>> volume.shape, volume.dtype, volume.spacing, volume.units
    ((40, 40, 40), dtype('uint16'), (2.0, 1.0, 1.0), 'micrometer')
    >>> np.asarray(volume[20, :2, :3])
    array([[32000, 32001, 32002],
           [32040, 32041, 32042]], dtype=uint16)
    >>> [level.shape for level in volume.levels]
    [(40, 40, 40), (20, 20, 20)]
    """

    def __init__(self, source: bytes | stores.Store, *, partial: bool = False, cache_bytes: int = CACHE_BYTES) -> None:
        self._cache = LeastRecentlyUsed(cache_bytes)
        store = stores.Memory(source) if isinstance(source, bytes) else source
        self._parts: Contents = read_contents(store, self._cache, partial=partial)

    @classmethod
    def of_contents(cls, parts: Contents, cache_bytes: int = CACHE_BYTES) -> TincVolume:
        """Make a volume of contents that have been read already."""
        volume = cls.__new__(cls)
        volume._cache, volume._parts = LeastRecentlyUsed(cache_bytes), parts
        return volume

    def __deepcopy__(self, memo: dict[int, Any]) -> TincVolume:
        return self  # nothing of it can change; napari copies layers deeply

    @property
    def header(self) -> VolumeFacts:
        """All that the head of the file states about the volume."""
        return self._parts.header

    @property
    def parts(self) -> Contents:
        """The boxes that the volume consists of, and the other chunks of its file."""
        return self._parts

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes: channels and points in time, if there are any, and voxels along z, y, x."""
        return (*self._parts.leading, *self.header.shape)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values. A mask has bool, which is stored as uint8."""
        if self.meta.get("bool") is not True:
            return self.header.dtype
        if self.header.dtype != np.uint8:
            raise TincError(f"META chunk says bool of {self.header.dtype}, expected uint8")
        return np.dtype(bool)

    @property
    def labels(self) -> bool:
        """Whether the values are labels, or a mask, and not intensities."""
        return any(self.meta.get(key) is True for key in ("labels", "bool"))

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of the original, without those that are no measurements (:attr:`fill`)."""
        return self.header.value_range

    @property
    def spacing(self) -> tuple[float, ...]:
        """Edge lengths of a voxel along z, y, x, in :attr:`units`; ones if the file does not state them."""
        return self.header.spacing or (1.0, 1.0, 1.0)

    @property
    def units(self) -> str | None:
        """Unit of :attr:`spacing`, such as "micrometer"; None if the file does not state it."""
        return self.header.unit or None

    @property
    def placement(self) -> Placement | None:
        """Where the voxels lie in the world; None if the file states no more than a spacing."""
        return self._details[0]

    @property
    def affine(self) -> NDArray[np.float64]:
        """Matrix (4, 4) that takes voxel (z, y, x, 1) to the world, in :attr:`units`."""
        return np.diag([*self.spacing, 1.0]) if self.placement is None else self.placement.matrix

    @property
    def details(self) -> Details:
        """Time step, contrast limits, colormap and names, as far as the file states them."""
        return self._details[1]

    @cached_property
    def axis_labels(self) -> str:
        """One letter for each axis: "zyx", unless the file states others."""
        labels = self.meta.get("axes", usual_labels(len(self._parts.leading)))
        if not (isinstance(labels, str) and len(labels) == len(set(labels)) == self.ndim and labels.isprintable()):
            raise TincError(f"META chunk names the axes {labels!r:.80}, expected {self.ndim} different letters")
        return labels

    @cached_property
    def channels(self) -> list[dict[str, str]]:
        """ "name" and "color" ("#rrggbb") of every channel; empty if the file does not state them."""
        channels = self.meta.get("channels", [])
        count = self.shape[self.axis_labels.index("c")] if "c" in self.axis_labels[:-3] else 0
        texts = isinstance(channels, list) and all(
            isinstance(item, dict) and all(isinstance(text, str) for text in item.values()) for item in channels
        )
        if not texts or (channels and len(channels) != count):
            raise TincError(f"META chunk has the channels {channels!r:.80}, expected {count} objects of texts")
        return channels

    @property
    def error_bound(self) -> float | None:
        """The largest error of any voxel that the file promises, 0 for bit for bit; None if it promises nothing.

        In a file that was cut off (see :attr:`n_missing`) it holds for the blocks that are present.
        """
        return self.header.error_bound

    @property
    def regions(self) -> Regions:
        """The regions that are kept exactly, or within a bound of their own: ``regions.bound``, ``regions.n_voxels``.

        ``regions.bound`` is None if the file has none.
        """
        return self._parts.regions

    @cached_property
    def fill(self) -> Fill:
        """What is no measurement, and left out of range, PSNR and SSIM: ``fill.values``, and ``fill.n_voxels``."""
        return Fill.of_meta(self.meta, self.header.dtype)

    @property
    def n_exact(self) -> int:
        """Number of measurements in the regions that are kept, without what is there as :attr:`fill`."""
        return self.regions.count_without(self.fill)

    @property
    def method(self) -> str:
        """How the values are coded: "networks", or "predictive" if no block has networks."""
        return "networks" if self._parts.has_networks else "predictive"

    @property
    def calibrated(self) -> bool:
        """Whether gains and offsets correct the values of the networks, or a filter those of other blocks."""
        return self._parts.shows_calibration and any(
            part is not None and part.calibrated for _, _, part in self.boxes()
        )

    @property
    def n_missing(self) -> int:
        """How many networks, or blocks, were cut off. Their voxels are shown coarsely.

        It is 1 if only ancillary chunks were cut off, and 0 for a complete file.
        """
        if isinstance(self._parts, BlockContents):
            return self._parts.n_missing
        return sum(part.n_missing for _, _, part in self.boxes() if part)

    @cached_property
    def nbytes_compressed(self) -> int:
        """Bytes of the whole ``.tinc`` file."""
        return self._parts.nbytes()

    @property
    def ratio(self) -> float:
        """Bytes of the raw array, divided by the bytes of the file."""
        return self.nbytes / self.nbytes_compressed

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What the file states about axes, channels and labels, as JSON; empty if nothing."""
        return read_json(self._parts.ancillary(Ancillary.META))

    @property
    def provenance(self) -> dict[str, Any]:
        """What the encoder states about itself: version, seed, options, measured quality. Empty if nothing."""
        return read_json(self._parts.ancillary(Ancillary.PROVENANCE))

    @cached_property
    def levels(self) -> list[LazyArray]:
        """The volume at full resolution, half, a quarter, ... down to 32 voxels along the longest axis. Lazy.

        A voxel of a coarse level is the mean over its cell; of labels, the voxel in the middle of the cell.
        """
        return levels_of(self, self._parts.leading, self.header.shape)

    @cached_property
    def leaves(self) -> NDArray[Any]:
        """A table with one row for each leaf: block after block, coarse levels first, Morton order in a level.

        Fields: start, stop (voxels, half open), level, network (number of the node whose network gives its values, -1
        for a scalar leaf), parameters (of that network's node), bytes (below), rmse and max_error (data units) and
        psnr (dB, range of the whole volume) as measured when the file was written, of all leaves together that share a
        network, or are scalars, nan where it does not say; gain and offset (data units) of the calibration. Of several
        channels or points in time, one after the other.

        ``bytes``, a float, is the code length of the numbers that serve this leaf alone, and the leaf's share, by
        voxels, of what it has in common with others: networks above it, or shared with it, and tables. Over a tree
        they sum up to its MODEL and WEIGHTS chunks. Of a block without networks they are all its bytes; if a background
        stands for a part of it, the block has leaves that share its bytes by the voxels that are coded, and its errors.
        """
        above, parts = self._parts.levels_above(), self._parts
        tables = []
        for volume, box in itertools.product(range(math.prod(parts.leading)), range(len(parts.start))):
            rows = parts.leaves(volume, box, self.value_range)
            if rows is not None:
                rows["start"] += parts.start[box]
                rows["stop"] += parts.start[box]
                rows["level"] += above[box]
                tables.append(rows)
        return np.concatenate([np.zeros(0, LEAF_FIELDS), *tables])

    def boxes(self) -> Iterator[tuple[int, int, Part | None]]:
        """Yield the number of the channel or point in time, that of the box, and the box; None if it was cut off."""
        for volume, box in itertools.product(range(math.prod(self._parts.leading)), range(len(self._parts.start))):
            yield volume, box, self._parts.part(volume, box)

    def select(self, *index: int | None) -> TincVolume:
        """Return one channel or point in time as a volume. Nothing is decoded.

        Parameters
        ----------
        index : a number for each axis before z, y, x; None keeps the axis.

        Raises
        ------
        IndexError
            If there are more or fewer numbers than such axes, or one is out of range.
        """
        parts = self._parts
        if not isinstance(parts, BlockContents) or not parts.leading:
            if index:
                raise IndexError(f"{len(index)} indices for a volume of 3 axes, expected none")
            return self
        if len(index) != len(parts.leading):
            raise IndexError(f"{len(index)} indices, expected {len(parts.leading)}: {self.axis_labels[:-3]}")
        numbers = np.arange(math.prod(parts.leading)).reshape(parts.leading)
        volumes = numbers[tuple(slice(None) if at is None else at for at in index)]
        kept = "".join(label for label, at in zip(self.axis_labels[:-3], index, strict=True) if at is None)
        meta = {key: value for key, value in self.meta.items() if key != "axes" and (key != "channels" or "c" in kept)}
        if self.fill.values:
            meta |= replace(self.fill, n_voxels=None).as_meta()
        if (axes := kept + self.axis_labels[-3:]) != usual_labels(len(kept)):
            meta["axes"] = axes
        return TincVolume.of_contents(
            parts.selected(volumes, with_json(parts.ancillary(), Ancillary.META, meta)), self._cache.most
        )

    def rewritten(
        self, *, spacing: tuple[float, ...] | None, units: str | None, axis_labels: str,
        placement: Placement | None = None, details: Details | None = None,
    ) -> TincVolume:  # fmt: skip
        """Return the same volume in a file with another spacing, unit, axes, placement and details.

        A warning names the details for which there is no room.
        """
        from ..format.details import Details, budget_of, pack_details

        meta = self.meta | {"axes": axis_labels}
        if meta == {"axes": "zyx"}:
            meta = {}
        ancillary = with_json(self._parts.ancillary(), Ancillary.META, meta)
        budget = budget_of(self.nbytes_compressed)
        payload = pack_details(placement, details or Details(), spacing, self.header.shape, budget)
        ancillary = with_chunk(ancillary, Ancillary.DETAILS, payload)
        data = self._parts.rewritten(ancillary, spacing=spacing, unit=units or "")
        return TincVolume(data, cache_bytes=self._cache.most)

    def uncalibrated(self) -> TincVolume:
        """Return the same volume without gains, offsets and filter, to see what they give; itself if it has none.

        Nothing is decoded or encoded for this. Its :attr:`leaves` have no errors, as they were measured with
        calibration. Saving it writes a file without gains, offsets and filter.
        """
        if not self.calibrated:
            return self
        provenance = {key: value for key, value in self.provenance.items() if key not in QUALITY_KEYS}
        ancillary = with_json(self._parts.ancillary(), Ancillary.PROVENANCE, provenance)
        return TincVolume.of_contents(self._parts.uncalibrated(ancillary), self._cache.most)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.tinc`` file, atomically: an old file of that name stays until the new one is complete.

        Raises
        ------
        TincError
            If the volume is damaged, or was cut off. Nothing is written.
        OSError
            If the file cannot be written.
        """
        if self.n_missing:
            raise TincError(f"{self.n_missing} of its parts are missing, as the file was cut off: not saved")
        atomic.save(path, self._parts.data())

    def verify(self) -> None:
        """Check all checksums and decode everything; :class:`TincError` if anything is damaged or missing."""
        if self.n_missing:
            raise TincError(f"{self.n_missing} of its parts are missing, as the file was cut off")
        self._parts.check()
        overviews = (self._parts.overview(volume) for volume in range(math.prod(self._parts.leading)))
        for part in itertools.chain((part for _, _, part in self.boxes()), overviews):
            if part is not None:
                part.verify()
        self.regions.verify()
        _ = self.axis_labels, self.channels, self.provenance, self.details, self.fill

    def __getitem__(self, index: Any) -> LazyArray:
        return self.levels[0][index]

    def __repr__(self) -> str:
        return f"<TincVolume shape={self.shape} dtype={self.dtype} ratio={self.ratio:.1f}>"

    @cached_property
    def _details(self) -> tuple[Placement | None, Details]:
        from ..format.details import read_details

        return read_details(self._parts.ancillary(Ancillary.DETAILS), self.header)

    @cached_property
    def _decoder(self) -> VoxelDecoder:
        return VoxelDecoder(self._parts, self._cache, dtype=self.dtype, labels=self.labels, fill=self.fill.values)

    def _decode(self, factor: int, ranges: Sequence[range]) -> NDArray[Any]:
        return self._decoder.decode(factor, ranges)


def open(path: str | os.PathLike[str], *, partial: bool = False, cache_bytes: int = CACHE_BYTES) -> TincVolume:
    """Open a ``.tinc`` file. Only its head is decoded; torch is not imported.

    Parameters
    ----------
    path : path of a file, or a URL; of a file on a server, only the parts that are looked at are fetched.
    partial : accept a file that is cut off. What is missing is shown coarsely (see :attr:`TincVolume.n_missing`).
    cache_bytes : how much memory the volume may use to keep what it has decoded, in bytes.

    Raises
    ------
    TincError
        If it is not a ``.tinc`` file, or is damaged.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tinc as tinc
    >>> tinc.compress(np.full((8, 16, 16), 7, np.uint8), max_error=0).save("sevens.tinc")
    >>> volume = tinc.open("sevens.tinc")
    >>> volume.shape
    (8, 16, 16)
    >>> np.asarray(volume[4, :2, :3])
    array([[7, 7, 7],
           [7, 7, 7]], dtype=uint8)
    """
    return TincVolume(stores.open_store(path), partial=partial, cache_bytes=cache_bytes)
