"""The errors of a pull. The text of each says what was wrong, where, and what to do next.

ClientError                 (smsevents.client.errors)
└── PullError
    ├── BadEvent            a line is not an event of the requested shop and interval
    ├── DamagedFile         a file of the directory is not as a pull wrote it
    ├── DirectoryInUse      another pull is running in the directory
    ├── OtherOptions        the directory was created with other options
    ├── DirectoryUnusable   the directory cannot be read or written
    ├── HelperGone          the process that received a day for the pull has ended
    └── Stopped             the pull was asked to stop
"""

from __future__ import annotations

from smsevents.client.errors import ClientError, Recovery


class PullError(ClientError):
    """The root of the errors of a pull."""


class BadEvent(PullError):
    """A line is not an event of the requested shop and interval."""

    recovery = Recovery.LATER


class DamagedFile(PullError):
    """A file of the directory is not as a pull wrote it."""


class DirectoryInUse(PullError):
    """Another pull is running in the directory."""


class OtherOptions(PullError):
    """The directory was created with other options."""


class DirectoryUnusable(PullError):
    """The directory cannot be read or written."""

    fails_all = True


class HelperGone(PullError):
    """The process that received a day for the pull has ended. Without it, the pull receives the day itself."""

    recovery = Recovery.LATER

    def __init__(self) -> None:
        super().__init__("The process that received this day has ended. The pull goes on without it.")


class Stopped(PullError):
    """The pull was asked to stop."""
