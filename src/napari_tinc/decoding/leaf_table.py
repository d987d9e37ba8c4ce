"""Fields of the table of leaves, which :attr:`TincVolume.leaves` explains."""

from __future__ import annotations

import numpy as np

LEAF_FIELDS = np.dtype(
    [
        ("start", "<i8", 3), ("stop", "<i8", 3), ("level", "<i8"), ("network", "<i8"), ("parameters", "<i8"),
        ("bytes", "<f8"),
        ("rmse", "<f8"), ("psnr", "<f8"), ("max_error", "<f8"), ("gain", "<f8"), ("offset", "<f8"),
    ]
)  # fmt: skip
