"""Compress 3D volumes into tiny ``.tinc`` files: an octree of tiny neural networks (TINC-Plus).

    import napari_tinc as tinc
    volume = tinc.compress(array, ratio=64)
    volume.save("brain.tinc")
    np.asarray(tinc.open("brain.tinc")[40])

The public names are those of ``__init__.pyi``. Each is imported when it is first used, so that importing this package
imports neither NumPy nor torch nor Qt.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
