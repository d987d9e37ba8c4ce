"""The regions that a file keeps exactly, or within a bound of their own: put over the values of the boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from ..format.fill import Fill, is_no_measurement
from ..format.regions import RegionFacts, RegionPlace, parse_payload
from .cache import LeastRecentlyUsed

_Decoded = tuple[NDArray[np.bool_], NDArray[Any]]


class Regions:
    """The regions of a file. Each is read and decoded when it is first needed.

    Parameters
    ----------
    facts : what the head says about them; None if there are none.
    read : returns the checked payload of a region by its number.
    keys : what each region is called in the cache; fewer than ``facts`` has if the file was cut off.
    dtype : of the values.
    cache : keeps decoded regions.
    """

    def __init__(
        self, facts: RegionFacts | None, read: Callable[[int], bytes], keys: Sequence[int], dtype: np.dtype[Any],
        cache: LeastRecentlyUsed,
    ) -> None:  # fmt: skip
        self.arguments = facts, read, keys, dtype, cache
        self.facts, self._read, self._keys, self._dtype, self._cache = facts, read, keys, dtype, cache

    @classmethod
    def none(cls) -> Regions:
        """Return the regions of a file that has none."""
        return cls(None, lambda _: b"", (), np.dtype("u1"), LeastRecentlyUsed(0))

    def __len__(self) -> int:
        """Return the number of regions."""
        return len(self.facts.table) if self.facts else 0

    def place(self, number: int) -> RegionPlace:
        """Return the box of a region."""
        assert self.facts
        return self.facts.place(number)

    def put(self, volume: int, axes: Sequence[NDArray[np.float64]], out: NDArray[Any]) -> None:
        """Put the values of the regions into values at a grid of ascending coordinates, in voxels of the volume."""
        for number, place, local in self._met(volume, axes):
            mask, values = self.decoded(number)
            inside, here = mask[np.ix_(*local)], out[place]
            with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
                here[inside] = values[np.ix_(*local)][inside]

    def at_hand(self, volume: int, axes: Sequence[NDArray[np.float64]]) -> bool:
        """Return whether all regions that a grid of ascending coordinates meets are in the cache."""
        met = (number for number, _, _ in self._met(volume, axes) if number < len(self._keys))
        return all(self._cache.get(("region", self._keys[number])) is not None for number in met)

    def mask(self, volume: int, axes: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Return which points of a grid of ascending coordinates lie in a region."""
        out = np.zeros([len(axis) for axis in axes], bool)
        for number, place, local in self._met(volume, axes):
            out[place] |= self.decoded(number)[0][np.ix_(*local)]
        return out

    def _met(
        self, volume: int, axes: Sequence[NDArray[np.float64]]
    ) -> list[tuple[int, tuple[slice, ...], list[NDArray[np.int64]]]]:
        """Find the regions that a grid meets: their numbers, the part of the grid in each, and the voxels met there."""
        if not self.facts or not all(len(axis) for axis in axes):
            return []
        table = self.facts.table.astype(np.int64)
        start, stop = table[:, 1:4], table[:, 1:4] + table[:, 4:]
        met = table[:, 0] == volume
        for axis, low, high in zip(axes, start.T, stop.T, strict=True):
            met &= (high > axis[0]) & (low <= axis[-1])
        found = []
        for number in np.flatnonzero(met).tolist():
            ends = zip(start[number].tolist(), stop[number].tolist(), strict=True)
            place = tuple(slice(*np.searchsorted(axis, pair).tolist()) for axis, pair in zip(axes, ends, strict=True))
            local = [
                axis[along].astype(np.int64) - low for axis, along, low in zip(axes, place, start[number], strict=True)
            ]
            if all(map(len, local)):
                found.append((number, place, local))
        return found

    def decoded(self, number: int) -> _Decoded:
        """Return the mask of a region and its values, (z, y, x) each; the mask is empty if the region was cut off.

        Raises
        ------
        TincError
            If it is damaged.
        """
        shape = self.place(number).shape
        if number >= len(self._keys):
            return self.nothing(number)
        kept: _Decoded | None = self._cache.get(("region", self._keys[number]))
        if kept is not None:
            return kept
        payload = self._read(number)
        mask, values = _decode(payload, shape, self._dtype)
        self._cache.put(("region", self._keys[number]), (mask, values), mask.nbytes + values.nbytes)
        return mask, values

    def nothing(self, number: int) -> _Decoded:
        """Return an empty mask and zeros, of the shape of a region."""
        shape = self.place(number).shape
        return np.zeros(shape, bool), np.zeros(shape, self._dtype)

    @property
    def bound(self) -> float | None:
        """Largest absolute error inside the regions, 0 for bit for bit; None if there are none."""
        return self.facts.bound if self.facts else None

    @cached_property
    def n_voxels(self) -> int:
        """Number of voxels inside."""
        return self.facts.n_voxels or self._count() if self.facts else 0

    def _count(self) -> int:
        """Count the voxels inside, by the masks."""
        return sum(int(self.decoded(number)[0].sum()) for number in range(len(self)))

    def count_without(self, fill: Fill) -> int:
        """Count the voxels inside that are measurements."""
        if fill.n_voxels is not None:
            return max(0, self.n_voxels - fill.n_voxels)  # all those without a measurement are inside
        regions = map(self.decoded, range(len(self)))
        return sum(int((~is_no_measurement(values[mask], fill.values)).sum()) for mask, values in regions)

    def counted(self) -> RegionFacts | None:
        """Return the facts with the number of voxels, which is not known of a channel of a file."""
        return replace(self.facts, n_voxels=self.n_voxels) if self.facts else None

    def payloads(self) -> list[bytes]:
        """Return the payloads of all regions, as the file has them."""
        return list(map(self._read, range(len(self._keys))))

    def verify(self) -> None:
        """Decode all regions; :class:`TincError` if one is damaged, or they are not of so many voxels as is stated."""
        count = self._count()
        if self.facts and self.facts.n_voxels and count != self.facts.n_voxels:
            raise TincError(f"regions have {count} voxels, expected {self.facts.n_voxels}")


def _decode(payload: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> _Decoded:
    """Decode the mask and the values of a region, and compare the CRC-32 of the values inside."""
    from ..bounded.box import decode_box  # A file without regions is opened without its modules.
    from ..differences import checksum

    crc, mask_bytes, value_bytes = parse_payload(payload)
    try:
        codes = decode_box(mask_bytes, shape, "u1")
        values = decode_box(value_bytes, shape, dtype)
    except ValueError as error:
        raise TincError(f"region: {error}") from error
    if codes.max() != 1:
        raise TincError(f"mask of a region has values up to {codes.max()}, expected 0 and 1, and one that is 1")
    mask = codes == 1
    if (computed := checksum(values[mask])) != crc:
        raise TincError(f"values of a region decode to the CRC-32 {computed:08x}, expected {crc:08x}")
    return mask, values


def whole_axes(box: Sequence[slice]) -> list[NDArray[np.float64]]:
    """Return the coordinates of all voxels of a box."""
    return [np.arange(side.start, side.stop, dtype=np.float64) + 0.5 for side in box]
