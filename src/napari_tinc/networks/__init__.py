"""A tree of sine networks: what it is, its values, how its weights are stored."""
