"""Fetches one day from the server: complete and sorted, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.client.errors import ClientError, IncompleteExport, Recovery
from smsevents.client.retry import Retry, Tries

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from smsevents.client.pull.clocks import Fetch, FetchClocks
    from smsevents.client.pull.directory import Directory
    from smsevents.client.pull.formats import Format
    from smsevents.client.pull.receive import Arrived, Receiver
    from smsevents.client.pull.terms import PullObserver, Stopping

PULL_DAY_TRIES_MAX = 4
PULL_BACKOFF_FIRST_SECONDS = 1
_POLICY = Retry(tries_max=PULL_DAY_TRIES_MAX, first_wait_seconds=PULL_BACKOFF_FIRST_SECONDS)


class DayFetcher:
    """Fetches days, each into arrivals of its own. Thread-safe."""

    def __init__(self, directory: Directory, clocks: FetchClocks, *, report: PullObserver, stopping: Stopping) -> None:
        self._directory = directory
        self._clocks = clocks
        self._report = report
        self._stopping = stopping

    def fetch(self, day: date, format_: Format, receiver: Receiver, hand_on: Callable[[Fetch, Arrived], None]) -> None:
        """Fetch a day, written in a format if it comes in order, and hand it on once it is complete.

        A failed try leaves nothing behind, so the day is fetched again from the start some seconds later. Raises
        `ClientError` if the day cannot be fetched, and `Stopped`.
        """
        tries = Tries(_POLICY, lambda: 0.0, _is_worth_another_try)
        while True:
            self._stopping.check()
            try:
                with receiver.receive(day, format_, self._clocks.own_ms()) as (fetch, arrived):
                    hand_on(fetch, arrived)
            except OSError as error:
                raise self._directory.unusable(error) from error
            except ClientError as error:
                self._stopping.check()
                wait_seconds = round(tries.wait_seconds(error))  # the policy has whole seconds and no jitter
                self._report.retried(day, error, wait_seconds)
                self._stopping.sleep(wait_seconds)
            else:
                return


def _is_worth_another_try(error: ClientError) -> bool:
    """Return whether to fetch a day again from the start. The client itself has already retried brief failures."""
    return error.recovery is Recovery.LATER or (isinstance(error, IncompleteExport) and error.recovery is Recovery.NOW)
