"""What a save tells of a layer that a file cannot keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from napari.utils import Colormap
from volumes import small_array

from napari_tinc.plugin.layers.lost_on_save import lost_on_save


def told(array: Any = None, **changed: Any) -> str:
    layer = Image(small_array() if array is None else array, contrast_limits=(3, 5), **changed)
    return lost_on_save(layer.as_layer_data_tuple()[1])


@pytest.mark.parametrize(
    "changed",
    [
        {}, {"translate": (1, 0, 0)}, {"rotate": 30}, {"shear": (0.1, 0, 0)}, {"affine": np.diag([2, 1, 1, 1])},
        {"scale": (1, -1, 1), "units": ("um",) * 3}, {"colormap": "magma", "gamma": 0.5, "name": "b"},
        {"colormap": Colormap([[0, 0, 0], [1, 0.5, 0]], name="mine")},
    ],
)  # fmt: skip
def test_nothing_where_the_file_keeps_all(changed: dict[str, Any]) -> None:
    assert told(**changed) == ""


def test_what_is_along_other_axes() -> None:
    series = np.zeros((2, 4, 5, 6), np.uint8)
    assert told(series, scale=(2, 3, 1, 1), translate=(0, 1, 1, 1)) == ""
    assert told(series, translate=(7, 0, 0, 0)).startswith("The file keeps the place along z, y, x only")


def test_a_colormap_of_many_colours() -> None:
    many = Colormap(np.random.default_rng(0).random((40, 4)), name="many")
    assert told(colormap=many) == "The file does not keep the colormap."
