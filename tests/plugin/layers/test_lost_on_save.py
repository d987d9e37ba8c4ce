"""What a save tells of a layer that a file cannot keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from volumes import small_array, small_volume

from napari_tinc.plugin.layers.lost_on_save import lost_on_save


def told(**changed: Any) -> str:
    low, high = small_volume().value_range
    layer = Image(small_array(), contrast_limits=(low, high), **changed)
    return lost_on_save(layer.as_layer_data_tuple()[1], small_volume())


def test_nothing_where_the_file_keeps_all() -> None:
    assert told() == "" and told(scale=(2, 1, 1), units=("um",) * 3, name="b") == ""


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"translate": (1, 0, 0)}, "translate"),
        ({"rotate": 30}, "rotate"),
        ({"shear": (0.1, 0, 0)}, "shear"),
        ({"affine": np.diag([2, 1, 1, 1])}, "affine"),
        ({"scale": (1, -1, 1)}, "the flip by a negative scale"),
        ({"translate": (1, 0, 0), "rotate": 30}, "translate and rotate"),
    ],
)
def test_the_place(changed: dict[str, Any], named: str) -> None:
    assert told(**changed) == f"The file does not keep {named}: opened again, the layer lies elsewhere."


def test_the_look_in_the_same_line() -> None:
    assert told(colormap="magma", gamma=0.5) == "The file does not keep the colormap and gamma."
    layer = Image(small_array(), contrast_limits=(3, 5), translate=(1, 1, 1))
    assert lost_on_save(layer.as_layer_data_tuple()[1], small_volume()).endswith("Nor does it keep contrast limits.")
