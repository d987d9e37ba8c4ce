"""A chunk of a Zarr array as the bytes of a `.tinc` file, and back. Nothing here imports Zarr.

The last three axes of a chunk are z, y, x. Missing ones have length 1; axes of length 1 before them are left out;
others are the leading axes of the file. Voxels at the far ends that all have the array's fill value are not stored:
with them Zarr fills up the chunks at the edges of an array, and no target should count them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..decoding.volume import TincVolume
from ..encoding.compress import compress
from ..encoding.options import Options
from ..errors import TincError
from ..format.chunks import Ancillary
from ..format.limits import DTYPES, MAX_LEADING

SMALLEST = 1024  # A chunk need not become smaller than so many bytes for a ratio: a file has a head.
SMALLEST_VOLUME = 128  # For each point of the leading axes, this many more.


def encode_chunk(chunk: NDArray[Any], fill_value: Any, options: Options) -> bytes:
    """Compress a chunk.

    Parameters
    ----------
    chunk : of any number of axes.
    fill_value : the one of the array.
    options : the target holds for the voxels that are stored, those of 64-bit integers within a bound only.

    Raises
    ------
    ValueError, TypeError
        If a `.tinc` file cannot hold the chunk, or not with this target.
    """
    if not chunk.size:
        raise ValueError(f"chunk has shape {chunk.shape}, expected voxels")
    dtype = chunk.dtype.newbyteorder("=")
    chunk = np.ascontiguousarray(chunk, dtype)
    stored = chunk[tuple(map(slice, _used_shape(chunk, fill_value)))]
    values = np.ascontiguousarray(stored).reshape(_file_shape(chunk.shape, stored.shape))
    if dtype.kind in "iu" and dtype.itemsize == 8:
        values, options = _in_32_bits(values, options)
    volume = _compressed(values, options)
    return volume.parts.rewritten([chunk for chunk in volume.parts.ancillary() if chunk.role is Ancillary.META])


def decode_chunk(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], fill_value: Any) -> NDArray[Any]:
    """Decode a chunk of an array whose chunks have this shape.

    Raises
    ------
    TincError
        If the bytes are damaged, or are those of another chunk.
    """
    volume = TincVolume(data)
    whole, found = _file_shape(shape, shape), volume.shape
    dtype = dtype.newbyteorder("=")
    in_words = len(found) == len(whole) + 1 and found[0] == 2 and dtype.kind in "iu" and dtype.itemsize == 8
    used = found[1:] if in_words else found
    if len(used) != len(whole) or any(n > most for n, most in zip(used, whole, strict=True)):
        raise TincError(f"chunk holds voxels of shape {found}, expected at most {whole}")
    if volume.dtype != dtype and not (dtype.kind in "iu" and dtype.itemsize == 8 and volume.dtype.kind in "iu"):
        raise TincError(f"chunk holds values of {volume.dtype}, expected {dtype}")
    values = np.asarray(volume)
    if in_words:
        words = values.astype(np.uint64)
        values = (words[0] | words[1] << np.uint64(32)).view(dtype)
    if used == whole:
        return values.astype(dtype, copy=False).reshape(shape)
    chunk = np.full(whole, fill_value, dtype)
    chunk[tuple(map(slice, used))] = values
    return chunk.reshape(shape)


def check_chunks(shape: tuple[int, ...], dtype: np.dtype[Any], options: Options) -> None:
    """Raise ValueError or TypeError if chunks of this shape and dtype cannot be compressed with these options."""
    code = dtype.newbyteorder("<").str[1:]
    if code not in (*DTYPES, "b1", "i8", "u8"):
        known = ", ".join(str(np.dtype(known)) for known in DTYPES)
        raise TypeError(f"the codec tinc was given {dtype}, expected bool, int64, uint64, {known}")
    if options.max_error is None and code in ("b1", "i8", "u8"):
        ((name, value),) = options.target.items()
        raise ValueError(f"the codec tinc was given {name}={value} for {dtype}, expected max_error: these are labels")
    leading = len(_file_shape(shape, shape)) - 3
    if leading > MAX_LEADING:
        raise ValueError(
            f"the codec tinc was given chunks of shape {shape}, expected at most {MAX_LEADING} axes longer than 1 "
            "before the last three"
        )


def _file_shape(chunk_shape: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in a file of a part of a chunk, which begins at the corner of the chunk."""
    padded, part = (1,) * (3 - len(shape)) + chunk_shape, (1,) * (3 - len(shape)) + shape
    return (*(n for n, most in zip(part[:-3], padded[:-3], strict=True) if most > 1), *part[-3:])


def _used_shape(chunk: NDArray[Any], fill_value: Any) -> tuple[int, ...]:
    """Return the shape of the part of a chunk that lies before the fill values at the far ends; at least 1 an axis."""
    bits = chunk.view(f"u{chunk.dtype.itemsize}")
    fill = np.array(fill_value, chunk.dtype).view(bits.dtype)
    for axis in range(chunk.ndim):
        planes = np.moveaxis(bits, axis, 0)
        size = len(planes)
        while size > 1 and (planes[size - 1] == fill).all():
            size -= 1
        bits = np.moveaxis(planes[:size], 0, axis)
    return bits.shape


def _in_32_bits(values: NDArray[Any], options: Options) -> tuple[NDArray[Any], Options]:
    """Return 64-bit integers in 32 bits where they fit; else their low and their high words, which are kept exactly."""
    low, high = int(values.min()), int(values.max())
    for narrow in ("u4", "i4"):
        if np.iinfo(narrow).min <= low and high <= np.iinfo(narrow).max:
            return values.astype(narrow), options
    words = np.stack([values.astype(np.uint64) & np.uint64(2**32 - 1), values.view(np.uint64) >> np.uint64(32)])
    return words.astype(np.uint32), replace(options, max_error=0)


def _compressed(values: NDArray[Any], options: Options) -> TincVolume:
    """Compress the voxels of one chunk so that what was asked for holds for the array."""
    if options.ratio is not None:
        budget = max(int(values.nbytes / options.ratio), SMALLEST + SMALLEST_VOLUME * math.prod(values.shape[:-3]))
        if values.nbytes <= 4 * budget:
            exact = compress(values, max_error=0)
            if exact.nbytes_compressed <= budget:
                return exact
        return compress(values, options=replace(options, ratio=None, nbytes=budget))
    if options.psnr is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
        # Only a bound keeps NaN and infinities. With no error above the RMSE that the PSNR allows, it is reached.
        finite = values[np.isfinite(values)].astype(np.float64)
        span = float(finite.max() - finite.min()) if finite.size else 0.0
        return compress(values, max_error=span * 10 ** (-options.psnr / 20) if math.isfinite(span) else 0.0)
    return compress(values, options=options)
