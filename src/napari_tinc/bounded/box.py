"""Encode and decode a box of voxels, with every voxel within a bound of the original, or bit for bit.

Values become integers (quantization.py). Their differences from a prediction are coded (interpolation.py), or, if they
are labels, their places among the labels around (labels.py). Under a bound, NaN, infinities and floats too large for
the bound are stored as labels (special_values.py). The encoder decodes its own result and stores the voxels that would
be out of bounds, so that the bound holds for any numbers.
"""

from __future__ import annotations

import lzma
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..control import Check, never
from ..format.limits import DTYPES
from . import interpolation, labels
from .background import MAX_VOXELS, PRICE, NoBackground, behind_background, decode_background, encode_background
from .quantization import HEAD, MAX_TAPER, BoxKind, decode_numbers, distinct, encode_numbers
from .special_values import MASK, VOXELS_PER_LABEL, mask_special
from .workers import at_the_same_time

LEAST_EQUAL_SHARE = 0.75  # With a smaller share of equal neighbours an image is not tried as labels.
PLANE_STEP = 4  # Equal neighbours are counted in every fourth plane.
LZMA_MEMORY = 2**23  # A stream that needs more memory to decode is refused; this dictionary takes 5 MiB:
LZMA_DICTIONARY = 2**22  # floats are found again at most this many bytes away.
LZMA_DEPTH = 2  # A search for what repeats looks at so many places; more take longer and find next to nothing.
LZMA_PIECE = 2**18  # Bytes that are compressed between two calls of check.


def encode_box(
    original: NDArray[Any], bound: float, taper: int = 0, dead_zone: float = 0, check: Check = never
) -> bytes:
    """Encode a box so that :func:`decode_box` returns it within ``bound`` of the original, with NaN at the same
    voxels.

    Parameters
    ----------
    original : (z, y, x), u1 to i4 or f2 to f8.
    bound : largest absolute error, in units of the values; 0 is bit for bit.
    taper : 0 to 4. Above 0, coarser levels have smaller steps: a smaller mean squared error for more bytes.
    dead_zone : 0 to 0.5. Above 0, voxels are within two bounds instead (:func:`.shaping.reach`): fewer bytes by more
        than that adds to the mean squared error.

    Raises
    ------
    ValueError
        If the shape, the dtype or the bound is none of these; NoBackground if a box of more than 2^22 voxels has no
        background that leaves fewer.
    """
    return encode_and_decode(original, bound, taper, dead_zone, check)[0]


def encode_and_decode(
    original: NDArray[Any], bound: float, taper: int = 0, dead_zone: float = 0, check: Check = never
) -> tuple[bytes, NDArray[Any]]:
    """Encode a box as :func:`encode_box` does; return the bytes, and what :func:`decode_box` will return."""
    dtype = _check_box(original.shape, original.dtype, MAX_VOXELS)
    if not (0 <= bound < np.inf and 0 <= taper <= MAX_TAPER and 0 <= dead_zone <= 0.5):
        given = f"bound is {bound}, taper {taper}, dead zone {dead_zone}"
        raise ValueError(f"{given}, expected 0 or more, 0 to {MAX_TAPER}, 0 to 0.5")
    original = np.ascontiguousarray(original, dtype)
    bits = original.view(f"u{dtype.itemsize}")
    if (bits == bits[0, 0, 0]).all():
        return bytes([BoxKind.CONSTANT]) + original[:1, :1, :1].tobytes(), original
    check()
    with_background = encode_background(original, bound, taper, dead_zone, check) if bound and dead_zone else None
    if with_background is not None and with_background[2]:
        return with_background[:2]
    if original.size > interpolation.MAX_VOXELS:
        raise NoBackground(f"shape is {original.shape}, expected at most {interpolation.MAX_VOXELS} voxels")
    check()
    numbers, others = at_the_same_time(
        lambda: encode_numbers(original, bound, taper, dead_zone, check),
        lambda: _other_candidates(original, bound, taper, dead_zone, check),
        original.size,
    )
    candidates = [numbers, *others]
    if not (bound and dead_zone):
        return min(candidates, key=lambda one: len(one[0]))
    if with_background is not None:
        candidates.append(with_background[:2])
    return min(candidates, key=lambda one: _cost(one[0], one[1], original, bound))


def _other_candidates(
    original: NDArray[Any], bound: float, taper: int, dead_zone: float, check: Check
) -> list[tuple[bytes, NDArray[Any]]]:
    """Encode a box in all other ways that may take fewer bytes; return these, and what they decode to."""
    candidates = []
    bits = original.view(f"u{original.itemsize}")
    if original.dtype.kind == "f":
        if bound and (masked_box := mask_special(original, bound, taper, dead_zone, check)):
            candidates.append(masked_box)
        if not bound and len(distinct(bits)) <= bits.size / 2:
            # Symmetric maps and resampled volumes repeat floats exactly, but far away, where no prediction looks.
            candidates.append((bytes([BoxKind.REPEATS]) + _compress(original, check), original))
    if _share_of_equal_neighbours(bits) >= LEAST_EQUAL_SHARE:  # under any bound, as the values may be labels
        check()
        label_values, indices = np.unique(bits, return_inverse=True)
        check()
        if len(label_values) <= bits.size / VOXELS_PER_LABEL:
            label_bytes = labels.encode_labels(label_values, indices.reshape(bits.shape), check)
            candidates.append((bytes([BoxKind.LABELS]) + label_bytes, original))
    return candidates


def _cost(data: bytes, decoded: NDArray[Any], original: NDArray[Any], bound: float) -> float:
    """Return the squared error of a box and the price of its bits, in squares of the bound."""
    finite = np.isfinite(original)
    with np.errstate(over="ignore"):
        errors = np.subtract(decoded[finite], original[finite], dtype=np.float64) / bound
        squares = float(errors @ errors)
    return squares + 8 * PRICE * len(data)


def _share_of_equal_neighbours(bits: NDArray[Any]) -> float:
    """Return the share of pairs of neighbours that are equal, 0 to 1, of the voxels of some planes."""
    planes, step = bits[::PLANE_STEP], PLANE_STEP
    pairs = [(bits[1::step], bits[:-1:step]), (planes[:, 1:], planes[:, :-1]), (planes[..., 1:], planes[..., :-1])]
    return sum(int(np.count_nonzero(a == b)) for a, b in pairs) / sum(a.size for a, _ in pairs)


def decode_box(data: bytes, shape: tuple[int, ...], dtype: Any, check: Check = never) -> NDArray[Any]:
    """Decode a box, (z, y, x), of a shape and dtype that the caller knows.

    Raises
    ------
    ValueError
        If the data are damaged or not those of such a box.
    """
    dtype = _check_box(shape, dtype, _most_voxels(data))
    if not data or (data[0] == BoxKind.CONSTANT and len(data) != 1 + dtype.itemsize):
        raise ValueError(f"residual is {len(data)} bytes, expected {1 + dtype.itemsize} for a constant box")
    if data[0] == BoxKind.CONSTANT:
        return np.full(shape, np.frombuffer(data[1:], dtype)[0], dtype)
    size = shape[0] * shape[1] * shape[2]
    if data[0] == BoxKind.REPEATS and dtype.kind == "f":
        return np.frombuffer(_decompress(data[1:], size * dtype.itemsize), dtype).reshape(shape).copy()
    if data[0] == BoxKind.LABELS:
        return labels.decode_labels(data[1:], shape, f"<u{dtype.itemsize}", check).view(dtype)
    if data[0] == BoxKind.MASKED and dtype.kind == "f":
        return _decode_masked(data, shape, dtype, check)
    if data[0] == BoxKind.BACKGROUND:
        return decode_background(data, shape, dtype, check)
    return decode_numbers(data, shape, dtype, check)


def is_rounded(data: bytes) -> bool:
    """Return whether an encoded box has integers that were rounded, within a bound above 0; only these are filtered."""
    if data[:1] == bytes([BoxKind.BACKGROUND]):
        data = behind_background(data)
    return len(data) >= HEAD.size and data[0] in (BoxKind.ORDERED, BoxKind.GRID) and HEAD.unpack_from(data)[6] > 0


def sketch(data: bytes, shape: tuple[int, ...], dtype: Any, level: int, check: Check = never) -> NDArray[Any] | None:
    """Decode every 2^level-th voxel along each axis, approximately. None for kinds of boxes without coarse levels.

    Corrections are left out, and what is damaged is not noticed.

    Raises
    ------
    ValueError
        If the data cannot be those of such a box.
    """
    dtype = _check_box(shape, dtype, _most_voxels(data))
    step = 2**level
    if data[:1] == bytes([BoxKind.CONSTANT]):
        return decode_box(data, shape, dtype)[::step, ::step, ::step]
    if data[:1] == bytes([BoxKind.BACKGROUND]):
        return decode_background(data, shape, dtype, check, level)
    if not data or data[0] not in (BoxKind.ORDERED, BoxKind.GRID):
        return None
    return decode_numbers(data, shape, dtype, check, None, level)


def _decode_masked(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], check: Check) -> NDArray[Any]:
    """Decode a box of which a mask of labels has the special values."""
    end = MASK.size + (MASK.unpack_from(data)[1] if len(data) >= MASK.size else 0)
    if len(data) <= end or data[end] > BoxKind.GRID:
        raise ValueError(f"masked residual is {len(data)} bytes, expected {end} and a residual of kind 0 to 2")
    mask = labels.decode_labels(data[MASK.size : end], shape, f"<u{dtype.itemsize}", check)
    return np.where(mask == 0, decode_box(data[end:], shape, dtype, check), mask.view(dtype))


def _compress(values: NDArray[Any], check: Check) -> bytes:
    """Compress the bytes of values as an .xz stream that tells the bytes of a value apart."""
    data, position = values.tobytes(), values.itemsize.bit_length() - 1
    chain: dict[str, Any] = {
        "id": lzma.FILTER_LZMA2, "dict_size": LZMA_DICTIONARY, "lc": 0, "lp": position, "pb": position,
        "mode": lzma.MODE_FAST, "mf": lzma.MF_HC4, "depth": LZMA_DEPTH, "nice_len": 128,
    }  # fmt: skip
    compressor = lzma.LZMACompressor(filters=[chain])
    parts = []
    for first in range(0, len(data), LZMA_PIECE):
        check()
        parts.append(compressor.compress(data[first : first + LZMA_PIECE]))
    return b"".join([*parts, compressor.flush()])


def _decompress(data: bytes, size: int) -> bytes:
    """Decompress an .xz stream that must hold exactly ``size`` bytes."""
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LZMA_MEMORY)
    try:
        out = decompressor.decompress(data, size + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(f"residual is no .xz stream: {error}") from error
    if len(out) != size or not decompressor.eof or decompressor.unused_data:
        raise ValueError(f".xz stream of the residual holds {len(out)} bytes, expected exactly {size}")
    return out


def _most_voxels(data: bytes) -> int:
    """Return how many voxels an encoded box may have."""
    return MAX_VOXELS if data[:1] == bytes([BoxKind.BACKGROUND]) else interpolation.MAX_VOXELS


def _check_box(shape: tuple[int, ...], dtype: Any, most: int) -> np.dtype[Any]:
    """Return the dtype in little-endian order. ValueError if dtype or shape cannot be encoded."""
    dtype = np.dtype(dtype).newbyteorder("<")
    if f"{dtype.kind}{dtype.itemsize}" not in DTYPES:
        raise ValueError(f"dtype is {dtype}, expected one of {', '.join(DTYPES)}")
    interpolation.check_shape(shape, most)
    return dtype
