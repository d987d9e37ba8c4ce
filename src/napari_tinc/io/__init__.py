"""Images of other formats: read and written."""
