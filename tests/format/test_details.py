"""DETAILS chunks: exact where they can be, small where they must be, refused where they make no sense."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc.errors import ReadWarning, TincError
from napari_tinc.format.details import Details, budget_of, pack_details, unpack_details
from napari_tinc.format.numbers import DetailsReader, pack_numbers, unpack_numbers
from napari_tinc.format.placement import Placement, matrix_of_qform, rotation_of

SHAPE = (20, 300, 512)
SPACING = (2.5, 0.7, 0.8)


def turned(angle: float = 0.3, flip: float = 1.0, shift: float = 100.123456789) -> np.ndarray:
    axis = np.array([0.5, 0.5, np.sqrt(0.5)])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of((np.cos(angle), *(np.sin(angle) * axis))) @ np.diag(SPACING) * flip
    matrix[:3, 3] = -3 * shift, shift, 7
    return matrix


def test_numbers_come_back_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    values = [0.0, -0.8, 0.8, 5.0, -127.0, 300.0, -32.767, 8000.001, 1e-7, 0.29, 1e300, -1e-300,
              float(np.float32(0.29)),
              *rng.normal(size=20).tolist(), *rng.integers(-(2**40), 2**40, 5).astype(float).tolist()]  # fmt: skip
    packed = pack_numbers(values, [0.8] * len(values))
    reader = DetailsReader(packed)
    assert unpack_numbers(reader, [0.8] * len(values)) == values and reader.rest() == b""
    assert len(pack_numbers([0.0, 0.8, -0.8], [0.8] * 3)) == 2


@pytest.mark.parametrize("space", ["", "RAS", "LPS"])
@pytest.mark.parametrize(
    "matrix", [np.diag([2.5, -0.7, 0.8, 1]), turned(), turned(3.1), turned(1.57, -1), turned(1e-9)]
)
def test_places(matrix: np.ndarray, space: str) -> None:
    place = Placement(affine=matrix.tolist(), space=space, sform_code=1)
    exact, _ = unpack_details(pack_details(place, Details(), SPACING, SHAPE, 1000), SPACING)
    assert exact == place
    small = pack_details(place, Details(), SPACING, SHAPE, 80)
    assert len(small) <= 72
    found, _ = unpack_details(small, SPACING)
    assert found is not None and found.space == space
    corner = np.array([*SHAPE, 1])
    assert np.abs(found.matrix @ corner - matrix @ corner).max() < 1e-5 * min(SPACING)


def test_places_that_are_no_rotation() -> None:
    """Entries of NIfTI's sform, float32: exact within the 80 bytes."""
    matrix = np.eye(4)
    matrix[:3] = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    place = Placement(affine=matrix.tolist(), space="RAS", sform_code=4, qform_code=1)
    assert unpack_details(pack_details(place, Details(), SPACING, SHAPE, 80), SPACING)[0] == place


def test_the_least_important_is_left_out_with_a_line() -> None:
    details = Details(limits=(1, 2), gamma=0.5, name="a", objects=tuple((i, f"name {i * 7919}", "") for i in range(40)))
    place = Placement(affine=turned().tolist())
    with pytest.warns(ReadWarning, match="does not keep names and colors of labels, .* more than 80 bytes"):
        payload = pack_details(place, details, SPACING, SHAPE, 80)
    found, kept = unpack_details(payload, SPACING)
    assert found is not None and (kept.limits, kept.gamma, kept.name, kept.objects) == ((1, 2), 0.5, "a", ())
    assert unpack_details(pack_details(place, details, SPACING, SHAPE, budget_of(10**6)), SPACING) == (place, details)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((3, 4), np.nan), np.eye(3), "no"])
def test_a_matrix_that_places_nothing_is_refused(affine: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        tinc.Options(placement=affine)


def test_any_bytes_are_read_or_refused() -> None:
    details = Details(limits=(1, 2), look={"rendering": "mip"}, time=(2, "second"), objects=((1, "a", "#ff0000"),))
    place = Placement(affine=turned().tolist(), space="RAS", qform_code=1, sform_code=2, qform=(0.1,) * 6 + (1.0,) * 4)
    payload = pack_details(place, details, SPACING, SHAPE, 1000)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        changed = bytearray(payload[: rng.integers(1, len(payload) + 1)])
        for at in rng.integers(0, len(changed), 3):
            changed[at] = rng.integers(256)
        with suppress(TincError):
            unpack_details(bytes(changed), SPACING)


def test_qforms() -> None:
    qform = (0.0312, 0.9995, 0.0042, 90.0, -110.0, -300.0, 0.8, 0.7, 2.5, -1.0)
    qform = tuple(float(np.float32(number)) for number in qform)
    place = Placement.from_xyz(matrix_of_qform(qform), "RAS", qform_code=1, qform=qform)
    payload = pack_details(place, Details(), SPACING, SHAPE, 80)
    assert unpack_details(payload, SPACING)[0] == place and len(payload) < 50


def test_a_part_and_a_level_lie_where_they_were() -> None:
    place = Placement(affine=turned().tolist(), space="LPS")
    part = place.moved((3, 4, 5), 2)
    np.testing.assert_allclose(part.matrix @ [1, 1, 1, 1], place.matrix @ [8.5, 10.5, 12.5, 1])
    assert place.moved((0, 0, 0)) is place
