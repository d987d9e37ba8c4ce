"""Read fields one by one, each with its checks; pack numbers of variable length."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from .limits import MAX_FLOAT

MAX_VARINT = 2**49 - 1  # The largest number of variable length.


def check_range(field: str, value: float, low: float, high: float) -> None:
    """Raise TincError if a number is out of its range. NaN is out of any range."""
    if not low <= value <= high:
        raise TincError(f"{field} is {value}, expected {low if low == high else f'{low} to {high}'}")


class FieldReader:
    """A cursor over the bytes of HEAD or of a payload. It checks every field that it reads.

    In error messages ``name`` stands for the bytes, and ``field`` for what is read.
    """

    def __init__(self, data: bytes, name: str = "head") -> None:
        self.data, self.name = data, name
        self.position = 0

    def take(self, field: str, n_bytes: int) -> bytes:
        """Read a number of bytes."""
        if self.position + n_bytes > len(self.data):
            expected = f"expected at least {self.position + n_bytes}"
            raise TincError(f"{field}: {self.name} is {len(self.data)} bytes, {expected}")
        self.position += n_bytes
        return self.data[self.position - n_bytes : self.position]

    def unsigned(self, field: str, n_bytes: int, high: int, low: int = 0) -> int:
        """Read an unsigned integer of ``n_bytes``, which must be ``low`` to ``high``."""
        value = int.from_bytes(self.take(field, n_bytes), "little")
        check_range(field, value, low, high)
        return value

    def varint(self, field: str, low: int, high: int) -> int:
        """Read an integer of variable length (LEB128, 1 to 7 bytes), which must be ``low`` to ``high``."""
        value = 0
        for shift in range(0, 49, 7):
            byte = self.take(field, 1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift:
                    raise TincError(f"{field}: {value} is stored in {shift // 7 + 1} bytes, expected the fewest")
                check_range(field, value, low, high)
                return value
        raise TincError(f"{field}: number is longer than 7 bytes")

    def floats(self, field: str, code: str, low: float = -MAX_FLOAT, high: float = MAX_FLOAT) -> tuple[float, ...]:
        """Read numbers of a format of :mod:`struct`, which must be ``low`` to ``high``."""
        values = struct.unpack("<" + code, self.take(field, struct.calcsize("<" + code)))
        for value in values:
            check_range(field, value, low, high)
        return values

    def bits(self, field: str, n_bits: int) -> NDArray[np.uint8]:
        """Read ``n_bits`` bits, as uint8 (n_bits,). The bits that pad the last byte must be 0."""
        packed = np.frombuffer(self.take(field, (n_bits + 7) // 8), np.uint8)
        bits = np.unpackbits(packed, bitorder="little")
        if bits[n_bits:].any():
            raise TincError(f"{field}: padding bits are {bits[n_bits:].tolist()}, expected zeros")
        return bits[:n_bits]

    def end(self) -> None:
        """Raise TincError if bytes are left."""
        if self.position != len(self.data):
            raise TincError(f"{self.name} is {len(self.data)} bytes, expected {self.position}")


def pack_varint(value: int) -> bytes:
    """Pack a number in the fewest bytes of LEB128."""
    check_range("number", value, 0, MAX_VARINT)
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])
