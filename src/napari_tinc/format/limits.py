"""Limits of what a reader accepts. A file beyond them is refused before memory is allocated for it."""

from __future__ import annotations

import sys

MAX_LEADING = 3  # axes before z, y, x
MAX_EDGE = 2**16

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")  # a header stores the index

MIN_FILE, MAX_FILE = 16, 2**31  # bytes
MAX_HEAD = 2**20  # bytes
MAX_AXIS, MAX_VOXELS = 2**24, 2**40
MIN_SPACING, MAX_SPACING = 1e-12, 1e12
MAX_UNIT = 32  # bytes
MAX_CHUNKS = 2**16
MAX_CHUNK_NODES = 2**20  # that an ancillary chunk may say; they mean nothing
MAX_META = 2**16  # bytes

MAX_FLOAT = sys.float_info.max

MAX_LAYERS, MAX_WIDTH = 8, 256

MAX_TREE = 2**16  # nodes
SPARE_CHUNKS, LEAST_CHUNK = 64, 128  # chunks, and bytes of the file for each further one
MAX_WEIGHTS, MAX_WEIGHTS_PER_BYTE, SPARE_WEIGHTS = 2**26, 64, 4096  # no small file may declare a huge network
