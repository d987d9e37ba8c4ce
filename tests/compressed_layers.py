"""What tests of docks need of a viewer: a compressed layer, and what was notified."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

import napari_tinc as tinc
from napari_tinc.plugin.layers.from_volume import to_layer


def add(viewer: ViewerModel, volume: tinc.TincVolume, name: str = "a (tinc)") -> Any:
    data, arguments = to_layer(volume, name, 10**6)
    return viewer.add_image(data, **arguments)


def notified() -> list[str]:
    return [notification.message for notification in notification_manager.records]
