"""Keep a region of a volume exactly, or within a bound of its own, while the rest is compressed by any method.

Voxels that are no measurements (fill_search.py) are kept in the same way, with the region or alone.

mask --places_of--> boxes --code--> REGION chunks, whose bytes are known
volume with the mask filled smoothly, the bytes that remain --any method--> a file --with_regions--> the file
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import metrics
from ...bounded.box import encode_and_decode, encode_box
from ...control import Check, never
from ...decoding.block_contents import BlockContents
from ...decoding.cache import LeastRecentlyUsed
from ...decoding.network_box import NetworkBox
from ...decoding.regions import Regions, whole_axes
from ...decoding.volume import TincVolume
from ...differences import checksum, violations
from ...events import Finished, Preview, Progress
from ...format import blocks_file
from ...format.blocks_file import BlocksHeader, Payload
from ...format.chunks import Ancillary, Chunk, ChunkKind, pack_entry
from ...format.fill import is_fill, is_no_measurement
from ...format.metadata import with_json
from ...format.quality import pack_errors, span_of
from ...format.regions import RegionFacts, RegionPlace, pack_payload, pack_regions
from ...io.read_options import say
from ...metrics import Quality, part_errors, psnr, quality_fields
from ...octree import Octree, box_slices
from ..job import EncodingJob
from ..sources import VolumeSource
from .fields import Field, slabs
from .fill_search import NoMeasurements
from .filling import KeptVoxels, filled, filled_source

REGION_EDGE = 128  # A region is cut into boxes of at most this many voxels along an edge.
MOST_SHARE = 0.5  # Values that nobody named are kept apart if that takes at most so much of the file.
FILE_BYTES = 160  # A file of one tree becomes at most this much larger as a file of blocks.


@dataclass(frozen=True, slots=True, eq=False)
class ExactRegion:
    """The region of a volume that is kept.

    Attributes
    ----------
    mask : not 0 inside.
    bound : largest absolute error inside; 0 for bit for bit.
    places : boxes that cover it.
    fill : what is no measurement and kept bit for bit, whatever the bound is; None if nothing is.
    asked : the mask that the user gave; None if all that is kept is no measurement.
    """

    mask: Field
    bound: float
    places: list[RegionPlace]
    fill: NoMeasurements | None = None
    asked: Field | None = None

    @classmethod
    def of(cls, array: Any, bound: float, source: VolumeSource) -> ExactRegion:
        """Check a mask and find its boxes.

        Raises
        ------
        ValueError, TypeError
            If it is no mask of the volume, or empty.
        """
        mask = Field.of("exact", array, source)
        if np.dtype(mask.array.dtype).kind == "f":
            _check_is_mask(mask, source)
        places = [place for volume in range(source.n_volumes) for place in _places_of(mask, source, volume)]
        if not places:
            raise ValueError("exact has no voxel that is not 0, so that nothing would be kept; expected a mask")
        return cls(mask, float(bound), places, asked=mask)

    @classmethod
    def with_fill(cls, region: ExactRegion | None, fill: NoMeasurements, source: VolumeSource) -> ExactRegion:
        """Return a region, or none, and the voxels that are no measurements. These must be some."""
        asked = None if region is None else region.asked
        mask = Field("fill", KeptVoxels(source, fill.values, asked))
        places = [place for volume in range(source.n_volumes) for place in _places_of(mask, source, volume)]
        return cls(mask, 0.0 if region is None else region.bound, places, fill, asked)

    @property
    def values(self) -> tuple[float, ...]:
        """What is no measurement, besides NaN and infinities."""
        return () if self.fill is None else self.fill.values

    @property
    def is_optional(self) -> bool:
        """Whether nobody asked for it, and no method needs it."""
        fill = self.fill
        return self.asked is None and fill is not None and not fill.named and not fill.n_not_finite

    def key(self, source: VolumeSource) -> list[Any]:
        """Return what tells this region from others of the same volume."""
        asked = [] if self.asked is None else [self.bound, self.asked.digest(source)]
        return ["exact", *asked, *([] if self.fill is None else ["fill", *self.fill.values])]

    def inside(self, source: VolumeSource, place: RegionPlace) -> NDArray[np.bool_]:
        """Return which voxels of a box are kept, (z, y, x)."""
        return np.ascontiguousarray(self.mask.read(source, place.volume, place.box) != 0)


def _check_is_mask(mask: Field, source: VolumeSource) -> None:
    """Raise ValueError if an array of floats holds anything but 0 and 1."""
    for volume in range(source.n_volumes):
        for slab in slabs(source.shape):
            values = mask.read(source, volume, slab)
            if not (is_binary := (values == 0) | (values == 1)).all():
                raise ValueError(
                    f"exact is {values.dtype} with values such as {values[~is_binary].flat[0]:g}, expected a mask: "
                    "bool, or integers that are 0 outside"
                )


def _places_of(mask: Field, source: VolumeSource, volume: int) -> Iterator[RegionPlace]:
    """Find the boxes of at most :data:`REGION_EDGE` that cover the mask of a volume, as small as may be."""
    met = [np.zeros(n, bool) for n in source.shape]
    for slab in slabs(source.shape):
        inside = mask.read(source, volume, slab) != 0
        met[0][slab[0]] = inside.any(axis=(1, 2))
        met[1] |= inside.any(axis=(0, 2))
        met[2] |= inside.any(axis=(0, 1))
    if not met[0].any():
        return
    cuts = []
    for along in met:
        first, last = int(along.argmax()), len(along) - int(along[::-1].argmax())
        n = -(-(last - first) // REGION_EDGE)
        cuts.append([first + (last - first) * part // n for part in range(n + 1)])
    for z, y, x in np.ndindex(*(len(cut) - 1 for cut in cuts)):
        box = [slice(cut[at], cut[at + 1]) for cut, at in zip(cuts, (z, y, x), strict=True)]
        inside = mask.read(source, volume, box) != 0
        if not inside.any():
            continue
        start, shape = [], []
        for axis, side in enumerate(box):
            along = inside.any(axis=tuple(other for other in range(3) if other != axis))
            start.append(side.start + int(along.argmax()))
            shape.append(len(along) - int(along.argmax()) - int(along[::-1].argmax()))
        yield RegionPlace(volume, (start[0], start[1], start[2]), (shape[0], shape[1], shape[2]))


def code_region(
    values: NDArray[Any], inside: NDArray[np.bool_], bound: float, check: Check = never, *, fill: tuple[float, ...] = ()
) -> bytes:
    """Code a box whose voxels inside a mask are kept within a bound, as the payload of a REGION chunk.

    A box with a value of ``fill`` is kept bit for bit. AssertionError if a reader would decode others.
    """
    if bound and is_fill(values[inside], fill).any():
        bound = 0.0
    whole = bool(inside.all())
    candidates = [values] if whole else [filled(values, ~inside), np.where(inside, values, values[inside][0])]
    coded = [encode_and_decode(candidate, bound, check=check) for candidate in candidates]
    data, decoded = min(coded, key=lambda one: len(one[0]))
    kept = decoded[inside]
    if wrong := violations(values[inside][None], kept[None], bound):
        raise AssertionError(f"{wrong} voxels are further than {bound} from the original: nothing is written")
    return pack_payload(checksum(kept), encode_box(inside.view(np.uint8), 0), data)


def run_with_region(
    job: EncodingJob, region: ExactRegion, budget: int, run: Callable[[EncodingJob, int], Iterator[Any]],
    plain: EncodingJob,
) -> Iterator[Progress | Preview | Finished]:  # fmt: skip
    """Make a file of at most ``budget`` bytes (0 for no limit) that keeps a region. None comes if it is cancelled.

    Parameters
    ----------
    run : makes a file of a job and of at most so many bytes.
    plain : the job without a region, which is done instead if values that nobody named would take most of the bytes.

    Raises
    ------
    ValueError
        If the region alone takes more bytes than the file may have.
    """
    began, n_voxels = time.perf_counter(), 0
    payloads: list[bytes] = []
    for number, place in enumerate(region.places):
        job.control.check()
        values = job.source.read(place.volume, place.box, finite=False)
        inside = region.inside(job.source, place)
        n_voxels += int(inside.sum())
        payloads.append(code_region(values, inside, region.bound, job.control.check, fill=region.values))
        seconds, n = time.perf_counter() - began, len(region.places)
        left = seconds / (number + 1) * (n - number - 1)
        yield Progress("region", number + 1, n, seconds, left, math.nan, math.nan, sum(map(len, payloads)))
    facts = RegionFacts.of(region.bound, n_voxels, region.places)
    nbytes = len(pack_regions(facts)) + FILE_BYTES
    nbytes += sum(len(payload) + len(pack_entry(Chunk.of(ChunkKind.REGION, payload))) for payload in payloads)
    if budget and nbytes > budget * MOST_SHARE and region.is_optional:
        named = ", ".join(f"{value:g}" for value in region.values)
        say(f"the places of {named} alone would take {nbytes:,} of {budget:,} bytes: {named} counts as a measurement")
        yield from run(plain, budget)
        return
    if budget and nbytes >= budget:
        raise ValueError(_too_large(region, n_voxels, nbytes, budget))
    # A filter is fitted to values as shares of the range, which must be that of the file.
    source = filled_source(job.source, region.mask, None if region.fill is None else region.fill.low)
    base = replace(job, source=source, surveys={}, value_range=_range_of(job.source, region.values))
    for event in run(base, budget - nbytes if budget else 0):
        if isinstance(event, Finished):
            finished = with_region(job, event, facts, payloads, region)
            if budget and finished.volume.nbytes_compressed > budget:
                raise AssertionError(f"a file of {finished.volume.nbytes_compressed} bytes, expected {budget} at most")
            yield replace(finished, seconds=time.perf_counter() - began)
        else:
            yield event


def _too_large(region: ExactRegion, n_voxels: int, nbytes: int, budget: int) -> str:
    """Say that a region needs more bytes than the file may have, and what to do."""
    allowed = f"alone takes {nbytes:,} bytes, and the file may have {budget:,}: ask for a lower ratio"
    if region.asked is not None:
        return (
            f"the exact region of {n_voxels:,} voxels {allowed}, a smaller region, or allow errors inside it "
            "(--exact-max-error)"
        )
    what = "what tells the voxels that are no measurements"
    if region.values:
        return f"{what} ({', '.join(f'{value:g}' for value in region.values)}) {allowed}, or --fill none (fill=None)"
    return f"{what} (NaN or infinite) {allowed}, or for --max-error (max_error=), which keeps them, too"


def with_region(
    job: EncodingJob, base: Finished, facts: RegionFacts, payloads: Sequence[bytes], region: ExactRegion
) -> Finished:  # fmt: skip
    """Return a file, made of a volume with the region filled, with the region; all its errors are measured anew."""
    source, volume = job.source, base.volume
    parts = volume.parts
    cache = LeastRecentlyUsed(volume.nbytes)
    regions = Regions(facts, payloads.__getitem__, range(len(payloads)), source.dtype, cache)
    low, high = _range_of(source, region.values)
    span = span_of((low, high))
    blocks: list[Payload] = []
    errors: list[tuple[float, float]] = []
    tally = Tally(span)
    for number, index in np.ndindex(source.n_volumes, len(parts.start)):
        job.control.check()
        box = box_slices(parts.start[index], parts.stop[index])
        original, axes = source.read(number, box, finite=False), whole_axes(box)
        values = np.array(volume[source.index(number, box)])
        regions.put(number, axes, values)
        original, values = metrics.without_fill(original, values, region.values)
        tally.add(original, values, regions.mask(number, axes))
        part = parts.part(number, index)
        if isinstance(part, NetworkBox):
            background = b"" if part.background is None else part.background.data
            blocks.append(Payload(background + _with_true_errors(part, original, values)))
        else:
            assert part is not None  # the file is whole
            blocks.append(Payload(part.data, part.crc))
            errors.append(metrics.rmse_and_largest(original, values))
    ancillary = [chunk for chunk in parts.ancillary() if chunk.role is not Ancillary.QUALITY]
    if errors:
        ancillary.append(Chunk.of(Ancillary.QUALITY, pack_errors(np.array(errors), (low, high))))
    quality = tally.quality()
    written = volume.provenance | quality_fields(quality) | (tally.fields() if region.asked is not None else {})
    header = _block_header(volume, source, (low, high), facts)
    overviews = parts.overview_payloads() if isinstance(parts, BlockContents) else []
    data = blocks_file.pack(header, overviews, blocks, with_json(ancillary, Ancillary.PROVENANCE, written), payloads)
    quality = replace(quality, ratio=source.nbytes / len(data), bits_per_voxel=8 * len(data) / source.size)
    return replace(base, volume=TincVolume(data), quality=quality)


def _block_header(
    volume: TincVolume, source: VolumeSource, value_range: tuple[float, float], facts: RegionFacts
) -> BlocksHeader:
    """Return the header of the file of blocks that a volume becomes."""
    header = volume.header
    bound = None if header.error_bound is None else max(header.error_bound, facts.bound)
    if isinstance(header, BlocksHeader):
        return replace(header, value_range=value_range, regions=facts, error_bound=bound)
    return BlocksHeader(
        tree=Octree.full(source.shape, 0), dtype=source.dtype, value_range=value_range, spacing=header.spacing,
        unit=header.unit, origin=header.origin, affine=header.affine, error_bound=bound, regions=facts,
    )  # fmt: skip


def _with_true_errors(tree: NetworkBox, original: NDArray[Any], values: NDArray[Any]) -> bytes:
    """Return a tree as a block, with the errors of its leaves after the region is put in."""
    header = tree.header
    packed = pack_errors(part_errors(original[tree.core], values[tree.core], header), header.value_range)
    quality = [Chunk.of(Ancillary.QUALITY, packed) for chunk in tree.chunks if chunk.role is Ancillary.QUALITY]
    return tree.pack(quality, spacing=None, unit="", origin=None, affine=None)


def _range_of(source: VolumeSource, fill: tuple[float, ...] = ()) -> tuple[float, float]:
    """Return the smallest and the largest measurement of a volume."""
    lows, highs = [], []
    for volume in range(source.n_volumes):
        for slab in slabs(source.shape):
            values = source.read(volume, slab, finite=False)
            known = values[~is_no_measurement(values, fill)]
            if known.size:
                lows.append(known.min())
                highs.append(known.max())
    return (min(lows).item(), max(highs).item()) if lows else (0.0, 0.0)


class Tally:
    """Errors of all voxels, and of those inside and outside a region, box after box."""

    def __init__(self, span: float) -> None:
        self._span = span
        self._squares, self._count = np.zeros(2), np.zeros(2)  # outside and inside, in units of the span
        self._largest, self._similarity, self._voxels = 0.0, 0.0, 0

    def add(self, original: NDArray[Any], values: NDArray[Any], inside: NDArray[np.bool_]) -> None:
        """Add the errors and the similarity of a box."""
        self.add_errors(original, values, inside)
        same = not self._span or np.array_equal(original, values, equal_nan=original.dtype.kind == "f")
        known = int(np.isfinite(original).sum())
        self._similarity += known * (1.0 if same or not known else metrics.ssim(original, values, self._span))
        self._voxels += known

    def add_errors(self, original: NDArray[Any], values: NDArray[Any], inside: NDArray[np.bool_]) -> None:
        """Add the errors of a box."""
        for which, chosen in enumerate((~inside, inside)):
            rmse, largest = metrics.rmse_and_largest(original[chosen][None], values[chosen][None])
            n = int(np.isfinite(original[chosen]).sum())
            self._squares[which] += n * (rmse / (self._span or 1.0)) ** 2
            self._count[which] += n
            self._largest = max(self._largest, largest)

    def _rmse(self, squares: float, count: float) -> float:
        return (self._span or 1.0) * math.sqrt(squares / max(count, 1))

    def quality(self) -> Quality:
        """Return the quality of all voxels, without the ratio."""
        rmse = self._rmse(self._squares.sum(), self._count.sum())
        similarity = self._similarity / max(self._voxels, 1)
        return Quality(psnr(rmse, self._span), similarity, rmse, self._largest, math.nan, math.nan)

    def psnr_of_regions(self) -> dict[str, float]:
        """Return the PSNR inside and outside, in dB."""
        outside, inside = (psnr(self._rmse(*pair), self._span) for pair in zip(self._squares, self._count, strict=True))
        return {"psnr_inside": inside, "psnr_outside": outside}

    def fields(self) -> dict[str, str]:
        """Return the PSNR inside and outside as PROVENANCE has them, in texts of constant length."""
        return {name: f"{min(decibels, 9999):08.3f}" for name, decibels in self.psnr_of_regions().items()}
