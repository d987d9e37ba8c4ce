"""The Leaves panel."""
