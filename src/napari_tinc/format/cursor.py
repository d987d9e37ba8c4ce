"""Reading a head field by field, each checked; and numbers of variable length."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from ..errors import TincError
from .limits import MAX_FLOAT


def check_range(what: str, value: float, low: float, high: float) -> None:
    """Refuse a number out of range; NaN is out of any."""
    if not low <= value <= high:
        raise TincError(f"{what} is {value}, expected {low if low == high else f'{low} to {high}'}")


class HeadReader:
    """A cursor over HEAD. Every read is checked; ``what`` names the field in errors."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.at = 0

    def take(self, what: str, n_bytes: int) -> bytes:
        if self.at + n_bytes > len(self.head):
            raise TincError(f"{what}: head is {len(self.head)} bytes, expected at least {self.at + n_bytes}")
        self.at += n_bytes
        return self.head[self.at - n_bytes : self.at]

    def unsigned(self, what: str, n_bytes: int, high: int, low: int = 0) -> int:
        value = int.from_bytes(self.take(what, n_bytes), "little")
        check_range(what, value, low, high)
        return value

    def uv(self, what: str, low: int, high: int) -> int:
        value = 0
        for shift in range(0, 49, 7):
            byte = self.take(what, 1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift:
                    raise TincError(f"{what}: {value} is stored in {shift // 7 + 1} bytes, expected the fewest")
                check_range(what, value, low, high)
                return value
        raise TincError(f"{what}: number is longer than 7 bytes")

    def floats(self, what: str, code: str, low: float = -MAX_FLOAT, high: float = MAX_FLOAT) -> tuple[float, ...]:
        values = struct.unpack("<" + code, self.take(what, struct.calcsize("<" + code)))
        for value in values:
            check_range(what, value, low, high)
        return values

    def bits(self, what: str, n_bits: int) -> NDArray[np.uint8]:
        packed = np.frombuffer(self.take(what, (n_bits + 7) // 8), np.uint8)
        bits = np.unpackbits(packed, bitorder="little")
        if bits[n_bits:].any():
            raise TincError(f"{what}: padding bits are {bits[n_bits:].tolist()}, expected zeros")
        return bits[:n_bits]

    def end(self) -> None:
        """Refuse bytes that are left."""
        if self.at != len(self.head):
            raise TincError(f"head is {len(self.head)} bytes, expected {self.at}")


def pack_varint(value: int) -> bytes:
    """A number as minimal LEB128."""
    check_range("number", value, 0, 2**49 - 1)
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])
