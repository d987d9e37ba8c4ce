"""A part of the voxels that matters more: regions that are kept exactly, and importance."""
