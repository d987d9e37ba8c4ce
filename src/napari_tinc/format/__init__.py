"""The bytes of a file: docs/reference/format.md in code."""
