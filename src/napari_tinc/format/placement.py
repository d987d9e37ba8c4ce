"""Where the voxels of a volume lie in the world: an affine matrix, the space that it leads to, and NIfTI's two forms.

Matrices take and give z, y, x, as all else in this package. The centre of voxel 0 is where the matrix puts (0, 0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from .head import VolumeFacts
from .numbers import DetailsReader, pack_numbers, unpack_numbers

# What the coordinates of the world mean: nothing that is known; x to the right, y forward, z up of a body (NIfTI); or
# x to the left, y backward, z up (DICOM, ITK).
SPACES = ("", "RAS", "LPS")
NIFTI_CODES = 5  # NIfTI knows forms of the codes 0 (none) to 5.
LARGEST = 1e30  # Matrices of larger numbers are refused.
QFORM_NUMBERS = 10  # quatern_b, c, d; qoffset_x, y, z; pixdim_1, 2, 3; qfac.

_HALF_TURN = 3 * 2.0**-23  # A smaller square of a qform's first component is only rounding, as nibabel has it.

_EXACT, _ROTATION, _OF_QFORM = range(3)  # How the matrix is stored.
_ROTATION_UNIT = 1 / (2**31 - 1)  # Components of a rotation are stored in multiples of this.
_MOST_ROTATION_ERROR = 1e-5  # A matrix is not stored as a rotation if that moves a corner by more voxels than this.


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where voxels lie.

    Attributes
    ----------
    affine : three rows of four finite numbers, z, y, x: voxel (z, y, x, 1) to the world, in the unit of the spacing.
    space : one of :data:`SPACES`.
    sform_code, qform_code : NIfTI's codes of its two forms; 0 for a form that is not there.
    qform : the numbers of NIfTI's qform as its header has them (:data:`QFORM_NUMBERS`); None if it is there and says
        the same as ``affine``, or is not there.
    """

    affine: Sequence[Sequence[float]]
    space: str = ""
    sform_code: int = 0
    qform_code: int = 0
    qform: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check all fields, and make lists unchangeable. ValueError or TypeError for a matrix that places nothing."""
        matrix = np.array(self.affine, np.float64)
        if matrix.shape == (4, 4):
            matrix = matrix[:3]
        if matrix.shape != (3, 4) or not (np.abs(matrix) < LARGEST).all():
            raise ValueError(f"affine is {self.affine!r:.200}, expected a matrix 3 x 4 or 4 x 4 of numbers")
        lengths = np.linalg.norm(matrix[:, :3], axis=0)
        if not lengths.all() or abs(np.linalg.det(matrix[:, :3] / lengths)) < 1e-6:
            raise ValueError(f"affine is {matrix.tolist()}, expected three directions that span a volume")
        if self.space not in SPACES:
            raise ValueError(f"space is {self.space!r}, expected one of {', '.join(map(repr, SPACES))}")
        if not all(0 <= code <= NIFTI_CODES for code in (self.sform_code, self.qform_code)):
            raise ValueError(f"NIfTI codes are {self.sform_code}, {self.qform_code}, expected 0 to {NIFTI_CODES}")
        qform = None if self.qform is None else tuple(map(float, self.qform))
        if qform is not None and (len(qform) != QFORM_NUMBERS or not (np.abs(qform) < LARGEST).all()):
            raise ValueError(f"qform is {qform}, expected {QFORM_NUMBERS} numbers")
        object.__setattr__(self, "affine", tuple(tuple(row) for row in matrix.tolist()))
        object.__setattr__(self, "qform", qform)

    @classmethod
    def of(cls, value: Any) -> Placement:
        """Return a placement as such, or made of its fields or of a matrix."""
        if isinstance(value, Placement):
            return value
        return cls(**value) if isinstance(value, Mapping) else cls(affine=value)

    @classmethod
    def from_xyz(cls, matrix: Any, space: str, **fields: Any) -> Placement:
        """Make a placement of a matrix that takes and gives x, y, z."""
        return cls(affine=reversed_axes(np.asarray(matrix, np.float64)).tolist(), space=space, **fields)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The affine matrix, (4, 4)."""
        return np.vstack([np.array(self.affine), [0.0, 0.0, 0.0, 1.0]])

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between two voxels along z, y, x."""
        z, y, x = np.linalg.norm(self.matrix[:3, :3], axis=0).tolist()
        return z, y, x

    @property
    def is_sheared(self) -> bool:
        """Whether two axes of the voxels are not at a right angle."""
        directions = self.matrix[:3, :3] / np.array(self.spacing)
        return bool(np.abs(directions.T @ directions - np.eye(3)).max() > 1e-4)

    @property
    def is_upright(self) -> bool:
        """Whether every axis of the voxels runs along its axis of the world, upwards."""
        linear = self.matrix[:3, :3]
        return bool(np.allclose(linear, np.diag(self.spacing), rtol=0, atol=1e-6 * min(self.spacing)))

    def xyz(self, space: str = "", factor: float = 1.0) -> NDArray[np.float64]:
        """Return the matrix (4, 4) that takes and gives x, y, z.

        Parameters
        ----------
        space : "RAS" or "LPS", into which a matrix of the other one is turned.
        factor : from the unit of the spacing to the wanted one.
        """
        matrix = reversed_axes(self.matrix)
        if space and self.space and space != self.space:
            matrix[:2] *= -1
        matrix[:3] *= factor
        return matrix

    def moved(self, start: Sequence[int], factor: int = 1) -> Placement:
        """Return the placement of a part, or of a coarser level.

        Parameters
        ----------
        start : the first voxel of the part, z, y, x, counted in voxels of the level.
        factor : voxels along the edge of a cell that a voxel of the level is the mean of.
        """
        if not any(start) and factor == 1:
            return self
        step = np.diag([factor, factor, factor, 1.0])
        step[:3, 3] = np.array(start) * factor + (factor - 1) / 2
        return Placement(
            affine=(self.matrix @ step).tolist(), space=self.space, sform_code=self.sform_code or self.qform_code,
            qform_code=self.qform_code if self.qform is None else 0,
        )  # fmt: skip


def placement_of_head(facts: VolumeFacts) -> Placement | None:
    """Return the placement that the head of a file states by a matrix or an origin; None if it has neither."""
    if facts.affine is None and facts.origin is None:
        return None
    matrix = np.diag([*(facts.spacing or (1.0, 1.0, 1.0)), 1.0])
    if facts.affine is not None:
        matrix[:3] = np.reshape(facts.affine, (3, 4))
    else:
        matrix[:3, 3] = facts.origin
    with suppress(ValueError):  # it places nothing
        return Placement(affine=matrix.tolist())
    return None


def reversed_axes(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn a matrix (4, 4) of x, y, z into one of z, y, x, or back."""
    result = np.eye(4)
    result[:3, :3] = matrix[2::-1, 2::-1]
    result[:3, 3] = matrix[2::-1, 3]
    return result


def matrix_of_qform(qform: Sequence[float]) -> NDArray[np.float64]:
    """Return the matrix (4, 4), of x, y, z, that the numbers of NIfTI's qform stand for."""
    b, c, d, x, y, z, *pixdim, qfac = qform
    rest = 1.0 - (b * b + c * c + d * d)
    quaternion = np.array([math.sqrt(rest) if rest > _HALF_TURN else 0.0, b, c, d])
    matrix = np.eye(4)
    matrix[:3, :3] = (
        rotation_of((quaternion / (np.linalg.norm(quaternion) or 1.0)).tolist())
        * np.abs(pixdim)
        * (1.0, 1.0, -1.0 if qfac < 0 else 1.0)
    )
    matrix[:3, 3] = x, y, z
    return matrix


def rotation_of(quaternion: Sequence[float]) -> NDArray[np.float64]:
    """Return the rotation (3, 3) of a quaternion a, b, c, d of length 1."""
    a, b, c, d = quaternion
    return np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ])  # fmt: skip


def quaternion_of(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quaternion a, b, c, d of a rotation (3, 3)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    symmetric = np.array([
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ])  # fmt: skip
    return np.linalg.eigh(symmetric)[1][:, -1]  # of the largest eigenvalue


# --- as bytes


def packed_forms(placement: Placement, spacing: Sequence[float], shape: Sequence[int]) -> list[bytes]:
    """Return the bytes of a placement, first as exact as they can be, then shorter ones that are as good.

    Parameters
    ----------
    spacing : what the head of the file has, along z, y, x.
    shape : voxels along z, y, x: the shorter form moves none of them by a hundred-thousandth of its edge.
    """
    codes = placement.sform_code << 4 | placement.qform_code
    space = SPACES.index(placement.space) << 5
    matrix = placement.matrix
    if placement.qform is not None and not placement.sform_code:
        return [bytes([_OF_QFORM | space, codes])]
    numbers = pack_numbers(matrix[:3].ravel().tolist(), (*spacing, 1.0) * 3)
    forms = [bytes([_EXACT | space, codes]) + numbers]
    first, triangle = _rotation_and_rest(matrix[:3, :3], spacing)
    shorter = bytes([_ROTATION | space | first[0], codes]) + first[1:] + pack_numbers(
        [*triangle, *matrix[:3, 3].tolist()], _expected_rest(spacing)
    )  # fmt: skip
    corners = np.array(np.meshgrid(*((0, n) for n in shape), [1], indexing="ij")).reshape(4, -1)
    moved = unpack_placement(shorter, spacing, None).matrix @ corners - matrix @ corners
    if np.abs(moved).max() <= _MOST_ROTATION_ERROR * min(placement.spacing):
        forms.append(shorter)
    return forms if len(forms[-1]) < len(forms[0]) else forms[:1]


def unpack_placement(data: bytes, spacing: Sequence[float], qform: tuple[float, ...] | None) -> Placement:
    """Read what :func:`packed_forms` made. TincError if it makes no sense."""
    reader = DetailsReader(data)
    flags, codes = reader.take(2)
    form, space = flags & 3, flags >> 5
    if form > _OF_QFORM or space >= len(SPACES) or (form == _OF_QFORM and qform is None):
        raise TincError(f"DETAILS chunk has a place of the kind {flags}, which this version of napari-tinc cannot read")
    matrix = np.eye(4)
    if form == _EXACT:
        matrix[:3] = np.reshape(unpack_numbers(reader, (*spacing, 1.0) * 3), (3, 4))
    elif form == _ROTATION:
        rotation = _unpack_rotation(flags, reader.take(12))
        zz, yy, xx, zy, zx, yx, *origin = unpack_numbers(reader, _expected_rest(spacing))
        _, y, x = spacing
        matrix[:3, :3] = rotation @ [[zz, zy * y, zx * x], [0, yy, yx * x], [0, 0, xx]]
        matrix[:3, 3] = origin
    elif qform is not None:
        matrix = reversed_axes(matrix_of_qform(qform))
    try:
        return Placement(
            affine=matrix.tolist(), space=SPACES[space], sform_code=codes >> 4, qform_code=codes & 15, qform=qform
        )
    except ValueError as error:
        raise TincError(f"DETAILS chunk: {error}") from None


def _expected_rest(spacing: Sequence[float]) -> tuple[float, ...]:
    """Return what the numbers of a rotation's form are compared with."""
    return (*spacing, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def _rotation_and_rest(linear: NDArray[np.float64], spacing: Sequence[float]) -> tuple[bytes, list[float]]:
    """Split a matrix (3, 3) into a rotation and an upper triangle.

    Returns
    -------
    Flags and bytes of the rotation; the diagonal, then what is above it in units of the spacing of its column.
    """
    rotation, triangle = np.linalg.qr(linear)
    if np.linalg.det(rotation) < 0:
        rotation, triangle = -rotation, -triangle
    quaternion = quaternion_of(rotation)
    largest = int(np.argmax(np.abs(quaternion)))
    quaternion *= np.copysign(1.0, quaternion[largest])
    others = np.rint(np.delete(quaternion, largest) / _ROTATION_UNIT).astype("<i4")
    diagonal = [
        float(np.copysign(size, value)) if abs(abs(value) - size) <= 1e-9 * size else float(value)
        for value, size in zip(np.diag(triangle), spacing, strict=True)
    ]
    above = [round(float(triangle[row, column]) / spacing[column], 9) for row, column in ((0, 1), (0, 2), (1, 2))]
    return bytes([largest << 3]) + others.tobytes(), [*diagonal, *above]


def _unpack_rotation(flags: int, data: bytes) -> NDArray[np.float64]:
    """Read a rotation (3, 3) from the three smaller numbers of its quaternion."""
    others = np.frombuffer(data, "<i4") * _ROTATION_UNIT
    missing = math.sqrt(max(0.0, 1.0 - float(others @ others)))
    return rotation_of(np.insert(others, flags >> 3 & 3, missing).tolist())
