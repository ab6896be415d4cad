"""The results of a pull so far: written by several threads, read when the pull ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from smsevents.client.pull.days import Plan
from smsevents.client.pull.terms import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from smsevents.client.errors import ClientError


class Ledger:
    """Collects the summary of a pull. The methods are thread-safe; read the attributes after the threads have ended."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self.summary = Summary(Plan([], [], []))
        self.forgotten: set[date] = set()  # days that the server no longer has
        self.ahead: set[date] = set()  # days that have not begun by the server's clock
        self.recorded: set[date] = set()  # in the manifest, by this pull
        self._replaced: set[date] = set()

    def nothing_learned(self, day: date, *, is_ahead: bool) -> None:
        """Record that the server has no events of a day because it has not begun or is no longer in the history."""
        with self._changing:
            (self.ahead if is_ahead else self.forgotten).add(day)

    def fetched(self, day: date, events: int) -> None:
        """Record that a complete day was fetched, with its number of distinct events."""
        with self._changing:
            self.summary.fetched.append(day)
            self.summary.events_received += events

    def failed(self, day: date, error: ClientError) -> None:
        """Record that a day failed."""
        with self._changing:
            self.summary.failed[day] = error

    def replaces(self, day: date) -> None:
        """Record that a fetched day replaces what its file holds of it."""
        with self._changing:
            self._replaced.add(day)

    def keeps(self, day: date) -> None:
        """Record that a day should have been replaced but was only merged."""
        with self._changing:
            self.summary.kept.append(day)

    def replaced_of(self, days: Iterable[date]) -> set[date]:
        """Return those of the days that are replaced."""
        with self._changing:
            return self._replaced & set(days)

    def merged(self, days: Iterable[date], *, new: int, written_bytes: int | None) -> None:
        """Record that days are in their file, with `new` new events. `written_bytes` is None for an unchanged file."""
        with self._changing:
            self.recorded |= set(days)
            self.summary.events_new += new
            if written_bytes is not None:
                self.summary.files_written += 1
                self.summary.bytes_written += written_bytes
