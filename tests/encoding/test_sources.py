"""Arrays that hide something behind their numbers: masks, 64-bit integers, values that are scaled as they are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from block_volumes import smooth

import napari_tinc as tinc
from napari_tinc.encoding.sources import VolumeSource
from napari_tinc.encoding.verify import Proof, verify_against


def masked(dtype: str) -> np.ma.MaskedArray[Any, Any]:
    volume = smooth((8, 9, 10)).astype(dtype)
    return np.ma.masked_array(volume, mask=volume > np.median(volume))


class Reader:
    """An array of another library that hands out what it likes."""

    def __init__(self, values: Any, dtype: str) -> None:
        self.values, self.dtype, self.shape = values, np.dtype(dtype), values.shape

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]


@pytest.mark.parametrize("lazy", [False, True])
def test_masked_floats_become_nan(lazy: bool) -> None:
    array = masked("float32")
    given = Reader(array, "float32") if lazy else array
    back = np.asarray(tinc.compress(given, max_error=0))
    assert np.isnan(back[array.mask]).all()
    np.testing.assert_array_equal(back[~array.mask], array.data[~array.mask])


@pytest.mark.parametrize(("dtype", "lazy"), [("int16", True), ("int64", True), ("bool", True), ("bool", False)])
def test_masked_numbers_that_cannot_be_marked_are_refused(dtype: str, lazy: bool) -> None:
    array = masked(dtype)
    array[0, 0, 0] = np.ma.masked
    with pytest.raises(ValueError, match=r"masked array of \w+ with \d+ masked voxels.*filled"):
        tinc.compress(Reader(array, dtype) if lazy else array, max_error=0)


def masked_by_dask(array: np.ma.MaskedArray[Any, Any], how: str) -> Any:
    """Make a dask array with the mask of a masked array, of which only the blocks that are read tell."""
    da = pytest.importorskip("dask.array")
    if how == "from_array":
        return da.from_array(array, chunks=5, asarray=False)
    if how == "masked_where":
        return da.ma.masked_where(array.mask, da.from_array(array.data, chunks=5))
    plain = da.from_array(array.data, chunks=20)  # nothing about it says that it is masked
    return plain.map_blocks(lambda block: np.ma.masked_array(block, array.mask), dtype=array.dtype, meta=array.data)


@pytest.mark.parametrize("how", ["from_array", "masked_where", "map_blocks"])
def test_masks_inside_of_dask_arrays_are_not_lost(how: str) -> None:
    array = masked("float32")
    volume = tinc.compress(masked_by_dask(array, how), max_error=0)
    np.testing.assert_array_equal(np.asarray(volume), array.filled(np.nan))
    assert tinc.compare(masked_by_dask(array, how), volume).max_error == 0
    for dtype in ("int16", "int64", "bool"):
        with pytest.raises(ValueError, match=r"masked array of \w+ with \d+ masked voxels.*da\.ma\.filled"):
            tinc.compress(masked_by_dask(masked(dtype) if dtype != "bool" else masked("float32") > 0, how), max_error=0)
    with pytest.raises(ValueError, match="exact is a masked array with"):
        tinc.compress(array.data, ratio=4, exact=masked_by_dask(masked("uint8"), how))


def test_a_mask_that_hides_nothing_is_none() -> None:
    array = np.ma.masked_array(smooth((8, 9, 10)).astype("int16"), mask=False)
    np.testing.assert_array_equal(tinc.compress(array, max_error=0), array.data)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "stored"),
    [
        ("int64", 0, 5005, "int32"),
        ("int64", -3, 2**31 - 1, "int32"),
        ("int64", 0, 2**32 - 1, "uint32"),
        ("uint64", 0, 2**32 - 1, "uint32"),
    ],
)
def test_integers_of_64_bits_that_fit_are_kept(dtype: str, low: int, high: int, stored: str) -> None:
    array = np.full((4, 5, 6), low, dtype)
    array[1, 2, 3] = high
    volume = tinc.compress(array, max_error=0)
    assert volume.dtype == stored
    np.testing.assert_array_equal(np.asarray(volume).astype(dtype), array)


def test_integers_that_do_not_fit_are_refused_with_the_value() -> None:
    for value in (2**32, -(2**31) - 1):
        array = np.zeros((4, 5, 6), "int64")
        array[1, 2, 3] = value
        with pytest.raises(ValueError, match=f"int64 and values .*{value}.*do not fit into 32 bits"):
            tinc.compress(array, max_error=0)
        with pytest.raises(ValueError, match=f"dtype int32, but a value of {value}, which does not fit"):
            VolumeSource.of(array).read(0, (slice(None),) * 3)


def test_an_array_that_scales_what_it_reads_is_not_rounded() -> None:
    """As netCDF4's variables do, whose dtype is the stored one."""
    with pytest.raises(ValueError, match=r"dtype int16, but a value of 0\.5, which does not fit into it"):
        tinc.compress(Reader(np.full((4, 5, 6), 0.5), "int16"), max_error=0)


def test_arrays_of_pytorch_are_taken() -> None:
    torch = pytest.importorskip("torch")
    array = smooth((8, 9, 10)).astype("float32")
    np.testing.assert_array_equal(tinc.compress(torch.tensor(array), max_error=0), array)


def test_a_proof_is_about_the_values_in_full_precision() -> None:
    """An original that was rounded to float32 before anybody looked was "proved bit for bit" once."""
    true = smooth((8, 9, 10)).astype("float64") + 2.0**27 + 1
    rounded = tinc.compress(true.astype("float32"), max_error=0)
    proof = verify_against(rounded, true)
    assert proof.violations > 0 and proof.max_error >= 1
    assert verify_against(tinc.compress(true, max_error=0.5), true).violations == 0
    labels = (true - 2.0**27).astype("int64")
    assert verify_against(tinc.compress(labels, max_error=0), labels) == Proof(0, 0.0, labels.size)
    masked_floats = masked("float32")
    assert verify_against(tinc.compress(masked_floats, max_error=0), masked_floats) == Proof(0, 0.0, masked_floats.size)


def test_what_is_in_a_voxel_is_named() -> None:
    for dtype, problem in (
        ([("R", "u1"), ("G", "u1")], "2 fields in each voxel, R, G"),
        ("c8", "np.abs"),
    ):
        with pytest.raises(TypeError, match=problem):
            tinc.compress(np.zeros((4, 5, 6), dtype), max_error=0)
