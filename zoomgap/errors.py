"""The few exceptions that cross rooms. The CLI renders each as one line and an exit code.

Every message names the value, the rule that it broke and the remedy, on one line.
"""

from __future__ import annotations


class ZoomgapError(Exception):
    """Something failed while working: exit code 1."""

    exit_code = 1


class UsageError(ZoomgapError):
    """Bad usage or bad input (an unknown name, a wrong path, a broken image): exit code 2."""

    exit_code = 2


class ImageError(UsageError):
    """An image cannot be read, or breaks a limit."""


class StoreError(ZoomgapError):
    """The database or its object store cannot be read or written."""


class ModelError(ZoomgapError):
    """A model or endpoint gave no reply. Never counted as an answer."""


class TooLongError(ModelError):
    """A request has more tokens than the model takes."""


class RefusedError(ModelError):
    """An endpoint turns every request away (its key, rights, credit or the model's name): a run had better stop."""


class Interrupted(ZoomgapError):
    """The user pressed Ctrl-C: exit code 130."""

    exit_code = 130
