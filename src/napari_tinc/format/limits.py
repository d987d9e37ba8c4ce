"""Limits of what a reader accepts. A file beyond them is refused before memory is allocated for it."""

from __future__ import annotations

import sys

MAX_LEADING = 3  # More axes before z, y, x are refused.
MAX_EDGE = 2**16  # Larger cells of an overview are refused.

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")  # Other dtypes are refused; a header stores the index.

MIN_FILE = 16  # Smaller files, in bytes, are refused: a prefix alone takes this many.
MAX_FILE = 2**31  # Larger files, in bytes, are neither read nor written.
MAX_HEAD = 2**20  # A longer HEAD, in bytes, is refused.
MAX_AXIS = 2**24  # Longer axes are refused.
MAX_VOXELS = 2**40  # Volumes of more voxels are refused.
MIN_SPACING = 1e-12  # Smaller voxels, in the unit of the file, are refused.
MAX_SPACING = 1e12  # Larger voxels, in the unit of the file, are refused.
MAX_UNIT = 32  # Longer names of a unit, in bytes, are refused.
MAX_CHUNKS = 2**16  # Tables of more chunks are refused.
MAX_CHUNK_NODES = 2**20  # Larger counts of nodes are refused; in ancillary chunks they mean nothing.
MAX_META = 2**16  # A longer META, in bytes, is refused.
MAX_FILTER = 2**12  # A longer filter, in bytes, is refused.
MAX_DETAILS = 2**16  # A longer DETAILS, in bytes, is refused.

MAX_REGION = 2**24  # Larger boxes of a region that is kept exactly, in voxels, are refused.

MAX_FLOAT = sys.float_info.max  # Infinite numbers are refused.

MAX_LAYERS = 8  # Networks of more sine layers are refused.
MAX_WIDTH = 256  # Networks of more features are refused.

MAX_TREE = 2**16  # Trees of networks of more nodes are refused.
SPARE_CHUNKS = 64  # Any file may have this many chunks,
LEAST_CHUNK = 128  # and one more for this many bytes.
MAX_WEIGHTS = 2**26  # Files of more weights are refused.
MAX_WEIGHTS_PER_BYTE = 64  # No small file may declare a huge network: this many weights for each byte are allowed,
SPARE_WEIGHTS = 4096  # and this many more.
