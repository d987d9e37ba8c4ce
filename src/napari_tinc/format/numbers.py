"""Numbers in few bytes, without any loss: the places and settings that a DETAILS chunk stores.

Each number has a code of four bits, two in a byte, the first in the lower half. Behind all codes stand the bytes of the
numbers. A number takes the shortest of the forms below that gives it back bit for bit.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from ..errors import TincError

ZERO, EXPECTED, NEGATIVE = range(3)  # Codes of numbers that need no bytes.
# For each other code, from 3 on: the bytes of an integer, and what it is divided by.
_INTEGERS = {3: (1, 1.0), 4: (2, 1.0), 5: (2, 1000.0), 6: (3, 1000.0), 7: (4, 1e6)}
_FLOAT32, _FLOAT64 = 8, 9


class DetailsReader:
    """A cursor over the bytes of a DETAILS chunk, or of an item of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, n_bytes: int) -> bytes:
        """Read a number of bytes. TincError if there are fewer."""
        end = self.position + n_bytes
        if end > len(self.data):
            raise TincError(f"DETAILS chunk ends too early: {len(self.data)} bytes, expected {end} or more")
        start, self.position = self.position, end
        return self.data[start:end]

    def varint(self) -> int:
        """Read a length, of 1 to 4 bytes (LEB128). TincError if there are more."""
        value = 0
        for shift in range(0, 28, 7):
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise TincError("DETAILS chunk has an item whose length takes more than 4 bytes")

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(len(self.data) - self.position)


def pack_numbers(values: Sequence[float], expected: Sequence[float]) -> bytes:
    """Pack finite numbers. One that is the expected number, or its negative, takes no bytes."""
    forms = [_form(value + 0.0, guess) for value, guess in zip(values, expected, strict=True)]
    codes = [code for code, _ in forms] + [0] * (len(forms) % 2)
    pairs = bytes(low | high << 4 for low, high in zip(codes[::2], codes[1::2], strict=True))
    return pairs + b"".join(data for _, data in forms)


def unpack_numbers(reader: DetailsReader, expected: Sequence[float]) -> list[float]:
    """Read as many numbers as are expected. TincError for an unknown code or a number that is not finite."""
    pairs = reader.take((len(expected) + 1) // 2)
    codes = [byte >> shift & 15 for byte in pairs for shift in (0, 4)]
    numbers = [_number(code, reader, guess) for code, guess in zip(codes, expected, strict=False)]
    for number in numbers:
        if not math.isfinite(number):
            raise TincError(f"DETAILS chunk has the number {number}, expected finite numbers")
    return numbers


def _form(value: float, expected: float) -> tuple[int, bytes]:
    """Return the shortest form of a number: its code and bytes."""
    if value == 0:
        return ZERO, b""
    if abs(value) == abs(expected):
        return (EXPECTED if value == expected else NEGATIVE), b""
    for code, (n_bytes, divisor) in _INTEGERS.items():
        if n_bytes == 4 and _is_float32(value):
            break
        integer = round(value * divisor) if abs(value) * divisor < 2**31 else 0
        if abs(integer) < 2 ** (8 * n_bytes - 1) and integer / divisor == value:
            return code, integer.to_bytes(n_bytes, "little", signed=True)
    if _is_float32(value):
        return _FLOAT32, struct.pack("<f", value)
    return _FLOAT64, struct.pack("<d", value)


def _is_float32(value: float) -> bool:
    """Tell whether a float32 holds a number exactly."""
    return abs(value) < 3e38 and bool(struct.unpack("<f", struct.pack("<f", value))[0] == value)


def _number(code: int, reader: DetailsReader, expected: float) -> float:
    """Read the number of a code."""
    if code == ZERO:
        return 0.0
    if code in (EXPECTED, NEGATIVE):
        return expected if code == EXPECTED else -expected
    if code in _INTEGERS:
        n_bytes, divisor = _INTEGERS[code]
        return int.from_bytes(reader.take(n_bytes), "little", signed=True) / divisor
    if code in (_FLOAT32, _FLOAT64):
        letter, n_bytes = ("f", 4) if code == _FLOAT32 else ("d", 8)
        return float(struct.unpack(f"<{letter}", reader.take(n_bytes))[0])
    raise TincError(f"DETAILS chunk has a number of the form {code}, expected 0 to {_FLOAT64}")
