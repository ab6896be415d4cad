"""Fetches one day from the server: complete and sorted, or an error."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from smsevents.client.errors import ClientError, IncompleteExport, Recovery
from smsevents.client.pull.arrivals import Arrivals
from smsevents.client.pull.clocks import Fetch
from smsevents.client.pull.days import end_of, start_of
from smsevents.client.pull.lines import EntryChecker, Lines
from smsevents.client.retry import Retry, Tries

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from smsevents.client.head import ExportHead
    from smsevents.client.pull.clocks import FetchClocks
    from smsevents.client.pull.directory import Directory
    from smsevents.client.pull.formats import Format
    from smsevents.client.pull.terms import PullObserver, Source, Stopping

PULL_DAY_TRIES_MAX = 4
PULL_BACKOFF_FIRST_SECONDS = 1
_POLICY = Retry(tries_max=PULL_DAY_TRIES_MAX, first_wait_seconds=PULL_BACKOFF_FIRST_SECONDS)


class DayFetcher:
    """Fetches days, each into arrivals of its own. Thread-safe."""

    def __init__(
        self, source: Source, directory: Directory, clocks: FetchClocks, *, report: PullObserver, stopping: Stopping
    ) -> None:
        self._source = source
        self._directory = directory
        self._clocks = clocks
        self._report = report
        self._stopping = stopping

    def fetch(self, day: date, format_: Format, hand_on: Callable[[Fetch, Arrivals], None]) -> None:
        """Fetch a day, written in a format if it comes in order, and hand it on once it is complete.

        A failed try leaves nothing behind, so the day is fetched again from the start some seconds later. Raises
        `ClientError` if the day cannot be fetched, and `Stopped`.
        """
        tries = Tries(_POLICY, lambda: 0.0, _is_worth_another_try)
        while True:
            try:
                with Arrivals(self._directory, format_) as arrivals:
                    hand_on(self._receive(day, arrivals), arrivals)
            except OSError as error:
                raise self._directory.unusable(error) from error
            except ClientError as error:
                wait_seconds = round(tries.wait_seconds(error))  # the policy has whole seconds and no jitter
                self._report.retried(day, error, wait_seconds)
                self._stopping.sleep(wait_seconds)
            else:
                return

    def _receive(self, day: date, arrivals: Arrivals) -> Fetch:
        start_ms, end_ms = start_of(day), end_of(day)
        directory = self._directory
        checker = EntryChecker(directory.layout.trackpoint, start_ms, end_ms, has_columns=directory.format.has_columns)
        sent_ms = self._clocks.own_ms()
        heads: list[ExportHead] = []
        where = directory.layout.filter
        choose = where.chooser()
        with closing(self._source(start_ms, end_ms, on_head=heads.append)) as batches:
            for batch in batches:
                self._stopping.check()
                lines = checker.received(batch)
                arrivals.add(Lines.of(choose(lines.entries, batch.events)) if where else lines)
                self._clocks.newest(checker.newest_ms)
                self._report.received(len(batch), len(batch.block))
        return Fetch(day, sent_ms, heads[-1] if heads else None)


def _is_worth_another_try(error: ClientError) -> bool:
    """Return whether to fetch a day again from the start. The client itself has already retried brief failures."""
    return error.recovery is Recovery.LATER or (isinstance(error, IncompleteExport) and error.recovery is Recovery.NOW)
