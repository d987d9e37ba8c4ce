"""Measurements: python -m benchmarks.ROOM.SCRIPT from the root of a checkout; README.md lists them."""
