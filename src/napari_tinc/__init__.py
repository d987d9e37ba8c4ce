"""Compress 3D volumes into tiny ``.tinc`` files: an octree of tiny neural networks (TINC-Plus).

    import napari_tinc as tinc
    volume = tinc.compress(array, ratio=64)
    volume.save("brain.tinc")
    np.asarray(tinc.open("brain.tinc")[40])

Importing this imports neither torch nor Qt; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .control import Control
    from .decoding.volume import TincVolume, compare, open
    from .encoding.compress import compress, fit
    from .encoding.options import Options
    from .errors import ChildError, TincError
    from .events import Finished, Planned, Preview, Progress
    from .isolation.caller import fit_isolated
    from .metrics import Quality

_HOMES = {
    "ChildError": "errors",
    "Control": "control",
    "Finished": "events",
    "Options": "encoding.options",
    "Planned": "events",
    "Preview": "events",
    "Progress": "events",
    "Quality": "metrics",
    "TincError": "errors",
    "TincVolume": "decoding.volume",
    "compare": "decoding.volume",
    "compress": "encoding.compress",
    "fit": "encoding.compress",
    "fit_isolated": "isolation.caller",
    "open": "decoding.volume",
}

__all__ = [
    "ChildError", "Control", "Finished", "Options", "Planned", "Preview", "Progress", "Quality", "TincError",
    "TincVolume", "compare", "compress", "fit", "fit_isolated", "open",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
