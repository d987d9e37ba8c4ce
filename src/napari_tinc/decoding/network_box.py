"""One tree of networks as a file holds it: its values at any coordinates, its leaves, its checks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..format import chunks, networks_file, quality, widths
from ..format.chunks import Ancillary, ChunkKind
from ..format.networks_file import Calibration
from ..format.quality import unpack_errors
from ..networks.values import to_floats, to_values
from .leaf_table import LEAF_FIELDS

if TYPE_CHECKING:
    from ..networks.evaluate import Network


class NetworkBox:
    """A box of voxels z, y, x and the networks that give their values.

    With ``partial`` the data may be cut off anywhere after the first chunk; leaves without their networks have the
    mean of the volume.
    """

    def __init__(self, data: bytes, *, partial: bool = False) -> None:
        self.data = data
        self.cut_off = False
        try:
            self.header, self.chunks = networks_file.parse(data)
        except TincError:
            if not partial:
                raise
            self.header, self.chunks = networks_file.parse(data, partial=True)
            self.cut_off = True

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.header.shape

    @property
    def calibrated(self) -> bool:
        return self.header.calibration is not Calibration.NONE

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which nodes have a network that was cut off, (n_nodes,)."""
        present = sum(chunk.n_nodes for chunk in self.chunks if chunk.role is ChunkKind.WEIGHTS)
        return (self.header.widths > 0) & ((self.header.widths > 0).cumsum() > present)

    @cached_property
    def network(self) -> Network:
        from ..networks.weights import from_chunks

        return from_chunks(self.header, self.chunks).network(self.missing)

    @property
    def n_missing(self) -> int:
        """Networks that were cut off; 1 if it was what else the file says."""
        return int(self.missing.sum()) or int(self.cut_off)

    def values(self, axes: Sequence[NDArray[np.float64]], threads: int | None = None) -> NDArray[Any]:
        """Values at a grid of coordinates, in voxels from the corner of the box, rounded to the dtype."""
        finish = partial(to_values, header=self.header)
        return self.network.on_grid(axes, threads, dtype=self.header.dtype, finish=finish)

    def floats(self, axes: Sequence[NDArray[np.float64]], threads: int | None = None) -> NDArray[np.float64]:
        """The same, not rounded."""
        return self.network.on_grid(axes, threads, dtype=np.float64, finish=partial(to_floats, header=self.header))

    def leaves(self, value_range: tuple[float, float]) -> NDArray[Any]:
        """See :attr:`TincVolume.leaves`; boxes count from the corner of this one. The range is what PSNR is of."""
        from ..networks.leaf_bytes import bytes_of_leaves

        header, tree = self.header, self.header.tree
        counts = networks_file.parameter_counts(header)
        rows = np.zeros(len(tree.leaves), LEAF_FIELDS)
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
        return rows

    def _errors(self) -> NDArray[np.float64]:
        """RMSE and largest error of every leaf, as the file says them; nan where it does not. (n_leaves, 2)."""
        part = quality.parts_of_leaves(self.header)
        errors = np.full((len(part), 2), np.nan)
        for chunk in self.chunks:
            if chunk.role is Ancillary.QUALITY:
                errors = unpack_errors(chunk.checked(), int(part.max()) + 1, self.header.value_range)[part]
        return errors

    def verify(self) -> None:
        """Check all chunks and decode all weights; :class:`TincError` if anything is wrong."""
        chunks.verify(self.chunks)
        _ = self.network, self._errors()
