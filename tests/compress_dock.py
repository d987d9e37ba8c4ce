"""What tests of the Compress dock share: settings for short fits, and waiting for a job."""

from __future__ import annotations

from typing import Any

from napari_tinc.plugin.compress.widget import CompressWidget
from napari_tinc.plugin.preferences import Preferences

QUICK = Preferences(ratio=12, preset="fast", device="cpu", isolate=False)  # where tests can reach it


def finish(qtbot: Any, widget: CompressWidget) -> str:
    qtbot.waitUntil(lambda: widget.queue.running is None, timeout=60_000)
    return widget.status.value
