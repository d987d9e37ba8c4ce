"""Regions that are kept exactly, as a layer shows them; also when one is damaged."""

from __future__ import annotations

import numpy as np

import napari_tinc as tinc
from napari_tinc.plugin.compare.original import measure
from napari_tinc.plugin.layers.display import DisplayVolume
from napari_tinc.plugin.layers.from_volume import promise_of_volume

SHAPE = (12, 20, 24)


def compressed() -> tuple[np.ndarray, np.ndarray, tinc.TincVolume]:
    values = np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.uint8)
    mask = np.zeros(SHAPE, bool)
    mask[2:7, 5:15, 6:12] = True
    return values, mask, tinc.compress(values, max_error=20, exact=mask)


def test_a_layer_shows_the_region_and_says_what_is_promised() -> None:
    values, mask, volume = compressed()
    shown = np.asarray(DisplayVolume(volume, 10**7, print).levels[0])
    assert (shown[mask] == values[mask]).all()
    assert promise_of_volume(volume) == "300 voxels bit for bit; every other voxel within 20"


def test_a_damaged_region_is_reported_once_and_does_not_stop_a_view() -> None:
    _, _, volume = compressed()
    data = bytearray(volume.parts.data())
    entry = next(entry for entry in volume.parts.entries() if entry.kind == 7)
    data[entry.start + entry.length // 2] ^= 1
    reported: list[str] = []
    display = DisplayVolume(tinc.TincVolume(bytes(data)), 10**7, reported.append)
    for _ in range(2):
        shown = np.asarray(display.levels[0])
    assert shown.shape == SHAPE and len(reported) == 1 and "REGION" in reported[0]


def test_another_original_breaks_the_promise() -> None:
    values, _, volume = compressed()
    assert not measure(volume, values).broken
    other = values.copy()
    other[3, 7, 8] ^= 1
    assert measure(volume, other).broken
