"""The errors that a caller may catch."""

from __future__ import annotations


class Cancelled(Exception):
    """The work was given up because :attr:`.Control.cancel` was set."""


class ChildError(Exception):
    """Another process ended without a result, or raised an error that has no counterpart here. The message is one line.

    A note has the traceback of that process. It is never a RuntimeError: see
    :class:`napari_tinc.plugin.jobs.job.JobError`.
    """


class TincError(Exception):
    """A file is not a valid ``.tinc`` file of a version that can be read.

    The message has the stored and the expected value.
    """


class NotWithNetworks(ValueError):
    """Networks cannot compress this volume, or not to this size. The predictive coder may still do it."""


class ReadWarning(UserWarning):
    """An image was read, but something in its file is doubtful or was left out. The message is one line."""
