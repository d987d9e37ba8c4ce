"""Volumes as layers, and layers as volumes."""
