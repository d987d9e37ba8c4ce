"""A TincVolume indexes like the array it stands for, and decodes no more than was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from short_fits import short_fits

import napari_tinc as tinc
from napari_tinc.bounded import box
from napari_tinc.decoding import values
from napari_tinc.decoding.network_box import NetworkBox
from napari_tinc.differences import checksum
from napari_tinc.format import blocks_file, networks_file
from napari_tinc.format.blocks_file import BlocksHeader, Payload
from napari_tinc.format.chunks import Ancillary, Chunk
from napari_tinc.octree import Octree

SHAPE = (20, 18, 33)


@pytest.fixture(scope="module")
def compressed() -> tinc.TincVolume:
    z, y, x = np.meshgrid(*[np.linspace(0, 6, n) for n in SHAPE], indexing="ij")
    with short_fits():
        return tinc.compress((100 + 90 * np.sin(z + y) * np.cos(x)).astype("int16"), ratio=12, preset="fast")


@pytest.fixture(scope="module")
def whole(compressed: tinc.TincVolume) -> np.ndarray:
    return np.asarray(compressed)


def item(n: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(-n, n - 1), st.slices(n))


@given(index=st.tuples(*map(item, SHAPE)), rest=st.integers(0, 3))
def test_basic_indexing(compressed: tinc.TincVolume, whole: np.ndarray, index: tuple[Any, ...], rest: int) -> None:
    index = index[:rest]
    lazy = compressed[index]
    expected = whole[index]
    assert lazy.shape == expected.shape and lazy.size == expected.size and lazy.dtype == expected.dtype
    difference = np.abs(np.asarray(lazy).astype(int) - expected)
    assert difference.size == 0 or difference.max() <= 1  # tiles of another size: float32 sums in another order


def test_views_of_views(compressed: tinc.TincVolume, whole: np.ndarray) -> None:
    lazy = compressed[2:-2, ..., ::-3][5:, 4]
    np.testing.assert_allclose(np.asarray(lazy), whole[2:-2, ..., ::-3][5:, 4], atol=1)
    assert compressed[3][-1].shape == (33,)
    assert len(compressed[3]) == 18 and len(compressed) == 20
    assert np.asarray(compressed[1, 2, 3]).shape == ()


@pytest.mark.parametrize("index", [20, (0, 0, 0, 0), (..., ...), 1.5, True, None, [1, 2], np.array([True] * 20)])
def test_other_indices_are_refused(compressed: tinc.TincVolume, index: Any) -> None:
    with pytest.raises(IndexError):
        compressed[index]


def test_an_index_beyond_an_axis_names_the_axis(compressed: tinc.TincVolume) -> None:
    with pytest.raises(IndexError, match="index -34 is beyond axis 2, of length 33"):
        compressed[1, :, -34]


def test_only_the_leaves_asked_for_are_decoded(compressed: tinc.TincVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_tinc.networks.compiled_code import COMPILED_CODE
    from napari_tinc.networks.lattice import Run
    from napari_tinc.networks.path import Path

    monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: False)
    points = []
    original = Path._evaluate_tile

    def counting(self: Path, run: Run, *arguments: Any) -> Any:
        if run.stride == 1:
            points.append(len(self._start) * int(np.prod([part.stop - part.start for part in arguments[3]])))
        return original(self, run, *arguments)

    monkeypatch.setattr(Path, "_evaluate_tile", counting)
    np.asarray(compressed[3:9, 4:9])
    assert sum(points) == 6 * 5 * 33
    points.clear()
    np.asarray(tinc.TincVolume(compressed.parts.data())[3, 4:9])
    assert sum(points) == 18 * 33  # the tile of that slice, which is kept


def test_levels_halve_down_to_32_voxels(compressed: tinc.TincVolume, whole: np.ndarray) -> None:
    assert [level.shape for level in compressed.levels] == [(20, 18, 33), (10, 9, 17)]
    coarse = np.asarray(compressed.levels[1])
    blocks = whole[:, :, :32].reshape(10, 2, 9, 2, 16, 2).mean(axis=(1, 3, 5))
    assert np.sqrt(((coarse[:, :, :16] - blocks) ** 2).mean()) < 0.06 * np.ptp(whole)


def test_an_absurd_request_is_refused(compressed: tinc.TincVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_EAGER_VOXELS", 1000)
    with pytest.raises(tinc.TincError, match="11880 voxels asked for at once, expected at most 1000"):
        np.asarray(compressed)


def test_facts_without_decoding(compressed: tinc.TincVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NetworkBox, "network", property(lambda self: pytest.fail("decoded the weights")))
    again = tinc.TincVolume(compressed.parts.data())
    assert again.ratio == pytest.approx(2 * np.prod(SHAPE) / again.nbytes_compressed)
    assert again.spacing == (1, 1, 1) and again.units is None and again.axis_labels == "zyx"
    assert again.nbytes == 2 * np.prod(SHAPE) and again.value_range[0] < again.value_range[1]
    assert "ratio=" in repr(again) and "LazyArray" in repr(again[0])


def test_damage_in_any_byte_is_found(compressed: tinc.TincVolume) -> None:
    data = compressed.parts.data()
    for at in range(0, len(data), 7):
        damaged = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        with pytest.raises(tinc.TincError):
            tinc.TincVolume(damaged).verify()
    for size in range(0, len(data), 29):
        with pytest.raises(tinc.TincError):
            tinc.TincVolume(data[:size])


def test_damage_is_not_saved(compressed: tinc.TincVolume, tmp_path: Path) -> None:
    damaged = bytearray(compressed.parts.data())
    damaged[-1] ^= 1
    with pytest.raises(tinc.TincError, match="CRC-32"):
        tinc.TincVolume(bytes(damaged)).save(tmp_path / "v.tinc")
    assert not list(tmp_path.iterdir())


def test_only_bytes_are_bool(compressed: tinc.TincVolume) -> None:
    """Other values would be lost."""
    header, chunks = networks_file.parse(compressed.parts.data())
    meta = Chunk.of(Ancillary.META, b'{"bool": true}')
    rows = [chunk for chunk in chunks if chunk.role is not Ancillary.META]
    wrong = tinc.TincVolume(networks_file.pack(header, [rows[0], meta, *rows[1:]]))
    with pytest.raises(tinc.TincError, match="bool of int16, expected uint8"):
        np.asarray(wrong)


def test_compare_refuses_other_shapes(compressed: tinc.TincVolume) -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        tinc.compare(np.zeros((3, 3, 3)), compressed)


def test_the_ratio_is_that_of_the_file(compressed: tinc.TincVolume, whole: np.ndarray) -> None:
    assert tinc.compare(whole.astype(np.float64), compressed).ratio == compressed.ratio


def test_coarse_levels_of_thin_volumes_look_at_no_more_points_than_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 points along each edge of a cell, of a line 1 and 2 voxels thick, would be millions a cell."""
    array = np.indices((4096, 1, 2)).sum(axis=0).astype("f8")
    found = tinc.compress(array, max_error=0)
    points = 0

    def counted(volume: int, factor: int, axes: list[np.ndarray], spacing: float) -> np.ndarray:
        nonlocal points
        points += int(np.prod([len(axis) for axis in axes]))
        return floats(volume, factor, axes, spacing)

    floats = found._decoder.floats
    monkeypatch.setattr(found._decoder, "floats", counted)
    np.testing.assert_array_equal(found.levels[-1], array.reshape(32, 128, 1, 1, 1, 2).mean(axis=(1, 3, 5)))
    assert points == array.size


def test_a_coarse_level_is_the_same_from_pieces(compressed: tinc.TincVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.asarray(compressed.levels[1])
    monkeypatch.setattr(values, "POINTS", 10)
    np.testing.assert_allclose(np.asarray(compressed.levels[1]), whole, atol=1)


def exact(array: np.ndarray) -> tinc.TincVolume:
    """A file of one box, bit for bit, whose values nobody measures."""
    payload = Payload(box.encode_box(array, 0), checksum(array))
    finite = array[np.isfinite(array)]
    header = BlocksHeader(
        tree=Octree.full(array.shape, 0), dtype=array.dtype, value_range=(finite.min().item(), finite.max().item())
    )  # fmt: skip
    return tinc.TincVolume(blocks_file.pack(header, [], [payload], []))


def test_a_bound_that_blocks_of_networks_cannot_keep_is_refused(compressed: tinc.TincVolume) -> None:
    data = compressed.parts.data()
    header = BlocksHeader(
        tree=Octree.full(compressed.shape, 0), dtype=compressed.dtype, value_range=compressed.value_range,
        error_bound=1.0,
    )  # fmt: skip
    with pytest.raises(tinc.TincError, match="has an error bound and a block with networks"):
        tinc.TincVolume(blocks_file.pack(header, [], [Payload(data)], []))


def test_means_of_the_largest_numbers_are_finite_and_those_of_infinite_ones_no_warning() -> None:
    array = np.linspace(-8e307, 8e307, 40 * 6 * 6).reshape(40, 6, 6)
    means = np.asarray(exact(array).levels[1])
    np.testing.assert_allclose(means, (array / 8).reshape(20, 2, 3, 2, 3, 2).sum(axis=(1, 3, 5)), rtol=1e-14)
    array[::5, 1] = np.inf
    array[::7, :, 2] = -np.inf
    array[3, 3] = np.nan
    assert not np.isfinite(np.asarray(exact(array).levels[1])).all()


@pytest.mark.parametrize(("dtype", "bits"), [("f2", 0x7D00), ("f4", 0x7FA00000), ("f8", 0x7FF4 << 48)])
def test_signalling_nans_are_kept_and_no_warning(dtype: str, bits: int) -> None:
    array = np.linspace(0, 1, 40 * 8 * 8).astype(dtype)
    array.view(f"u{array.itemsize}")[::50] = bits
    volume = exact(array.reshape(40, 8, 8))
    volume.verify()
    assert np.asarray(volume).tobytes() == array.tobytes()
    assert np.isnan(np.asarray(volume.levels[1])).any()


@pytest.mark.parametrize("name", [
    "blocks-of-both-kinds", "blocks-background-u2", "blocks-background-f4", "lattice-blocks", "lattice-outputs-f4",
    "region-exact-in-networks", "fill-i2-in-networks", "filtered-i2", "mixed-widths", "overviews-channels", "plane",
])  # fmt: skip
@pytest.mark.parametrize("compiled", [False, True])
def test_slices_of_every_kind_of_file_are_those_of_the_whole(
    name: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_tinc.networks.compiled_code import COMPILED_CODE

    monkeypatch.setattr(COMPILED_CODE, "pays", lambda n_points, waits: compiled)
    monkeypatch.setattr(COMPILED_CODE, "is_used", compiled)
    path = Path(__file__).parents[1] / "golden" / f"{name}.tinc"
    opened = tinc.open(path)
    whole = np.asarray(tinc.open(path)).astype(float)
    most = 1.01 if opened.dtype.kind in "iu" else 1e-5 * np.ptp(whole[np.isfinite(whole)])
    for axis in range(opened.ndim - 3, opened.ndim):
        for at in (0, 1, 2, 1, opened.shape[axis] - 1):
            at = min(at, opened.shape[axis] - 1)
            index = (slice(None),) * axis + (at,)
            found = np.asarray(opened[index])
            assert found.flags.c_contiguous and found.flags.writeable
            np.testing.assert_allclose(found.astype(float), whole[index], rtol=0, atol=most)
            found[:] = 0  # is the caller's
