"""Boxes within an error bound, or bit for bit: docs/residual-format.md in code."""
