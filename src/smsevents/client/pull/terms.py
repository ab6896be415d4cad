"""What a pull is told and what it tells: where events come from, what is chosen, who is told, what came of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from smsevents.client.pull.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import date

    from smsevents.client.errors import ClientError
    from smsevents.client.head import OnHead
    from smsevents.client.lines import Batch
    from smsevents.client.pull.days import Plan
    from smsevents.client.pull.directory import FileRecord

PULL_JOBS = 4
PULL_JOBS_MAX = 16
PULL_LOOKBACK_DAYS = 3


class Source(Protocol):
    """Where events come from; `Client.export_batches` is one."""

    def __call__(self, from_: int, to: int, /, *, on_head: OnHead) -> Generator[Batch]:
        """Give the events of a closed interval; raise `ClientError` unless they are all there is.

        `on_head` is told what the server says about time, before the events.
        """


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """What to pull, and how. `replace` rewrites files from what the server has, also those of final days."""

    first: date | None = None
    last: date | None = None
    jobs: int = PULL_JOBS
    lookback_days: int = PULL_LOOKBACK_DAYS
    replace: bool = False


class PullObserver:
    """Told what happens, from several threads. This one keeps silent; others override what they show."""

    def planned(self, plan: Plan) -> None:
        """Tell what will be done."""

    def warned(self, text: str) -> None:
        """Tell what is wrong though the pull goes on."""

    def received(self, events: int, size_bytes: int) -> None:
        """Tell that events came, also in a try that is not whole in the end."""

    def retried(self, day: date, error: ClientError, wait_seconds: float) -> None:
        """Tell that a day is tried again after a wait."""

    def fetched(self, day: date, events: int) -> None:
        """Tell that a day came whole, with so many different events."""

    def failed(self, day: date, error: ClientError) -> None:
        """Tell that a day did not come."""

    def written(self, name: str, record: FileRecord, new: int, *, changed: bool) -> None:
        """Tell that a file is up to date: `new` events were not in it before; unchanged ones are not written."""

    def removed(self, name: str) -> None:
        """Tell that a file was removed, as none of its events is left."""


@dataclass
class Summary:
    """What came of a pull.

    `lost` are days since the first pull that the server forgot before they were fetched, each told once. `absent`
    are other days of the window that the server has forgotten and the directory does not have. `kept` are days that
    were to be replaced and were only merged, as it was not certain that the server gave all of them.
    """

    plan: Plan
    fetched: list[date] = field(default_factory=list)
    failed: dict[date, ClientError] = field(default_factory=dict)
    lost: list[date] = field(default_factory=list)
    absent: list[date] = field(default_factory=list)
    kept: list[date] = field(default_factory=list)
    has_nothing: bool = False  # no day of the window could be had, now or before
    warnings: list[str] = field(default_factory=list)
    events_received: int = 0
    events_new: int = 0
    files_written: int = 0
    bytes_written: int = 0

    @property
    def missing(self) -> list[date]:
        """Give the days that should have been fetched and were not, tried or not."""
        return sorted(set(self.plan.fetch) - set(self.fetched))

    @property
    def is_complete(self) -> bool:
        """Whether every day of the window is there that can be there."""
        return not (self.missing or self.failed or self.lost or self.kept or self.has_nothing)


class Stopping:
    """Ends a pull early: waits end at once, and nothing new is begun."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def stop(self) -> None:
        """Let the pull end."""
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether the pull is to end."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopped` if the pull is to end."""
        if self._event.is_set():
            raise Stopped("The pull was stopped.")

    def sleep(self, seconds: float) -> None:
        """Wait. Raises `Stopped` as soon as the pull is to end."""
        if self._event.wait(seconds):
            raise Stopped("The pull was stopped.")
