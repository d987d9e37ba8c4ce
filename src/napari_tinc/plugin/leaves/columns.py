"""The columns of the leaf table: what is known of each leaf, in the units and digits that a user reads.

Knows nothing of viewers, layers or Qt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Title of a column -> field of ``TincVolume.leaves``; in the order in which they are offered.
COLUMNS = {
    "RMSE": "rmse", "PSNR (dB)": "psnr", "max error": "max_error", "level": "level", "bytes": "bytes",
    "gain": "gain", "offset": "offset",
}  # fmt: skip


def badness(rows: NDArray[Any], column: str) -> NDArray[np.float64]:
    """How worth looking at each leaf is: large errors first, small PSNR, gains and offsets far from none."""
    values = rows[COLUMNS[column]].astype(np.float64)
    values = {"PSNR (dB)": -values, "gain": np.abs(values - 1), "offset": np.abs(values)}.get(column, values)
    return np.nan_to_num(values, nan=-np.inf)


def table(rows: NDArray[Any], before: NDArray[Any] | None = None) -> dict[str, NDArray[Any]]:
    """Columns of the leaves' table, of rows of ``volume.leaves``. Row 0 is for what lies outside of all leaves.

    ``before`` has the errors without calibration, for two more columns.
    """
    columns = {
        "leaf": np.arange(1, len(rows) + 1),
        "z, y, x": np.array([",".join(map(str, start)) for start in rows["start"].tolist()], object),
        "voxels": (rows["stop"] - rows["start"]).prod(axis=1),
        **{title: rows[field] for title, field in COLUMNS.items()},
    }
    if np.isfinite(rows["bytes"]).all():
        columns["bytes"] = np.rint(rows["bytes"]).astype(np.int64)  # napari would write 2437.2 as 2.44e+03
    if before is not None:
        columns["RMSE uncalibrated"] = before["rmse"]
        with np.errstate(divide="ignore", invalid="ignore"):
            columns["calibration gave (dB)"] = np.nan_to_num(20 * np.log10(before["rmse"] / rows["rmse"]))
    return {title: _above(_short(values)) for title, values in columns.items()}


def _short(values: NDArray[Any]) -> NDArray[Any]:
    """Four digits are what an error is known to."""
    if values.dtype.kind != "f":
        return values
    return np.array([float(f"{value:.4g}") for value in values])


def _above(values: NDArray[Any]) -> NDArray[Any]:
    blank: Any = "" if values.dtype.kind == "O" else np.nan if values.dtype.kind == "f" else 0
    return np.concatenate([np.array([blank], values.dtype), values])
