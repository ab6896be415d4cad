"""The errors of a pull. The text of each says what was wrong, where, and what to do next.

ClientError                 (smsevents.client.errors)
└── PullError
    ├── BadEvent            a line is not an event of the shop and the interval that were asked for
    ├── DamagedFile         a file of the directory is not what a pull writes
    ├── DirectoryInUse      another pull works in the directory
    ├── OtherOptions        the directory was begun with other options
    ├── DirectoryUnusable   the directory cannot be read or written
    └── Stopped             the pull was asked to end
"""

from __future__ import annotations

from smsevents.client.errors import ClientError, Recovery


class PullError(ClientError):
    """The root of what a pull raises by itself."""


class BadEvent(PullError):
    """A line is not an event of the shop and the interval that were asked for."""

    recovery = Recovery.LATER


class DamagedFile(PullError):
    """A file of the directory is not what a pull writes."""


class DirectoryInUse(PullError):
    """Another pull works in the directory."""


class OtherOptions(PullError):
    """The directory was begun with other options."""


class DirectoryUnusable(PullError):
    """The directory cannot be read or written."""

    fails_all = True


class Stopped(PullError):
    """The pull was asked to end."""
