"""Everything that a caller may catch."""

from __future__ import annotations


class Cancelled(Exception):
    """The work was given up."""


class ChildError(Exception):
    """Another process ended without a result, or raised what has no counterpart here; one line.

    A note has that process's traceback. Never a RuntimeError: see :class:`napari_tinc.plugin.jobs.job.JobError`.
    """


class TincError(Exception):
    """A file that is not a good ``.tinc`` file of a version we read. Names what was stored and what was expected."""


class NotWithNetworks(ValueError):
    """A volume, or a size, that networks cannot do; it may be possible without them."""
