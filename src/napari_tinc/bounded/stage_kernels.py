"""What a stage of the predictive coder needs, compiled, in few calls: each takes Python's lock once, and waits for it.

Arrays are those of kernels.py. ``values`` and ``errors`` are those of all parities, (8, z, y, x).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from .kernels import EdgeTable, Layout, Terms, activity, classify, place, predict, quantize
from .label_kernels import without
from .neighbours import Shells
from .streams import count_tokens, split_integers

Ints = NDArray[Any]  # int32 or int64
Flags = NDArray[np.bool_]


@compiled
def encode(
    values: Ints, errors: Ints, span: tuple[int, int], terms: Terms, prediction: Ints, is_predicted: bool, wanted: Ints,
    classes: NDArray[np.uint8], zones: NDArray[np.int64], hidden: Flags, coded: Ints, is_background: Flags,
    background: int, layout: Layout, step: int, high: int, keeps_errors: bool, box: Ints, box_errors: Ints, parity: int,
) -> None:  # fmt: skip
    """Predict voxels unless they are, turn what is wanted into steps from that, and put the values in their places.

    See :func:`.kernels.predict`, :func:`.kernels.quantize` and :func:`.kernels.place`; the voxels are those of the
    parity with a number.
    """
    if not is_predicted:
        predict(values.reshape(-1), errors.reshape(-1), span, terms, prediction)
    origin, plane, row = layout
    quantize(prediction, wanted, origin, plane, row, classes, zones, step, hidden, coded)
    place(
        prediction, coded, is_background, background, origin, plane, row, step, high, keeps_errors, box, box_errors,
        values[parity], errors[parity],
    )  # fmt: skip


@compiled
def foresee(
    values: Ints, errors: Ints, span: tuple[int, int], terms: Terms, prediction: Ints, is_predicted: bool,
    shells: Shells, weights: NDArray[np.int64], activities: Ints, layout: Layout, shape: tuple[int, int, int],
    edges: EdgeTable, is_fine: bool, classes: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Predict voxels unless they are, and classify them by how well.

    See :func:`.kernels.predict`, :func:`.kernels.activity` and :func:`.kernels.classify`.
    """
    flat_values, flat_errors = values.reshape(-1), errors.reshape(-1)
    if not is_predicted:
        predict(flat_values, flat_errors, span, terms, prediction)
    activity(flat_values, flat_errors, prediction, span, shells, weights, activities)
    classify(prediction, activities, layout, shape, edges, is_fine, classes)


@compiled
def code(
    values: Ints, errors: Ints, span: tuple[int, int], prediction: Ints, is_classified: bool, shells: Shells,
    weights: NDArray[np.int64], activities: Ints, layout: Layout, shape: tuple[int, int, int], edges: EdgeTable,
    is_fine: bool, classes: NDArray[np.uint8], left_out: Flags, coded: Ints, tokens: NDArray[np.int32],
    n_bits: NDArray[np.uint8], rest: NDArray[np.int64], counts: NDArray[np.int64],
) -> tuple[int, int]:  # fmt: skip
    """Classify voxels unless they are, and turn their steps into tokens, which are counted, and further bits.

    See :func:`foresee`, :func:`.label_kernels.without`, :func:`.streams.split_integers` and
    :func:`.streams.count_tokens`.

    Parameters
    ----------
    left_out : voxels that are not coded; empty for none.

    Returns
    -------
    How many voxels are coded, and how many of them have further bits. They stand at the beginning of the arrays.
    """
    if not is_classified:
        activity(values.reshape(-1), errors.reshape(-1), prediction, span, shells, weights, activities)
        classify(prediction, activities, layout, shape, edges, is_fine, classes)
    n = without(left_out, classes, coded) if len(left_out) else len(classes)
    n_large = split_integers(coded[:n], tokens[:n], n_bits, rest)
    count_tokens(counts, classes[:n], tokens[:n])
    return n, n_large
