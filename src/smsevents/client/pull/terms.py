"""The inputs and outputs of a pull: the source of events, the options, the reports, and the summary."""

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
    from smsevents.client.pull.drafts import FileRecord
    from smsevents.client.pull.message_files import MessageFile

PULL_JOBS = 4
PULL_JOBS_MAX = 16
PULL_LOOKBACK_DAYS = 3


class Source(Protocol):
    """A source of events, such as `Client.export_received`."""

    def __call__(self, from_: int, to: int, /, *, on_head: OnHead, in_arrow: bool) -> Generator[Batch]:
        """Yield the events of a closed interval, at least the wanted ones, with `in_arrow` as columns of Arrow.

        Raises `ClientError` if the events are incomplete. Before the events, `on_head` receives what the server says
        about time.
        """


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """What to pull, and how. `replace` rewrites files with the server's current data, including files of final days."""

    first: date | None = None
    last: date | None = None
    jobs: int = PULL_JOBS
    lookback_days: int = PULL_LOOKBACK_DAYS
    replace: bool = False


class PullObserver:
    """Receives the progress of a pull, from several threads. This base class ignores it; subclasses show it."""

    def planned(self, plan: Plan) -> None:
        """PullObserver the plan."""

    def warned(self, text: str) -> None:
        """PullObserver a problem that does not stop the pull."""

    def received(self, events: int, size_bytes: int) -> None:
        """PullObserver received events, including those of a try that later fails."""

    def retried(self, day: date, error: ClientError, wait_seconds: float) -> None:
        """PullObserver that a day will be retried after a wait."""

    def fetched(self, day: date, events: int) -> None:
        """PullObserver that a complete day was fetched, with its number of distinct events."""

    def failed(self, day: date, error: ClientError) -> None:
        """PullObserver that a day failed."""

    def written(self, name: str, record: FileRecord, new: int, *, changed: bool) -> None:
        """PullObserver that a file is up to date. `new` counts the events added; an unchanged file is not rewritten."""

    def removed(self, name: str) -> None:
        """PullObserver that a file was removed because none of its events is left."""

    def messages_written(self, name: str, record: MessageFile, *, changed: bool) -> None:
        """PullObserver that a file of messages is up to date; an unchanged file is not rewritten."""


@dataclass
class MessagesSummary:
    """What a pull wrote into the files of messages, or why they are not up to date."""

    files_written: int = 0
    messages_written: int = 0
    bytes_written: int = 0
    error: ClientError | None = None


@dataclass
class Summary:
    """The result of a pull.

    `lost`: days since the first pull that left the server's history before they were fetched; each is reported only
    once. `absent`: other days of the window that are neither in the server's history nor in the directory. `kept`:
    days that should have been replaced but were only merged, because the server's data may have been incomplete.
    """

    plan: Plan
    fetched: list[date] = field(default_factory=list)
    failed: dict[date, ClientError] = field(default_factory=dict)
    lost: list[date] = field(default_factory=list)
    absent: list[date] = field(default_factory=list)
    kept: list[date] = field(default_factory=list)
    has_nothing: bool = False  # no day of the window was available, now or earlier
    warnings: list[str] = field(default_factory=list)
    events_received: int = 0
    events_new: int = 0
    files_written: int = 0
    bytes_written: int = 0
    messages: MessagesSummary | None = None  # if the directory has files of messages

    @property
    def missing(self) -> list[date]:
        """The days that should have been fetched but were not, whether tried or not."""
        return sorted(set(self.plan.fetch) - set(self.fetched))

    @property
    def is_complete(self) -> bool:
        """Whether every day of the window that can be available is available."""
        is_behind = self.messages is not None and self.messages.error is not None
        return not (self.missing or self.failed or self.lost or self.kept or self.has_nothing or is_behind)


class Stopping:
    """Stops a pull early: waits end immediately, and no new work starts."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def stop(self) -> None:
        """Stop the pull."""
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether the pull is stopping."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopped` if the pull is stopping."""
        if self._event.is_set():
            raise Stopped("The pull was stopped.")

    def sleep(self, seconds: float) -> None:
        """Wait. Raises `Stopped` as soon as the pull is stopping."""
        if self._event.wait(seconds):
            raise Stopped("The pull was stopped.")
