"""Files as arrays: volumes, the boxes they consist of, and a cache of what was decoded."""
