"""Read files without a header, whose layout the caller says: "300x512x512,uint16,big,offset=1024"."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arrays import sparing
from .image import Content, default_axes
from .read_options import ReadOptions, say

SMOOTH = 0.2  # Neighbours differ by less than this part of their mean in a smooth image.
EXPECTED = "a shape z, y, x and a dtype such as 300x512x512,uint16; then, if need be, big or little, and offset=BYTES"


class Layout(NamedTuple):
    """The shape, dtype and first byte of the voxels in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int


def parse_layout(text: str) -> Layout:
    """Parse a shape, a dtype, maybe a byte order (little if none is given) and an offset. ValueError if it is none."""
    shape, *words = [word.strip() for word in text.split(",")]
    while words and re.fullmatch(r"\d+", words[0], re.ASCII):  # 300,512,512,uint16
        shape = f"{shape}x{words.pop(0)}"
    offset, order = 0, ""
    try:
        if not re.fullmatch(r"\d+([x×]\d+)*", shape, re.ASCII | re.IGNORECASE):
            raise ValueError
        lengths = tuple(map(int, re.split("[x×]", shape.lower())))
        dtype = np.dtype(words.pop(0))
        for word in words:
            if match := re.fullmatch(r"offset=(\d+)", word, re.ASCII):
                offset = int(match[1])
            elif word in ("big", "little"):
                order = word
            else:
                raise ValueError
        if 0 in lengths or dtype.kind not in "iufb":
            raise ValueError
    except (ValueError, TypeError, IndexError):
        raise ValueError(f"--raw is {text!r}, expected {EXPECTED}") from None
    if order or dtype.byteorder == "=":
        dtype = dtype.newbyteorder(">" if order == "big" else "<")
    return Layout(lengths, dtype, offset)


def read_raw(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read a file without a header as a memory map. ValueError if its size is not that of the layout."""
    assert options.raw is not None
    layout = parse_layout(options.raw)
    size = file.stat().st_size
    needed = layout.offset + math.prod(layout.shape) * layout.dtype.itemsize
    if size != needed:
        more = size - needed
        hint = f": if they are a header, say offset={layout.offset + more}" if more > 0 else ""
        raise ValueError(
            f"--raw {options.raw} takes {needed} bytes, but the file has {size}, {abs(more)} "
            f"{'more' if more > 0 else 'fewer'}{hint}"
        )
    array = np.memmap(file, layout.dtype, "r", layout.offset, layout.shape)
    _say_if_swapped(array)
    return Content(sparing(array), default_axes(array.shape))


def _say_if_swapped(array: Any) -> None:
    """Say if the values in the middle were far smoother in the other order of bytes."""
    if array.dtype.itemsize == 1 or array.ndim < 2:
        return
    plane = np.asarray(array[tuple(n // 2 for n in array.shape[:-2])])
    with np.errstate(all="ignore"):
        rough = [
            float(np.abs(np.diff(values.astype(np.float64))).mean() / (np.abs(values.astype(np.float64)).mean() or 1))
            for values in (plane, plane.view(plane.dtype.newbyteorder()))
        ]
    if rough[1] < SMOOTH and not rough[0] <= 4 * rough[1]:
        order = "little" if array.dtype.newbyteorder("=") != array.dtype else "big"
        say(f"--raw: neighbours are far more alike in the other order of bytes; is it {order}?")
