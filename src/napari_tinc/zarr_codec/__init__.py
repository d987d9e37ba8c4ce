"""The Zarr v3 codec "tinc": chunks of a Zarr array as `.tinc` files. zarr-python finds it by its entry point.

import zarr
from napari_tinc.zarr_codec import TincCodec
array = zarr.create_array("v.zarr", data=volume, chunks=(128, 128, 128), serializer=TincCodec(max_error=2))
"""

from zarr.registry import register_codec

from .codec import NAME, TincCodec

__all__ = ["TincCodec"]

register_codec(NAME, TincCodec)  # For a program that imports this from a folder, without the entry point.
