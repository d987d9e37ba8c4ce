"""A box of voxels coded as a tree of networks: its values at any coordinates, its leaves, its checks."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..format import chunks, networks_file, quality, widths
from ..format.chunks import Ancillary, Chunk, ChunkKind
from ..format.networks_file import Calibration, NetworksHeader
from ..format.quality import unpack_errors
from ..networks.values import Scale
from .cache import BoxPlanes
from .leaf_table import LEAF_FIELDS

if TYPE_CHECKING:
    from ..bounded.background import Background
    from ..networks.evaluate import Network
    from ..networks.weights import StoredNetwork


class DecodedWeights:
    """The weights of a box: decoded when they are first needed, and shared by the same box without calibration."""

    def __init__(self, header: NetworksHeader, chunks: Sequence[Chunk]) -> None:
        self._header, self._chunks = header, chunks

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which nodes have a network that was cut off, (n_nodes,)."""
        present = sum(chunk.n_nodes for chunk in self._chunks if chunk.role is ChunkKind.WEIGHTS)
        return (self._header.widths > 0) & ((self._header.widths > 0).cumsum() > present)

    @cached_property
    def stored(self) -> StoredNetwork:
        from ..networks.weights import from_chunks

        return from_chunks(self._header, self._chunks)

    @cached_property
    def network(self) -> Network:
        return self.stored.network(self.missing)

    @cached_property
    def uncalibrated(self) -> Network:
        return self.network.with_corrections(*self.stored.uncalibrated().leaf_corrections(self.missing))


class NetworkBox:
    """A box of voxels z, y, x, and the networks that give their values.

    With ``partial``, the data may be cut off anywhere after the first chunk. Leaves whose networks are missing have
    the mean of the volume. A ``background`` stands for the voxels that it hides, which the networks have not learnt;
    they may be of the part of the box that it leaves. ``planes`` keeps planes of lattices for the next slices.
    """

    _shows_calibration = True

    def __init__(
        self,
        data: bytes,
        *,
        partial: bool = False,
        background: Background | None = None,
        planes: BoxPlanes | None = None,
    ) -> None:
        self.data, self.background, self._planes = data, background, planes
        self.cut_off = False
        try:
            self.header, self.chunks = networks_file.parse(data)
        except TincError:
            if not partial:
                raise
            self.header, self.chunks = networks_file.parse(data, partial=True)
            self.cut_off = True
        if background is not None and self.header.shape != (size := tuple(s.stop - s.start for s in background.core)):
            raise TincError(f"networks behind a background are of {self.header.shape} voxels, expected {size}")
        self._weights = DecodedWeights(self.header, self.chunks)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape if self.background is None else self.background.hidden.shape

    @property
    def core(self) -> tuple[slice, ...]:
        """The part of the box that the networks are of."""
        return tuple(slice(0, n) for n in self.header.shape) if self.background is None else self.background.core

    @property
    def calibrated(self) -> bool:
        """Whether gains and offsets correct the values."""
        return self._shows_calibration and self.header.calibration is not Calibration.NONE

    @cached_property
    def uncalibrated(self) -> NetworkBox:
        """The same box without gains and offsets, and without the errors measured with them. Shares its weights."""
        box = copy(self)
        box._shows_calibration = False
        box.chunks = tuple(chunk for chunk in self.chunks if chunk.role is not Ancillary.QUALITY)
        return box

    @property
    def network(self) -> Network:
        return self._weights.network if self._shows_calibration else self._weights.uncalibrated

    @property
    def stored(self) -> StoredNetwork:
        """The decoded chunks, with the calibration of the file."""
        return self._weights.stored

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which nodes have a network that was cut off, (n_nodes,)."""
        return self._weights.missing

    @property
    def decoded(self) -> bool:
        """Whether the weights have been decoded."""
        return "network" in vars(self._weights)

    @property
    def n_missing(self) -> int:
        """How many networks were cut off; 1 if only ancillary chunks were."""
        return int(self.missing.sum()) or int(self.cut_off)

    def values(self, axes: Sequence[NDArray[np.float64]], threads: int | None = None) -> NDArray[Any]:
        """Evaluate at a grid of coordinates, in voxels from the corner of the box, rounded to the dtype."""
        return self._on_grid(axes, threads, self.header.dtype, Scale.of(self.header))

    def floats(
        self, axes: Sequence[NDArray[np.float64]], threads: int | None = None, spacing: float = np.inf
    ) -> NDArray[np.float64]:
        """Evaluate at a grid of coordinates as float64, not rounded.

        Points that are ``spacing`` voxels from each other are evaluated without a lattice whose points lie closer.
        """
        exact = spacing > networks_file.finest_stride(self.header)
        scale = Scale.of(self.header)._replace(is_whole=False)
        return self._on_grid(axes, threads, np.dtype(np.float64), scale, exact)

    def _on_grid(
        self, axes: Sequence[NDArray[np.float64]], threads: int | None, dtype: np.dtype[Any],
        scale: Scale, exact: bool = False,
    ) -> NDArray[Any]:  # fmt: skip
        """Evaluate the background, and networks where it does not stand for them."""
        evaluate = partial(
            self.network.on_grid, threads=threads, dtype=dtype, scale=scale, planes=self._planes,
            lattice=() if exact else None,
        )  # fmt: skip
        if self.background is None:
            return evaluate(axes)
        place = np.ix_(*(np.clip(axis.astype(np.int64), 0, n - 1) for axis, n in zip(axes, self.shape, strict=True)))
        out, hidden = self.background.smooth[place].astype(dtype), self.background.hidden[place]
        met = [(axis >= side.start) & (axis < side.stop) for axis, side in zip(axes, self.core, strict=True)]
        if all(along.any() for along in met):
            inside = np.ix_(*met)
            grid = [axis[along] - side.start for axis, along, side in zip(axes, met, self.core, strict=True)]
            out[inside] = np.where(hidden[inside], out[inside], evaluate(grid))
        return out

    def leaves(self, value_range: tuple[float, float]) -> NDArray[Any]:
        """Return the rows of :attr:`TincVolume.leaves`, counted from the corner; PSNR is by ``value_range``."""
        from ..networks.leaf_bytes import bytes_of_leaves

        header, tree = self.header, self.header.tree
        counts = networks_file.parameter_counts(header)
        rows = np.zeros(tree.n_leaves, LEAF_FIELDS)
        rows["start"], rows["stop"] = tree.start[tree.leaves], tree.stop[tree.leaves]
        rows["level"] = tree.level[tree.leaves]
        rows["network"] = network = widths.network_of_node(tree, header.widths)[tree.leaves]
        rows["parameters"] = np.where(network < 0, 0, counts[network])
        rows["bytes"] = bytes_of_leaves(header, self.chunks)
        rows["rmse"], rows["max_error"] = self._errors().T
        with np.errstate(divide="ignore", invalid="ignore"):
            rows["psnr"] = 20 * np.log10(quality.span_of(value_range) / rows["rmse"])
        rows["psnr"][rows["rmse"] == 0] = np.inf  # of a constant volume too
        rows["gain"] = self.network.gain
        with np.errstate(over="ignore"):  # of the largest floats
            rows["offset"] = self.network.offset * header.std
        if self.background is None:
            return rows
        first = [side.start for side in self.core]
        rows["start"] += first
        rows["stop"] += first
        around = self._rows_around()
        sharing = around if len(around) else rows
        voxels = (sharing["stop"] - sharing["start"]).prod(axis=1)
        sharing["bytes"] += len(self.background.data) * voxels / voxels.sum()
        return np.concatenate([rows, around])

    def _rows_around(self) -> NDArray[Any]:
        """Return rows of the at most six boxes around that of the networks."""
        boxes, rest = [], [[0, n] for n in self.shape]
        for axis, side in enumerate(self.core):
            for low, high in ((rest[axis][0], side.start), (side.stop, rest[axis][1])):
                if low < high:
                    boxes.append([*rest[:axis], [low, high], *rest[axis + 1 :]])
            rest[axis] = [side.start, side.stop]
        rows = np.zeros(len(boxes), LEAF_FIELDS)
        if boxes:
            rows["start"], rows["stop"] = np.moveaxis(np.array(boxes), 2, 0)
        rows["network"], rows["gain"] = -1, 1
        for field in ("rmse", "psnr", "max_error"):
            rows[field] = np.nan
        return rows

    def _errors(self) -> NDArray[np.float64]:
        """Return RMSE and largest error of every leaf as the file states them, else nan; float64 (n_leaves, 2)."""
        part = quality.parts_of_leaves(self.header)
        errors = np.full((len(part), 2), np.nan)
        for chunk in self.chunks:
            if chunk.role is Ancillary.QUALITY:
                errors = unpack_errors(chunk.checked(), int(part.max()) + 1, self.header.value_range)[part]
        return errors

    def pack(self, ancillary: Sequence[Chunk], **facts: Any) -> bytes:
        """Return the box as a file, with these ancillary chunks and other facts."""
        if self.calibrated or self.header.calibration is Calibration.NONE:
            critical = [chunk for chunk in self.chunks if not chunk.ancillary]
            return networks_file.pack(replace(self.header, **facts), [*critical, *ancillary])
        return pack_weights(self.header, self.stored.uncalibrated(), ancillary, **facts)

    def verify(self) -> None:
        """Check all chunks and decode all weights; :class:`TincError` if anything is damaged."""
        chunks.verify(self.chunks)
        _ = self.network, self._errors()


def pack_weights(
    header: NetworksHeader, stored: StoredNetwork, ancillary: Sequence[Chunk], **facts: Any
) -> bytes:  # fmt: skip
    """Return a file of one tree with other weights or corrections."""
    header = replace(header, calibration=stored.corrections.kind, **facts)
    return networks_file.pack(header, [*stored.to_chunks(header.weights_format), *ancillary])
