"""The bytes of a file: docs/format.md in code."""
