"""The codec as zarr-python calls it: its configuration, and its work in threads."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec

from ..encoding.options import TARGETS, Options
from .chunks import check_chunks, decode_chunk, encode_chunk

if TYPE_CHECKING:
    from typing import Self

    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME = "tinc"
DEFAULTS = {"method": "predictive", "preset": "balanced", "seed": 0}  # Left out of the array's metadata.

_one_fit = threading.Lock()  # Networks use all cores for one chunk.


@dataclass(frozen=True)
class TincCodec(ArrayBytesCodec):
    """Store each chunk of a Zarr v3 array as a `.tinc` file. Give it to ``zarr.create_array`` as ``serializer``.

    Reading needs none of the parameters. At most one target is given; without any, every chunk is kept bit for bit.

    Parameters
    ----------
    max_error : largest difference of any voxel from the original, in units of the data; 0 for bit for bit.
    psnr : lowest PSNR in dB, 1 to 120, of every chunk by its own range; that of the array is then no lower.
    ratio : bytes of the voxels / bytes of each chunk's file, which may take 1 kB in any case.
    method : "predictive" (no networks), "networks", or "auto" for the better of the two. Networks train for minutes.
    preset : "fast", "balanced" or "best": how long networks train.
    seed : the same seed gives the same bytes.

    Raises
    ------
    ValueError, TypeError
        If a value cannot be used, or two contradict each other.

    Examples
    --------
    >>> import numpy as np, zarr
    >>> from napari_tinc.zarr_codec import TincCodec
    >>> volume = np.arange(30**3, dtype=np.uint16).reshape(30, 30, 30)
    >>> codec = TincCodec(max_error=2)
    >>> array = zarr.create_array({}, data=volume, chunks=(16, 16, 16), serializer=codec, compressors=None)
    >>> int(abs(array[:].astype(int) - volume).max())
    2
    """

    is_fixed_size = False

    max_error: float | None = None
    psnr: float | None = None
    ratio: float | None = None
    method: str = DEFAULTS["method"]  # type: ignore[assignment]
    preset: str = DEFAULTS["preset"]  # type: ignore[assignment]
    seed: int = DEFAULTS["seed"]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Check the parameters; without a target, ask for all bits."""
        if all(getattr(self, name, None) is None for name in TARGETS):
            object.__setattr__(self, "max_error", 0.0)
        for name in TARGETS:
            value = getattr(self, name, None)
            if isinstance(value, int | np.number) and not isinstance(value, bool):
                object.__setattr__(self, name, float(value))
        _ = self.options

    @property
    def options(self) -> Options:
        """The options that chunks are compressed with."""
        method = "auto" if self.max_error is not None and self.method == "predictive" else self.method
        return Options(
            max_error=self.max_error, psnr=self.psnr, ratio=self.ratio, method=method, preset=self.preset,
            seed=self.seed, fill=None,  # One chunk tells too little of an array; the array names its fill value.
        )  # fmt: skip

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the codec that an array's metadata describe. ValueError or TypeError if they are not usable."""
        configuration = data.get("configuration") or {}
        known = {"max_error", "psnr", "ratio", *DEFAULTS}
        unknown = sorted(set(configuration) - known)
        if data.get("name") != NAME or unknown:
            raise ValueError(
                f"codec {data.get('name')!r} has {', '.join(unknown) or 'another name'}, expected tinc with some of "
                f"{', '.join(sorted(known))}"
            )
        return cls(**configuration)

    def to_dict(self) -> dict[str, Any]:
        """Return what the array's metadata state: the target, and what differs from :data:`DEFAULTS`."""
        values = {name: getattr(self, name) for name in ("max_error", "psnr", "ratio", *DEFAULTS)}
        stated = {name: value for name, value in values.items() if value is not None and value != DEFAULTS.get(name)}
        return {"name": NAME, "configuration": stated}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise ValueError or TypeError if an array cannot have this codec."""
        chunks = getattr(chunk_grid, "chunk_shape", None) or shape
        check_chunks(tuple(map(int, chunks)), dtype.to_native_dtype(), self.options)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise NotImplementedError: the size is not known before the chunk is encoded."""
        raise NotImplementedError

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        """Decode a chunk in a thread."""
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        """Encode a chunk in a thread."""
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        values: Any = decode_chunk(chunk_data.to_bytes(), chunk_spec.shape, dtype, chunk_spec.fill_value)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(values)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        values, options = chunk_data.as_numpy_array(), self.options
        if options.max_error is None and options.method != "predictive":
            with _one_fit:
                data = encode_chunk(values, chunk_spec.fill_value, options)
        else:
            data = encode_chunk(values, chunk_spec.fill_value, options)
        return chunk_spec.prototype.buffer.from_bytes(data)
