"""A file as an array: volumes, what their boxes hold, and what is kept of them in memory."""
