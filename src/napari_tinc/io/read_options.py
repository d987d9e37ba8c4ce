"""What a caller says about an image file where the file leaves room for doubt; and what a reader says about it."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from ..errors import ReadWarning


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read an image, where its file leaves room for doubt. Each field is a flag of the command line, too.

    Parameters
    ----------
    axes : a letter for each axis of the file, such as "ZYX" or "CZYX", instead of those that the file names. Axes of
        length one may be left out.
    labels : whether the values are labels, not intensities.
    series : which image of a file of several, counted from 0; None for the first.
    channel : which channel, counted from 0, or its name; None for all of them.
    raw : layout of a file that has no header, such as "300x512x512,uint16"; see :mod:`.raw`.
    precise : whether scaled numbers that are not whole are read as float64 where float32 is not exact. A bound is a
        promise about them; for a ratio or a PSNR float32 does.

    Raises
    ------
    ValueError
        If a value cannot be used.
    """

    axes: str | None = None
    labels: bool = False
    series: int | None = None
    channel: int | str | None = None
    raw: str | None = None
    precise: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        if self.axes is not None:
            letters = self.axes.upper()
            if not re.fullmatch("[A-Z]+", letters) or len(set(letters)) < len(letters):
                raise ValueError(f"--axes is {self.axes!r}, expected different letters, one an axis, such as ZYX")
            object.__setattr__(self, "axes", letters)
        if self.series is not None and self.series < 0:
            raise ValueError(f"--series is {self.series}, expected 0 or more: the first series is 0")


def say(text: object) -> None:
    """Warn about a file that was read in a way its owner may not expect: a line on stderr, a notification in napari."""
    warnings.warn(" ".join(str(text).split()), ReadWarning, stacklevel=2)
