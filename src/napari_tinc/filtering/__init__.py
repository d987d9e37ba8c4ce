"""A filter of a few coefficients that brings blocks of the predictive coder closer to the original."""
