"""Zarr and OME-Zarr images: where they are stored, what their metadata say, and their arrays."""
