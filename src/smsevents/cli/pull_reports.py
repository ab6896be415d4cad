"""The report of a pull for programs: JSON lines.

The JSON lines are a contract; docs/pull.md has the table of their members.
"""

from __future__ import annotations

import threading
from datetime import date
from typing import IO, TYPE_CHECKING

import msgspec
from msgspec import Struct

from smsevents.cli.output import OutputFailed
from smsevents.client.pull.single import messages_path
from smsevents.client.pull.terms import PullObserver

if TYPE_CHECKING:
    from pathlib import Path

    from smsevents.client.errors import ClientError
    from smsevents.client.pull.days import Plan
    from smsevents.client.pull.directory import Layout
    from smsevents.client.pull.drafts import FileRecord
    from smsevents.client.pull.message_files import MessageFile
    from smsevents.client.pull.terms import Stopping, Summary


class PlanLine(Struct, tag_field="kind", tag="plan"):
    """The first line: what the pull is going to fetch."""

    trackpoint: int
    url: str
    directory: str
    format: str
    split: str
    days_to_fetch: int
    days_final: int
    days_expired: int


class RetryLine(Struct, tag_field="kind", tag="retry"):
    """The response for a day was incomplete; the day is retried."""

    day: date
    error: str
    wait_seconds: float


class DayLine(Struct, tag_field="kind", tag="day"):
    """The response for a day was complete."""

    day: date
    events: int


class WarningLine(Struct, tag_field="kind", tag="warning"):
    """Something is wrong, such as a clock, but the pull continues."""

    text: str


class FailedLine(Struct, tag_field="kind", tag="failed"):
    """A day could not be fetched, or could not be merged with its file."""

    day: date
    error: str


class FileLine(Struct, tag_field="kind", tag="file"):
    """A file is up to date."""

    file: str
    events: int
    events_new: int
    bytes: int
    sha256: str
    changed: bool


class MessagesLine(Struct, tag_field="kind", tag="messages"):
    """A file of messages is up to date."""

    file: str
    messages: int
    bytes: int
    sha256: str
    changed: bool


class RemovedLine(Struct, tag_field="kind", tag="removed"):
    """A file was removed because none of its events is left."""

    file: str


class SummaryLine(Struct, tag_field="kind", tag="summary"):
    """The last line: the totals and the outcome of the pull."""

    complete: bool
    days_fetched: int
    days_final: int
    days_expired: int
    days_failed: dict[date, str]
    days_untried: list[date]
    days_lost: list[date]
    days_kept: list[date]
    events_received: int
    events_new: int
    files_written: int
    bytes_written: int
    messages_written: int
    messages_error: str | None
    seconds: float


class JsonReport(PullObserver):
    """One JSON object per line, each written immediately.

    If the output cannot be written, because its disk is full or its reader is gone, the pull is stopped and `broken`
    holds the error: the day being fetched is not at fault.
    """

    def __init__(self, out: IO[str], path: Path, layout: Layout, stopping: Stopping, *, single: bool = False) -> None:
        """Report a pull into the directory `path`, or into that file if `single` is true."""
        self._out = out
        self._path = path
        self._layout = layout
        self._single = single
        self._stopping = stopping
        self._writing = threading.Lock()
        self.broken: OutputFailed | None = None

    def _write(self, line: Struct) -> None:
        with self._writing:
            if self.broken:
                return
            try:
                self._out.write(msgspec.json.encode(line).decode() + "\n")
                self._out.flush()
            except OutputFailed as error:
                self.broken = error
                self._stopping.stop()

    def planned(self, plan: Plan) -> None:
        """Write the plan."""
        layout = self._layout
        self._write(
            PlanLine(
                trackpoint=layout.trackpoint,
                url=layout.url,
                directory=str(self._path.parent if self._single else self._path),
                format=layout.format,
                split=layout.split,
                days_to_fetch=len(plan.fetch),
                days_final=len(plan.final),
                days_expired=len(plan.expired),
            )
        )

    def warned(self, text: str) -> None:
        """Write a warning."""
        self._write(WarningLine(text))

    def removed(self, name: str) -> None:
        """Write that a file was removed."""
        self._write(RemovedLine(name))

    def retried(self, day: date, error: ClientError, wait_seconds: float) -> None:
        """Write that a day is retried."""
        self._write(RetryLine(day, str(error), wait_seconds))

    def fetched(self, day: date, events: int) -> None:
        """Write that a day was fetched."""
        self._write(DayLine(day, events))

    def failed(self, day: date, error: ClientError) -> None:
        """Write that a day failed."""
        self._write(FailedLine(day, str(error)))

    def written(self, name: str, record: FileRecord, new: int, *, changed: bool) -> None:
        """Write that a file is up to date."""
        self._write(FileLine(self._shown(name), record.events, new, record.bytes, record.sha256, changed))

    def messages_written(self, name: str, record: MessageFile, *, changed: bool) -> None:
        """Write that a file of messages is up to date."""
        shown = messages_path(self._path).name if self._single else name
        self._write(MessagesLine(shown, record.messages, record.bytes, record.sha256, changed))

    def _shown(self, name: str) -> str:
        return self._path.name if self._single else name

    def summary(self, summary: Summary, seconds: float) -> None:
        """Write the last line."""
        plan, messages = summary.plan, summary.messages
        self._write(
            SummaryLine(
                complete=summary.is_complete,
                days_fetched=len(summary.fetched),
                days_final=len(plan.final),
                days_expired=len(plan.expired),
                days_failed={day: str(error) for day, error in sorted(summary.failed.items())},
                days_untried=[day for day in summary.missing if day not in summary.failed],
                days_lost=summary.lost,
                days_kept=summary.kept,
                events_received=summary.events_received,
                events_new=summary.events_new,
                files_written=summary.files_written,
                bytes_written=summary.bytes_written,
                messages_written=messages.messages_written if messages else 0,
                messages_error=str(messages.error) if messages and messages.error else None,
                seconds=round(seconds, 3),
            )
        )
