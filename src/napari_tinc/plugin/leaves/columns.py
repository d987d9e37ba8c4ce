"""The columns of the leaf table: what is known of each leaf, in the units and digits that a user reads.

Knows nothing of viewers, layers or Qt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = "bits/voxel"
# Title of a column -> field of ``TincVolume.leaves`` that it is, or is made of. The docks list them in this order.
COLUMNS = {
    "RMSE": "rmse", "PSNR (dB)": "psnr", "max error": "max_error", "level": "level", "bytes": "bytes", BITS: "bytes",
    "gain": "gain", "offset": "offset",
}  # fmt: skip
IN_DATA_UNITS = ("RMSE", "max error", "offset")  # The other columns are without a unit, or have it in their title.


def with_unit(column: str) -> str:
    """Return the title of a column with its unit: "RMSE (data units)", "PSNR (dB)", "level"."""
    return f"{column} (data units)" if column in IN_DATA_UNITS else column


def column_values(rows: NDArray[Any], column: str) -> NDArray[Any]:
    """Return the values of a column, one for each row of ``TincVolume.leaves``."""
    values = rows[COLUMNS[column]]
    return 8 * values / (rows["stop"] - rows["start"]).prod(axis=1) if column == BITS else values


def importance(rows: NDArray[Any], column: str) -> NDArray[np.float64]:
    """Return how much each leaf deserves a look: large errors, a small PSNR, gains and offsets far from none."""
    values = column_values(rows, column).astype(np.float64)
    values = {"PSNR (dB)": -values, "gain": np.abs(values - 1), "offset": np.abs(values)}.get(column, values)
    return np.nan_to_num(values, nan=-np.inf)


def table_columns(rows: NDArray[Any], uncalibrated_rows: NDArray[Any] | None = None) -> dict[str, NDArray[Any]]:
    """Return the columns of the leaf table.

    Parameters
    ----------
    rows : of ``volume.leaves``.
    uncalibrated_rows : the same with the errors without calibration, for two more columns; None for none.

    Returns
    -------
    Title -> one value per leaf, after a blank value in row 0, which napari shows outside of all leaves.
    """
    columns = {
        "leaf": np.arange(1, len(rows) + 1),
        "z, y, x": np.array([",".join(map(str, start)) for start in rows["start"].tolist()], object),
        "voxels": (rows["stop"] - rows["start"]).prod(axis=1),
        **{title: column_values(rows, title) for title in COLUMNS},
    }
    if np.isfinite(rows["bytes"]).all():
        columns["bytes"] = np.rint(rows["bytes"]).astype(np.int64)  # Whole, as napari would write 2437.2 as 2.44e+03.
    if uncalibrated_rows is not None:
        columns["RMSE uncalibrated"] = uncalibrated_rows["rmse"]
        with np.errstate(divide="ignore", invalid="ignore"):
            columns["calibration gave (dB)"] = np.nan_to_num(20 * np.log10(uncalibrated_rows["rmse"] / rows["rmse"]))
    return {title: _with_blank_row(_four_digits(values)) for title, values in columns.items()}


def _four_digits(values: NDArray[Any]) -> NDArray[Any]:
    """Round to four digits, which is as well as an error is known."""
    if values.dtype.kind != "f":
        return values
    return np.array([float(f"{value:.4g}") for value in values])


def _with_blank_row(values: NDArray[Any]) -> NDArray[Any]:
    """Put a blank value before the others: "", nan or 0."""
    blank: Any = "" if values.dtype.kind == "O" else np.nan if values.dtype.kind == "f" else 0
    return np.concatenate([np.array([blank], values.dtype), values])
