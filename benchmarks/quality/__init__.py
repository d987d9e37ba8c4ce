"""Bytes against errors."""
