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
    from .blocks import Planned
    from .cancel import ChildError
    from .codec import compress, fit
    from .framing import TincError
    from .isolation import fit_isolated
    from .metrics import Quality
    from .pipeline import Finished, Preview
    from .training import Control, Progress
    from .volume import TincVolume, compare, open

_HOMES = {
    "ChildError": "cancel", "Control": "training", "Finished": "pipeline", "Planned": "blocks",
    "Preview": "pipeline", "Progress": "training", "Quality": "metrics", "TincError": "framing", "TincVolume": "volume",
    "compare": "volume", "compress": "codec", "fit": "codec", "fit_isolated": "isolation", "open": "volume",
}  # fmt: skip

__all__ = [
    "ChildError", "Control", "Finished", "Planned", "Preview", "Progress", "Quality", "TincError", "TincVolume",
    "compare", "compress", "fit", "fit_isolated", "open",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
