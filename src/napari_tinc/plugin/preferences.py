"""What the user set under Preferences > TINC."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preferences:
    """Defaults are those of napari.yaml, for when the plugin is disabled and used from a script."""

    ratio: int = 64
    preset: str = "balanced"
    device: str = "auto"
    eager_megavoxels: int = 8


def read_preferences() -> Preferences:
    """The present settings."""
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings("napari-tinc")
    except KeyError:
        return Preferences()
    compressing, opening = settings.compressing, settings.opening
    return Preferences(compressing.ratio, compressing.preset, compressing.device, opening.eager_megavoxels)


def remember(ratio: int, preset: str) -> None:
    """Start with these the next time, in a new session, too."""
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings("napari-tinc")
    except KeyError:
        return
    settings.compressing.ratio, settings.compressing.preset = ratio, preset
