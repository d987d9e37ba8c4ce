"""Other codecs to be measured against, and the search for the setting with which each meets a number of bytes.

A codec's bytes are its whole stream. Shape, dtype and range (for ZFP the mean as well) are given to the decoder for
nothing, about 30 bytes in favour of the peers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality import video
from napari_tinc import metrics

Stream = list[bytes]  # slices, packets, or one for the whole
JPEGXL_EFFORT = 9
OPENJPEG_COMMENT = re.compile(rb"\xff\x64\x00\x25\x00\x01Created by OpenJPEG[ -~]{14}")  # 39 bytes a slice say nothing
ENOUGH, NEAR = 0.995, 0.95  # of the target: the search ends there; below, it looks around


class Side(NamedTuple):
    """What the decoder is told of a volume."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: float
    high: float
    mean: float
    std: float  # for the search only

    @classmethod
    def of(cls, volume: NDArray[Any]) -> Side:
        low, high = float(volume.min()), float(volume.max())
        mean, std = float(volume.mean(dtype=np.float64)), float(volume.std(dtype=np.float64))
        return cls(volume.shape, volume.dtype, low, high, mean, std)

    def to_levels(self, volume: NDArray[Any], bits: int) -> NDArray[Any]:
        """The range as integers of so many bits; 8-bit data stays as it is at 8 bits."""
        if bits == 8 and self.dtype == np.uint8:
            return volume
        scaled = (volume.astype(np.float64) - self.low) * ((2**bits - 1) / (self.high - self.low))
        return np.rint(scaled).astype(np.uint8 if bits == 8 else np.uint16)

    def from_levels(self, levels: NDArray[Any], bits: int) -> NDArray[Any]:
        if bits == 8 and self.dtype == np.uint8:
            return levels
        return levels * ((self.high - self.low) / (2**bits - 1)) + self.low

    def to_values(self, decoded: NDArray[Any]) -> NDArray[Any]:
        """Clipped to the range of the volume and rounded to its dtype, as our decoder does."""
        values = np.clip(decoded.astype(np.float64), self.low, self.high)
        return (np.rint(values) if self.dtype.kind in "iu" else values).astype(self.dtype)


class Setting(NamedTuple):
    """A way to use a codec, and its parameters from the largest stream to the smallest.

    ``tries``: how many streams near the target are decoded for the best one; more than one where neighbouring
    parameters differ a lot.
    """

    name: str
    ladder: Sequence[float]
    encode: Callable[[NDArray[Any], Side, float], Stream]
    decode: Callable[[Stream, Side, float], NDArray[Any]]
    tries: int = 1


def sperr(mode: str, ladder: Sequence[float]) -> Setting:
    def encode(volume: NDArray[Any], side: Side, level: float) -> Stream:
        return [imagecodecs.sperr_encode(volume.astype(np.float32), level, mode=mode)]

    return Setting(mode, ladder, encode, lambda stream, side, level: imagecodecs.sperr_decode(stream[0]))


def sz3_encode(volume: NDArray[Any], side: Side, error: float) -> Stream:
    return [imagecodecs.sz3_encode(volume.astype(np.float32), mode="abs", abs=error * (side.high - side.low))]


def sz3_decode(stream: Stream, side: Side, error: float) -> NDArray[Any]:
    return imagecodecs.sz3_decode(stream[0], side.shape, np.float32)


def zfp_rate_encode(volume: NDArray[Any], side: Side, rate: float) -> Stream:
    return [imagecodecs.zfp_encode((volume - side.mean).astype(np.float32), rate, mode="r")]


def zfp_rate_decode(stream: Stream, side: Side, rate: float) -> NDArray[Any]:
    return imagecodecs.zfp_decode(stream[0]) + side.mean


def zfp_accuracy_encode(volume: NDArray[Any], side: Side, tolerance: float) -> Stream:
    """ZFP rounds a tolerance down to a power of two, so the data is scaled instead."""
    scale = 1 / (tolerance * (side.high - side.low))
    return [imagecodecs.zfp_encode(((volume - side.mean) * scale).astype(np.float32), 1.0, mode="a")]


def zfp_accuracy_decode(stream: Stream, side: Side, tolerance: float) -> NDArray[Any]:
    return imagecodecs.zfp_decode(stream[0]) * (tolerance * (side.high - side.low)) + side.mean


def jpeg2000_encode(volume: NDArray[Any], side: Side, psnr: float) -> Stream:
    encode = partial(imagecodecs.jpeg2k_encode, level=psnr, reversible=False, codecformat="j2k")
    return [OPENJPEG_COMMENT.sub(b"", encode(plane), count=1) for plane in side.to_levels(volume, 16)]


def jpeg2000_decode(stream: Stream, side: Side, psnr: float) -> NDArray[Any]:
    return side.from_levels(np.stack([imagecodecs.jpeg2k_decode(part) for part in stream]), 16)


def jpegxl_encode(volume: NDArray[Any], side: Side, distance: float) -> Stream:
    encode = partial(imagecodecs.jpegxl_encode, distance=distance, effort=JPEGXL_EFFORT)
    return [encode(plane) for plane in side.to_levels(volume, 16)]


def jpegxl_decode(stream: Stream, side: Side, distance: float) -> NDArray[Any]:
    return side.from_levels(np.stack([imagecodecs.jpegxl_decode(part) for part in stream]), 16)


def x265(mode: str, bits: int, ladder: Sequence[float]) -> Setting:
    def encode(volume: NDArray[Any], side: Side, rate: float) -> Stream:
        return video.x265_encode(side.to_levels(volume, bits), bits, **{mode: f"{rate:g}"})

    def decode(stream: Stream, side: Side, rate: float) -> NDArray[Any]:
        return side.from_levels(video.decode("hevc", stream, side.shape, bits), bits)

    return Setting(f"{bits} bit, {mode}", ladder, encode, decode)


def svt_encode(volume: NDArray[Any], side: Side, crf: float) -> Stream:
    return video.svt_encode(side.to_levels(volume, 10), f"{crf:g}")


def svt_decode(stream: Stream, side: Side, crf: float) -> NDArray[Any]:
    return side.from_levels(video.decode("libdav1d", stream, side.shape, 10), 10)


ERRORS = np.geomspace(1e-5, 2, 4096).tolist()  # of the range
TOLERANCES = np.geomspace(1e-5, 512, 4096).tolist()  # of the range; real errors are far smaller
RATES = np.geomspace(16, 0.002, 4096).tolist()  # bits a voxel
CRF, QP = np.linspace(0, 51, 511).round(1).tolist(), list(range(52))
PEERS = {  # the better setting counts
    "SPERR": [sperr("psnr", np.linspace(120, 1, 4096).tolist()), sperr("bpp", RATES)],
    "SZ3": [Setting("abs", ERRORS, sz3_encode, sz3_decode, tries=8)],
    "ZFP": [
        Setting("rate", RATES, zfp_rate_encode, zfp_rate_decode),
        Setting("accuracy", TOLERANCES, zfp_accuracy_encode, zfp_accuracy_decode),
    ],
    "JPEG 2000": [Setting("psnr", np.linspace(100, 1, 2048).tolist(), jpeg2000_encode, jpeg2000_decode)],
    "JPEG XL": [Setting("distance", np.geomspace(0.05, 25, 512).tolist(), jpegxl_encode, jpegxl_decode)],
    "x265": [x265(mode, bits, ladder) for bits in video.GREY for mode, ladder in (("crf", CRF), ("qp", QP))],
    "SVT-AV1": [Setting("crf", np.linspace(1, 70, 277).tolist(), svt_encode, svt_decode)],
}


def nearest(size: Callable[[int], int], n: int, target: int, tries: int = 1) -> list[int]:
    """Up to ``tries`` rungs of a ladder of ``n``, those whose streams come nearest to the target from below.

    Bisection, for sizes that fall but for some noise: several rungs at the small end are tried, the two next larger
    ones, and where that is not near, or one is not enough, more around. ``size`` is asked for a rung again and again.
    """
    tried: dict[int, int] = {}

    def fits(rung: int) -> bool:
        tried[rung] = size(rung)
        return tried[rung] <= target

    def near(part: float) -> bool:
        return any(part * target <= nbytes <= target for nbytes in tried.values())

    low = -1
    high = next((rung for rung in dict.fromkeys(n - 1 - k * n // 64 for k in range(8)) if fits(rung)), None)
    if high is None:
        return []
    while high - low > 1 and not near(ENOUGH):
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    if not near(ENOUGH):
        for rung in range(max(0, high - 3), max(0, high - 1)):
            fits(rung)
    if not near(NEAR) or tries > 1:
        for rung in range(max(0, high - n // 16), min(n, high + n // 16), max(1, n // 128)):
            fits(rung)
    return sorted((rung for rung in tried if tried[rung] <= target), key=lambda rung: -tried[rung])[:tries]


class Sweep:
    """A peer on one volume: any number of targets, no stream made twice while searching."""

    def __init__(self, peer: str, volume: NDArray[Any]) -> None:
        self.settings, self.volume, self.side = PEERS[peer], volume, Side.of(volume)
        self.sizes: dict[tuple[str, int], int] = {}  # by setting and rung

    def row(self, target: int) -> dict[str, Any]:
        """Figures of the best stream within the target; ``reached`` says whether there is any.

        One that is no nearer to the volume than its mean value shows nothing, and does not count.
        """
        rows = []
        for setting in self.settings:
            for rung in nearest(partial(self._size, setting), len(setting.ladder), target, setting.tries):
                rows += self._measure(setting, setting.ladder[rung])
        if not rows:
            return {
                "reached": False,
                "note": f"{min(self.sizes.values())} bytes at least, or no better than the mean value",
            }
        return max(rows, key=lambda row: row["psnr"])

    def _size(self, setting: Setting, rung: int) -> int:
        key = setting.name, rung
        if key not in self.sizes:
            self.sizes[key] = sum(map(len, setting.encode(self.volume, self.side, setting.ladder[rung])))
        return self.sizes[key]

    def _measure(self, setting: Setting, parameter: float) -> list[dict[str, Any]]:
        began = time.perf_counter()
        stream = setting.encode(self.volume, self.side, parameter)
        encoded = time.perf_counter()
        values = self.side.to_values(setting.decode(stream, self.side, parameter))
        decoded = time.perf_counter()
        nbytes = sum(map(len, stream))
        quality = metrics.measure(self.volume, values, nbytes)
        if quality.rmse >= 0.99 * self.side.std:
            return []
        return [{
            "reached": True, "bytes": nbytes, "psnr": quality.psnr, "ssim": quality.ssim,
            "encode_seconds": encoded - began, "decode_seconds": decoded - encoded,
            "setting": f"{setting.name} {parameter:.4g}",
        }]  # fmt: skip
