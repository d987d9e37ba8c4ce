"""Evaluate the networks on a batch, and their gradient, as training needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..networks.architecture import Array, Weights
from ..networks.evaluate import sine_


class Buffers:
    """Arrays that live from one evaluation to the next. At these sizes allocation costs as much as arithmetic."""

    def __init__(self, xp: Any, **options: Any) -> None:
        self._xp, self._options = xp, options
        self._arrays: dict[Any, Array] = {}

    def __call__(self, key: Any, shape: Sequence[int]) -> Array:
        """Return the array of a key, made anew if its shape changes."""
        array = self._arrays.get(key)
        if array is None or tuple(array.shape) != tuple(shape):
            array = self._arrays[key] = self._xp.empty(tuple(shape), dtype=self._xp.float32, **self._options)
        return array


def evaluate_nodes(
    xp: Any, weights: Weights, positions: Array, features: Array | None, buffers: Callable[..., Array], key: Any = 0
) -> Array:  # fmt: skip
    """Compute the features of n nodes at m points each. Cosines are kept for :func:`backpropagate_nodes`.

    Parameters
    ----------
    weights : the nodes' tensors, each stacked along the first axis.
    positions : float32 (n, m, 4).
    features : float32 (n, m, fan_in) of their parents at the same points; None at the root.
    buffers : where the layers' outputs stand; ``key`` tells this group's from another's.

    Returns
    -------
    float32 (n, m, width), a buffer.
    """
    n, m = positions.shape[:2]
    layer, x = 0, features
    while layer == 0 or f"hidden{layer}" in weights:
        if layer == 0:
            w = weights["position"]
            out = buffers((key, "x", 0), (n, m, w.shape[2]))
            xp.matmul(positions, w, out=out)
            if features is not None:
                product = buffers((key, "product"), out.shape)
                out += xp.matmul(features, weights["feature"], out=product)
        else:
            out = buffers((key, "x", layer), out.shape)
            xp.matmul(x, weights[f"hidden{layer}"], out=out)
            out += weights[f"bias{layer}"]
        sine_(out, buffers((key, "slope", layer), out.shape))
        layer, x = layer + 1, out
    return x


def evaluate_heads(xp: Any, weights: Weights, features: Array, buffers: Callable[..., Array], key: Any = 0) -> Array:
    """Compute the intensities of k leaves at m points, from features (k, m, width): float32 (k, m, 1), a buffer."""
    out = buffers((key, "y"), (*features.shape[:2], 1))
    xp.matmul(features, weights["head"], out=out)
    out += weights["head_bias"]
    return out


def backpropagate_nodes(
    xp: Any, weights: Weights, gradient: Weights, positions: Array, features: Array | None, above: Array,
    buffers: Callable[..., Array], key: Any = 0,
) -> Array | None:  # fmt: skip
    """Compute the gradient of :func:`evaluate_nodes`, by the chain rule.

    Parameters
    ----------
    gradient : tensors like ``weights``; overwritten.
    above : d loss / d output, (n, m, width); overwritten.

    Returns
    -------
    d loss / d features (n, m, fan_in), a buffer; None at the root.
    """
    layer = max(int(kind[6:]) for kind in weights if kind.startswith("hidden")) if "hidden1" in weights else 0
    while layer:
        above *= buffers((key, "slope", layer), above.shape)
        below = buffers((key, "x", layer - 1), above.shape)
        xp.matmul(below.transpose(1, 2), above, out=gradient[f"hidden{layer}"])
        xp.sum(above, 1, keepdim=True, out=gradient[f"bias{layer}"])
        out = buffers((key, "d", layer - 1), above.shape)
        above = xp.matmul(above, weights[f"hidden{layer}"].transpose(1, 2), out=out)
        layer -= 1
    above *= buffers((key, "slope", 0), above.shape)
    xp.matmul(positions.transpose(1, 2), above, out=gradient["position"])
    if features is None:
        return None
    xp.matmul(features.transpose(1, 2), above, out=gradient["feature"])
    out = buffers((key, "d features"), features.shape)
    return xp.matmul(above, weights["feature"].transpose(1, 2), out=out)
