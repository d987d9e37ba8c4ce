"""The Compress panel."""
