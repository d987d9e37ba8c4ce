"""Measure a volume against its original."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .volume import TincVolume

if TYPE_CHECKING:
    from ..metrics import Quality


def compare(original: ArrayLike, volume: ArrayLike) -> Quality:
    """Measure a volume, or any array, against its original.

    Parameters
    ----------
    original, volume : arrays of the same shape.

    Returns
    -------
    PSNR, SSIM, RMSE, largest error, ratio and bits a voxel: see :class:`napari_tinc.metrics.Quality`.

    Raises
    ------
    ValueError
        If the shapes differ, or one of them has NaN or infinite values that the other has not.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tinc as tinc
    >>> array = np.random.default_rng(0).normal(100, 20, (20, 20, 20)).astype(np.uint8)
    >>> quality = tinc.compare(array, tinc.compress(array, max_error=2))
    >>> quality.max_error
    2.0
    >>> print(f"{quality.psnr:.1f} dB, {quality.bits_per_voxel:.1f} bits a voxel")
    40.1 dB, 4.5 bits a voxel
    """
    from ..metrics import measure

    reconstruction = np.asarray(volume)
    if not isinstance(volume, TincVolume):
        return measure(original, reconstruction, reconstruction.nbytes)
    return quality_of(original, reconstruction, volume)


def quality_of(original: ArrayLike, values: NDArray[Any], volume: TincVolume) -> Quality:
    """Measure decoded values of a volume against its original, as :func:`compare` does."""
    from ..metrics import measure

    quality = measure(original, values, volume.nbytes_compressed, fill=volume.fill.values)
    return replace(quality, ratio=volume.ratio)  # whatever dtype the original comes in now
