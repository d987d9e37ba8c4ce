"""The settings of the user under Preferences > TINC."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preferences:
    """Hold the settings. The defaults are those of napari.yaml, for scripts that run without the plugin enabled."""

    target: str = "Ratio"
    ratio: int = 64
    size: float = 100
    psnr: float = 35
    max_error: float = 0
    preset: str = "balanced"
    device: str = "auto"
    isolate: bool = True
    eager_megavoxels: int = 8
    cache_megabytes: int = 256


def read_preferences() -> Preferences:
    """Return the present settings."""
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings("napari-tinc")
    except KeyError:
        return Preferences()
    compressing, opening = settings.compressing, settings.opening
    return Preferences(
        compressing.target, compressing.ratio, compressing.size, compressing.psnr, compressing.max_error,
        compressing.preset, compressing.device, compressing.isolate, opening.eager_megavoxels, opening.cache_megabytes,
    )  # fmt: skip


def save_preferences(**chosen: str | float | bool) -> None:
    """Save some fields of :class:`Preferences`, which the Compress dock starts with in the next session, too."""
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings("napari-tinc")
    except KeyError:
        return
    for name, value in chosen.items():
        setattr(settings.compressing, name, value)
