"""What came of a pull so far: told by several threads, read when it ends."""

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
    """Adds up the summary of a pull. Its methods may be called from any thread; read it when these have ended."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self.summary = Summary(Plan([], [], []))
        self.forgotten: set[date] = set()  # days that the server no longer has
        self.ahead: set[date] = set()  # days that have not begun by the server's clock
        self.recorded: set[date] = set()  # in the manifest, by this pull
        self._replaced: set[date] = set()

    def nothing_learned(self, day: date, *, is_ahead: bool) -> None:
        """Note that the server had nothing to return of a day, because it has not begun or is forgotten."""
        with self._changing:
            (self.ahead if is_ahead else self.forgotten).add(day)

    def fetched(self, day: date, events: int) -> None:
        """Note that a day came complete, with a number of different events."""
        with self._changing:
            self.summary.fetched.append(day)
            self.summary.events_received += events

    def failed(self, day: date, error: ClientError) -> None:
        """Note that a day did not come."""
        with self._changing:
            self.summary.failed[day] = error

    def replaces(self, day: date) -> None:
        """Note that what came of a day takes the place of what its file holds."""
        with self._changing:
            self._replaced.add(day)

    def keeps(self, day: date) -> None:
        """Note that a day was to be replaced and is only merged."""
        with self._changing:
            self.summary.kept.append(day)

    def replaced_of(self, days: Iterable[date]) -> set[date]:
        """Return those of some days that are replaced."""
        with self._changing:
            return self._replaced & set(days)

    def merged(self, days: Iterable[date], *, new: int, written_bytes: int | None) -> None:
        """Note that days are in their file, with a number of new events; None if the file did not change."""
        with self._changing:
            self.recorded |= set(days)
            self.summary.events_new += new
            if written_bytes is not None:
                self.summary.files_written += 1
                self.summary.bytes_written += written_bytes
