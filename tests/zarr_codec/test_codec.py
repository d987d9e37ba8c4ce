"""The Zarr v3 codec: values within the promise, chunks of any shape, and its configuration."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc

zarr = pytest.importorskip("zarr")

from napari_tinc.decoding.volume import TincVolume  # noqa: E402
from napari_tinc.errors import TincError  # noqa: E402
from napari_tinc.zarr_codec import TincCodec  # noqa: E402
from napari_tinc.zarr_codec.chunks import decode_chunk  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
SHAPE = (10, 9, 11)
CHUNKS = (8, 8, 8)  # the others are filled up by Zarr


def smooth_volume(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    z, y, x = np.meshgrid(*(np.linspace(0, 4, n) for n in shape), indexing="ij")
    noise = np.random.default_rng(0).normal(scale=5, size=shape)
    return (1000 + 900 * np.sin(z + y) * np.cos(x) + noise).astype(dtype)


def stored(array: np.ndarray[Any, Any], chunks: Any = CHUNKS, fill_value: Any = 0, **target: Any) -> Any:
    return zarr.create_array(
        {}, data=array, chunks=chunks, fill_value=fill_value, serializer=TincCodec(**target), compressors=None
    )


def psnr_of(array: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> float:
    error = np.sqrt(((array.astype(float) - values.astype(float)) ** 2).mean())
    return float(20 * np.log10(np.ptp(array.astype(float)) / error)) if error else np.inf


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f2", "f4", "f8", ">u2", "?"])
def test_every_dtype_is_kept_bit_for_bit_without_a_target(dtype: str) -> None:
    array = (smooth_volume(SHAPE, "float32") % 100).astype(dtype)
    values = stored(array, (8, 9, 11))[:]
    assert values.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(values, array)


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_integers_beyond_32_bits_are_kept(dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2**63, (3, 4, 5)).astype(dtype)
    array[0] = np.iinfo(dtype).min
    array[1] = np.iinfo(dtype).max
    for target in ({}, {"max_error": 5}):
        np.testing.assert_array_equal(stored(array, (2, 4, 5), **target)[:], array)


@pytest.mark.parametrize("dtype", ["u2", "i8", "f4"])
def test_a_bound_holds(dtype: str) -> None:
    array = smooth_volume(SHAPE, "float32").astype(dtype)
    zarray = stored(array, max_error=3)
    assert np.abs(zarray[:].astype(float) - array.astype(float)).max() <= 3
    assert zarray.nbytes_stored() < stored(array).nbytes_stored()


def test_psnr_and_ratio_are_of_the_voxels_and_not_of_the_filling() -> None:
    """Zarr fills up the last chunks with a value far away, which would make the range a hundred times as large."""
    array = (smooth_volume(SHAPE, "float32") / 40 + 50_000).astype("u2")
    assert psnr_of(array, stored(array, psnr=45)[:]) >= 45
    zarray = stored(array, ratio=4)
    sizes = [len(data.to_bytes()) for key, data in zarray.store._store_dict.items() if "/c/" in f"/{key}"]
    assert len(sizes) == 8 and max(sizes) <= 1024
    assert psnr_of(array, zarray[:]) > 40


@pytest.mark.parametrize("target", [{}, {"max_error": 0.1}, {"psnr": 50}])
def test_special_values_are_kept(target: dict[str, float]) -> None:
    array = np.random.default_rng(0).normal(size=SHAPE).astype("f4")
    array[3:5, 2], array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf, -0.0
    values = stored(array, (8, 9, 11), fill_value=np.nan, **target)[:]
    np.testing.assert_array_equal(np.isnan(values), np.isnan(array))
    assert values[0, 0, 0] == np.inf
    finite = np.isfinite(array)
    assert np.abs(values[finite] - array[finite]).max() <= target.get("max_error", 0.1 if target else 0)


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((), ()),
        ((7,), (3,)),
        ((9, 11), (4, 5)),
        ((3, 2, 2), (1, 1, 1)),
        ((6, 6, 6), (10, 10, 10)),
        ((2, 2, 5, 4, 4), (1, 1, 4, 4, 4)),
        ((2, 3, 5, 2, 4), (2, 2, 5, 1, 4)),
        ((1, 2, 1, 2, 2, 3, 3, 3), (1, 2, 1, 2, 2, 2, 3, 3)),
    ],
)
def test_chunks_of_any_shape(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 99, shape).astype("u2")
    zarray = zarr.create_array(
        {}, shape=shape, chunks=chunks or "auto", dtype="u2", fill_value=5, serializer=TincCodec(), compressors=None
    )
    zarray[...] = array
    np.testing.assert_array_equal(zarray[...], array)


def test_with_shards_and_filters() -> None:
    array = smooth_volume(SHAPE, "uint16")
    codec = TincCodec(max_error=2)
    sharded = zarr.create_array({}, data=array, chunks=(6, 6, 6), shards=(12, 12, 12), serializer=codec)
    turned = zarr.create_array(
        {}, data=array, chunks=CHUNKS, serializer=codec, filters=[zarr.codecs.TransposeCodec(order=(2, 0, 1))]
    )
    for zarray in (sharded, turned):
        assert np.abs(zarray[:].astype(int) - array).max() <= 2
        np.testing.assert_array_equal(zarray[3:9, ::5, 10], zarray[:][3:9, ::5, 10])


def test_a_chunk_is_a_tinc_file() -> None:
    array = smooth_volume((8, 9, 10), "uint16")
    zarray = stored(array, (1, 16, 16, 16)[1:])
    (data,) = (data.to_bytes() for key, data in zarray.store._store_dict.items() if key.startswith("c/"))
    assert data[:4] == b"\x89TNC"
    np.testing.assert_array_equal(TincVolume(data), array)


def test_many_threads_read_and_write() -> None:
    array = smooth_volume((16, 16, 64), "uint16")
    zarray = zarr.create_array({}, shape=array.shape, dtype="u2", chunks=(16, 16, 8), serializer=TincCodec())
    ready = threading.Barrier(4)

    def work(number: int) -> bool:
        ready.wait()
        for part in (slice(8 * number, 8 * number + 8), slice(8 * number + 32, 8 * number + 40)):
            zarray[..., part] = array[..., part]
        return all(np.array_equal(zarray[..., part], array[..., part]) for _ in range(3))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    np.testing.assert_array_equal(zarray[:], array)


@pytest.mark.parametrize(
    ("arguments", "configuration"),
    [
        ({}, {"max_error": 0.0}),
        ({"max_error": np.int64(2)}, {"max_error": 2.0}),
        ({"psnr": 45}, {"psnr": 45.0}),
        ({"ratio": 20.5, "method": "networks", "preset": "fast", "seed": 3},
         {"ratio": 20.5, "method": "networks", "preset": "fast", "seed": 3}),
    ],
)  # fmt: skip
def test_the_configuration_is_stable(arguments: dict[str, Any], configuration: dict[str, Any]) -> None:
    """Arrays that exist have it: it is never changed, only added to."""
    codec = TincCodec(**arguments)
    assert codec.to_dict() == {"name": "tinc", "configuration": configuration}
    assert TincCodec.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"max_error": -1}, "max_error is -1.0, expected a finite number, 0 or more"),
        ({"max_error": 1, "psnr": 40}, "2 targets given"),
        ({"psnr": "good"}, "psnr is 'good', expected a number"),
        ({"ratio": True}, "ratio is True, expected a number"),
        ({"method": "magic"}, "method is 'magic', expected one of"),
        ({"max_error": 1, "method": "networks"}, "networks keep no bound"),
    ],
)
def test_wrong_parameters(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        TincCodec(**arguments)


@pytest.mark.parametrize(
    ("dtype", "chunks", "target", "problem"),
    [
        ("c8", (3, 3, 3), {}, "the codec tinc was given complex64, expected bool, "),
        ("M8[s]", (3, 3, 3), {}, "given datetime64"),
        ("i8", (3, 3, 3), {"ratio": 9}, "given ratio=9.0 for int64, expected max_error"),
        ("?", (3, 3, 3), {"psnr": 40}, "given psnr=40.0 for bool, expected max_error"),
        ("u1", (2,) * 7, {}, "expected at most 3 axes longer than 1 before the last three"),
    ],
)
def test_arrays_that_cannot_have_it_are_refused_when_they_are_made(
    dtype: str, chunks: tuple[int, ...], target: dict[str, Any], problem: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        zarr.create_array({}, shape=chunks, chunks=chunks, dtype=dtype, serializer=TincCodec(**target))


def test_damage_and_another_chunk_are_errors() -> None:
    zarray = stored(smooth_volume((16, 16, 16), "uint16"), (16, 16, 16))
    (key,) = (key for key in zarray.store._store_dict if key.startswith("c/"))
    data = zarray.store._store_dict[key].to_bytes()
    for wrong in (data[:-9], bytes([*data[:-50], data[-50] ^ 1, *data[-49:]])):
        with pytest.raises(TincError):
            decode_chunk(wrong, (16, 16, 16), np.dtype("u2"), 0)
    with pytest.raises(TincError, match=r"chunk holds voxels of shape \(16, 16, 16\), expected at most \(16, 16, 8\)"):
        decode_chunk(data, (16, 16, 8), np.dtype("u2"), 0)
    with pytest.raises(TincError, match="chunk holds values of uint16, expected float32"):
        decode_chunk(data, (16, 16, 16), np.dtype("f4"), 0)
    with pytest.raises(ValueError, match=r"has better, expected tinc with some of max_error, method"):
        TincCodec.from_dict({"name": "tinc", "configuration": {"better": 1}})


def test_arrays_that_exist_stay_readable(tmp_path: Path) -> None:
    """Written by hand: the metadata as they are documented, and a file of an earlier version as the only chunk."""
    volume = tinc.open(GOLDEN / "bounded-u2.tinc")
    z, y, x = volume.shape
    facts = {
        "zarr_format": 3, "node_type": "array", "shape": [1, z, y, x + 2], "data_type": "uint16", "fill_value": 9,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, z, y, x + 3]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "tinc", "configuration": {"max_error": 5.0}}], "attributes": {},
    }  # fmt: skip
    (tmp_path / "zarr.json").write_text(json.dumps(facts))
    (tmp_path / "c/0/0/0").mkdir(parents=True)
    shutil.copy(GOLDEN / "bounded-u2.tinc", tmp_path / "c/0/0/0/0")
    values = zarr.open(tmp_path, mode="r")[:]
    np.testing.assert_array_equal(values[0, ..., :x], volume)
    assert (values[..., x:] == 9).all()
