"""A file for a browser: the page of ``docs/viewer/``, served on this machine, or as one page with the file inside."""
