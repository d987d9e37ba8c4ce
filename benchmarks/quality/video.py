"""Volumes as grey video, one frame a slice: x265 and SVT-AV1 through PyAV. Bare packets: no container is counted."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("SVT_LOG", "0")  # read when the encoder first logs: fatal errors only

import av

X265_PRESET = "slow"
SVT_PRESET = 4
GREY = {8: "gray", 10: "gray10le", 12: "gray12le"}
X265 = "log-level=none:info=0:keyint=-1:scenecut=0:frame-threads=1"  # one group of pictures, no text about settings


def x265_encode(levels: NDArray[Any], bits: int, **rate: str) -> list[bytes]:
    """Packets of (z, y, x) grey levels of 8, 10 or 12 bits; ``rate`` is ``crf`` or ``qp``."""
    params = ":".join([X265, *(f"{name}={value}" for name, value in rate.items())])
    options = {"preset": X265_PRESET, "tune": "psnr", "x265-params": params}
    return _encode("libx265", GREY[bits], bits, _padded(levels, 2), options)


def svt_encode(levels: NDArray[Any], crf: str) -> list[bytes]:
    """Packets of (z, y, x) grey levels of 10 bits; tune=1 is PSNR."""
    options = {"preset": str(SVT_PRESET), "svtav1-params": f"tune=1:keyint=-1:crf={crf}"}
    return _encode("libsvtav1", "yuv420p10le", 10, _padded(levels, 8), options)


def decode(codec: str, packets: list[bytes], shape: tuple[int, ...], bits: int) -> NDArray[Any]:
    """The levels of ``shape`` again, by the decoder of that name."""
    context: Any = av.CodecContext.create(codec, "r")
    out = np.empty(shape, np.uint8 if bits == 8 else np.uint16)
    frames = (frame for packet in [*map(av.Packet, packets), None] for frame in context.decode(packet))
    for index, frame in enumerate(frames):
        plane = frame.planes[0]
        out[index] = np.frombuffer(plane, out.dtype).reshape(plane.height, -1)[: shape[1], : shape[2]]
    if index + 1 != shape[0]:
        raise ValueError(f"{codec} gave {index + 1} frames, expected {shape[0]}")
    return out


def _padded(levels: NDArray[Any], multiple: int) -> NDArray[Any]:
    """Slices edge-replicated to such sizes of 64 or more: SVT-AV1 takes no less, x265 writes past its buffers there."""
    sizes = (max(64, -(-n // multiple) * multiple) for n in levels.shape[1:])
    margins = [(0, 0), *((0, size - n) for size, n in zip(sizes, levels.shape[1:], strict=True))]
    return np.pad(levels, margins, mode="edge")


def _encode(codec: str, pixels: str, bits: int, levels: NDArray[Any], options: dict[str, str]) -> list[bytes]:
    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width = levels.shape[1:]
    context.pix_fmt, context.framerate, context.time_base = pixels, Fraction(25), Fraction(1, 25)
    context.options = options
    packets: list[bytes] = []
    for index, plane in enumerate(levels):
        frame = av.VideoFrame(context.width, context.height, pixels)
        for part, into in enumerate(frame.planes):  # chroma, where there is any, says grey
            rows = np.full((into.height, into.line_size // levels.itemsize), 1 << (bits - 1), levels.dtype)
            if part == 0:
                rows[:, : context.width] = plane
            into.update(rows)
        frame.pts = index
        packets += map(bytes, context.encode(frame))
    packets += map(bytes, context.encode(None))
    if context.extradata:  # headers, which are in the packets unless a global header is asked for
        raise ValueError(f"{codec} keeps {len(context.extradata)} bytes of headers outside its packets")
    return packets
