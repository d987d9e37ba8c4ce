"""Fit one tree of networks: from a volume and a number of bytes to a file."""
