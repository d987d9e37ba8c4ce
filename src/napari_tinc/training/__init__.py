"""Fitting one tree of networks."""
