"""Bytes read from disk and servers, and written atomically; locks and checkpoints of jobs."""
