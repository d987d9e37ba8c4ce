"""Boxes within an error bound, or bit for bit: docs/reference/residual-format.md in code."""
