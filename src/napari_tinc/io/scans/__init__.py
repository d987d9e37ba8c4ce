"""Formats of CT, MRI and electron microscopes, which say where a volume lies in the world."""
