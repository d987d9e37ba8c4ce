"""An order of the features of every layer, which makes a file smaller and changes no value.

The features of a layer of sines may stand in any order, and each may change its sign, as sin(-x) = -sin(x), if all
weights that it is made of and all that take it up follow. Of w features, one order of w! and one set of signs of 2^w
are enough. A writer makes one weight of each feature positive, the key, and lets keys ascend; for these it stores how
much each is above the one before: log2(w!) + w bits less if all keys differ, and 0.7 to 0.95 of that as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .architecture import Architecture


def has_keys(kind: str) -> bool:
    """Tell whether the first row of a tensor has the keys of its columns, by the name of the tensor."""
    return kind == "position" or kind.startswith("bias")


def sort_columns(architecture: Architecture, vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the parameters of the same networks, with the features of every layer in the order of their keys."""
    out = vector.copy()
    views = architecture.views(out)
    for index, (group, weights) in enumerate(zip(architecture.groups, views, strict=True)):
        last = architecture.layers - 1
        for layer in range(architecture.layers):
            makes = [f"hidden{layer}", f"bias{layer}"] if layer else ["feature", "position"]
            keys = weights[makes[-1]][:, 0]
            order, signs = np.argsort(np.abs(keys), axis=1, kind="stable"), np.where(keys < 0, -1, 1).astype(np.float32)
            for kind in makes:
                if kind in weights:
                    weights[kind][:] = np.take_along_axis(weights[kind] * signs[:, None], order[:, None], axis=2)
            if layer < last:
                _reorder_rows(weights[f"hidden{layer + 1}"], order, signs)
            else:
                if "head" in weights:
                    _reorder_rows(weights["head"], order[group.head_rows], signs[group.head_rows])
                for child, taking in zip(architecture.groups, views, strict=True):
                    if child.parent == index:
                        row = architecture.row_of[architecture.octree.parent[child.nodes]]
                        _reorder_rows(taking["feature"], order[row], signs[row])
    return out + np.float32(0)  # no -0


def _reorder_rows(weights: NDArray[np.float32], order: NDArray[np.int64], signs: NDArray[np.float32]) -> None:
    """Let the rows of (n, w, m) weights follow features of another order and other signs, (n, w) each."""
    weights[:] = np.take_along_axis(weights * signs[:, :, None], order[:, :, None], axis=1)
