"""The command ``napari-tinc decompress``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import napari_tinc as tinc

from .output import print_result
from .paths import check_output, is_same_file

if TYPE_CHECKING:
    from ..io.ome_zarr import ChunkCoding


def run_decompress(args: argparse.Namespace) -> None:
    """Decode a file, or a part of it, and write it as an image."""
    from ..io.write import OUTPUT_SUFFIXES, size_on_disk, write_image

    check_output(args.image, OUTPUT_SUFFIXES)
    if args.codec and not args.image.lower().endswith(".zarr"):
        raise ValueError(f"--codec {args.codec} given for {args.image}, expected a name that ends with .zarr")
    if is_same_file(args.image, args.file):
        raise ValueError(f"cannot write {args.image}: it is {args.file} itself")
    began = time.perf_counter()
    volume = tinc.open(args.file, partial=args.partial)
    if not 0 <= args.level < len(volume.levels):
        raise ValueError(_no_such_level(args.level, volume))
    part, *coarser = volume.levels[args.level :]
    shape = part.shape
    part = part[(..., *_slices_of_region(args.region, shape[-3:]))]
    z, y, x = (size * 2**args.level for size in volume.spacing)
    spacing = (z, y, x) if volume.header.spacing else None
    start = [low or 0 for low, _ in args.region]
    placement = volume.placement and volume.placement.moved(start, 2**args.level)
    lost = write_image(
        args.image, part, spacing, volume.units, axes=volume.axis_labels, channels=volume.channels,
        value_range=volume.value_range, coarser=coarser if part.shape == shape else (), placement=placement,
        details=volume.details, labels=volume.labels,
        coding=_coding(volume, not args.level and part.shape == shape) if args.codec else None,
    )  # fmt: skip
    result = {
        "file": args.image, "shape": part.shape, "axes": volume.axis_labels, "dtype": str(part.dtype),
        "spacing": spacing, "units": volume.units, "bytes": size_on_disk(args.image),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    for text in lost:
        print(f"napari-tinc: {text}", file=sys.stderr)
    if volume.n_missing:
        print(f"napari-tinc: {args.file} was cut off; where that matters {args.image} is coarser", file=sys.stderr)
    print_result(args, result, result)


def _no_such_level(level: int, volume: tinc.TincVolume) -> str:
    """Return the message for a level that a volume has not."""
    shape, coarsest = ("x".join(map(str, part.shape[-3:])) for part in (volume.levels[0], volume.levels[-1]))
    if len(volume.levels) == 1:
        return (
            f"--level is {level}, expected 0: a volume of {shape} voxels is so small that it has no coarser levels. "
            "Leave --level out"
        )
    return f"--level is {level}, expected 0 ({shape} voxels) to {len(volume.levels) - 1} ({coarsest}, the coarsest)"


def _coding(volume: tinc.TincVolume, whole: bool) -> ChunkCoding:
    """Return how an OME-Zarr with the codec is written. ImportError if Zarr is missing."""
    from ..io.image import library

    library("zarr")
    from ..zarr_codec.export import TincChunks

    return TincChunks(volume, whole)


def _slices_of_region(region: Sequence[tuple[int | None, int | None]], shape: Sequence[int]) -> tuple[slice, ...]:
    """Convert a region to slices; ValueError if it is empty or reaches beyond the volume."""
    slices = []
    for axis, (low, high), size in zip("zyx", region, shape, strict=True):
        start, stop = low or 0, size if high is None else high
        if not start < stop <= size:
            raise ValueError(f"region has {axis} {start}:{stop}, expected a part of 0:{size}")
        slices.append(slice(start, stop))
    return tuple(slices)
