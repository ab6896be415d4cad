"""How far a sync got, by two clocks: this machine's and the server's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.client.head import CLOCK_DIFFERENCE_MAX_MS, UNCONFIRMED_MAX_MS, clock_warning
from smsevents.wire.limits import HISTORY_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsevents.client.head import ExportHead


class Reached:
    """What a run, or its steps, read and when. All times are Unix milliseconds."""

    def __init__(self) -> None:
        self.start = self.end = self._now = 0
        self.history_start: int | None = None  # the start of the server's history, by the earlier clock
        self.warning: str | None = None
        self._server_ahead_ms: int | None = None
        self._newest = 0

    def begin(self, start: int, end: int, now: int) -> None:
        """Record the interval to read, and the time by this machine's clock."""
        self.start, self.end, self._now = start, end, now

    def heard(self, head: ExportHead) -> None:
        """Record what the server says about time."""
        if self.history_start is None:
            now = head.sent_ms if head.date_ms is None else min(head.sent_ms, head.date_ms)
            self.history_start = now - HISTORY_MS
        if head.date_ms is None:
            return
        ahead = head.date_ms - head.sent_ms
        self._server_ahead_ms = ahead if self._server_ahead_ms is None else min(self._server_ahead_ms, ahead)
        if self.warning is None and (difference := head.clock_difference_ms):
            self.warning = clock_warning(difference)

    def missed(self) -> tuple[int, int] | None:
        """Return the interval that a clock ahead of the server's left out as too old, but the server still has."""
        if self.history_start is None or not self.history_start < self.start <= self._now - HISTORY_MS:
            return None
        return self.history_start, min(self.start - 1, self.history_start + HISTORY_MS)

    def later(self) -> tuple[int, int] | None:
        """Return the interval from the end to the server's now, if this machine's clock is behind.

        Its events are loaded but do not count as loaded: the next run reads them again.
        """
        ahead = self._server_ahead_ms
        if ahead is None or ahead <= CLOCK_DIFFERENCE_MAX_MS or self.end < self._now:
            return None
        return self.end + 1 + max(0, ahead - HISTORY_MS), self.end + ahead

    def newest(self, dates: Iterable[int]) -> None:
        """Record the dates of events."""
        self._newest = max(self._newest, max(dates, default=0))

    def by_both_clocks(self, before: int | None) -> int:
        """Return how far the interval reaches by the earlier clock, but never less than `before`, if that is past.

        If the server does not send its time, the date of its newest event is used instead.
        """
        if self._server_ahead_ms is not None:
            now = self._now + min(0, self._server_ahead_ms)
        else:
            now = max(self._newest, self._now - UNCONFIRMED_MAX_MS)
        end = min(self.end, now)
        return max(end, before) if before is not None and before <= min(now, self._now) else end
