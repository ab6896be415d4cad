"""The report of a pull for people: a progress bar. It is loaded only for a terminal, because loading it takes time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from smsevents.client.pull.terms import PullObserver

if TYPE_CHECKING:
    from datetime import date

    from smsevents.client.errors import ClientError
    from smsevents.client.pull.days import Plan

_RATE_OVER_SECONDS = 30.0


class ProgressReport(PullObserver):
    """A progress bar on standard error, on a terminal only: days, events, bytes, rate and remaining time."""

    def __init__(self) -> None:
        terminal = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("days  {task.fields[events]:,} events  {task.fields[megabytes]:,.0f} MB"),
            TextColumn("{task.fields[rate]:,.0f} events/s"),
            TimeRemainingColumn(),
            console=terminal,
            disable=not terminal.is_terminal,
            transient=True,
            speed_estimate_period=_RATE_OVER_SECONDS,
        )
        self._task = self._bar.add_task("", total=None, events=0, megabytes=0.0, rate=0.0)
        self._counting = threading.Lock()
        self._events = 0
        self._bytes = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def planned(self, plan: Plan) -> None:
        """Show how many days there are to fetch."""
        self._bar.update(self._task, total=len(plan.fetch))

    def received(self, events: int, size_bytes: int) -> None:
        """Add received events and bytes to the bar."""
        with self._counting:
            self._events += events
            self._bytes += size_bytes
            elapsed = self._bar.tasks[0].elapsed or 0
            rate = self._events / elapsed if elapsed else 0.0
            self._bar.update(self._task, events=self._events, megabytes=self._bytes / 1e6, rate=rate)

    def retried(self, day: date, error: ClientError, wait_seconds: float) -> None:
        """Show why a day is retried."""
        self._say(f"{day} will be retried in {wait_seconds:g} s: {error}")

    def fetched(self, day: date, events: int) -> None:  # noqa: ARG002 -- the bar counts days
        """Show that a day is done."""
        self._bar.advance(self._task)

    def failed(self, day: date, error: ClientError) -> None:  # noqa: ARG002 -- reported at the end
        """Show that a day is done. The summary at the end names each cause exactly once."""
        self._bar.advance(self._task)

    def _say(self, text: str) -> None:
        """Print a line above the bar. Without a bar nothing is printed; the summary says what matters."""
        if not self._bar.disable:
            self._bar.console.print(text, markup=False, highlight=False)
