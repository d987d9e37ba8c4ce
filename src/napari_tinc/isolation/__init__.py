"""A fit in a separate process."""
