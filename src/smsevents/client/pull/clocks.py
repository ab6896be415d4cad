"""Which clock a pull trusts: a single clock is never enough to make a day final or to drop anything.

The time of a fetch is the earliest of this machine's clock, the server's `Date`, and the interval that the server
says it exported. If the server does not send its time, the newest event is the evidence: an event dated at noon was
not sent in the morning.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from smsevents.client.head import (
    CLOCK_DIFFERENCE_MAX_MS,
    NO_CLOCK_WARNING,
    UNCONFIRMED_MAX_MS,
    clock_warning,
)
from smsevents.client.pull.days import end_of, is_final, lies_within_history, start_of
from smsevents.wire.limits import FUTURE_MAX_MS, HISTORY_MS
from smsevents.wire.times import is_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from smsevents.client.head import ExportHead


class Fetch(NamedTuple):
    """The fetch of one day: its time by this machine's clock, and the headers of the response."""

    day: date
    sent_ms: int
    head: ExportHead | None

    @property
    def server_ms(self) -> int | None:
        """The earliest time that the server's headers imply as now, or None."""
        head = self.head
        if head is None:
            return None
        readings = [] if head.date_ms is None else [head.date_ms]
        if head.from_ms is not None and head.from_ms > start_of(self.day):
            readings.append(head.from_ms + HISTORY_MS)  # raised to the beginning of the history
        if head.to_ms is not None and head.to_ms < end_of(self.day):
            readings.append(head.to_ms)  # lowered to now
        # the interval, too, may come from a clock that was never set
        return min((ms for ms in readings if is_time(ms)), default=None)

    @property
    def confirmed_ms(self) -> int:
        """When the day was fetched: by this machine's clock, or by the server's if that is earlier."""
        server_ms = self.server_ms
        return self.sent_ms if server_ms is None else min(self.sent_ms, server_ms)

    @property
    def is_forgotten(self) -> bool:
        """Whether the server says that its history no longer includes any part of the day."""
        history = None if self.head is None else self.head.history_start_ms
        return history is not None and history > end_of(self.day)

    def replaces(self, began_ms: int) -> bool:
        """Return whether the fetched events are all events of the day, so that the file's other events can be dropped.

        Both clocks must agree with a margin of a day. If the server names its interval, it must cover the complete day.
        """
        head = self.head
        if head is None or not lies_within_history(self.day, began_ms):
            return False
        if head.to_ms is not None and head.to_ms < end_of(self.day):
            return False
        if head.date_ms is not None and not lies_within_history(self.day, head.date_ms):
            return False  # even if the server only echoed the interval
        return head.date_ms is not None if head.from_ms is None else head.from_ms == start_of(self.day)


class FetchClocks:
    """The clock readings of one pull, recorded by several threads."""

    def __init__(self, own: Callable[[], int], lookback_days: int, warn: Callable[[str], None]) -> None:
        self._own = own
        self._lookback_days = lookback_days
        self._warn = warn
        self._changing = threading.Lock()
        self._newest_ms = 0
        self._warned = False
        self._server_ahead_ms: int | None = None  # of this machine's clock; negative if it is behind
        self._unconfirmed: dict[date, int] = {}
        self.began_ms = own()

    def own_ms(self) -> int:
        """Return the time by this machine's clock."""
        return self._own()

    def newest(self, date_ms: int) -> None:
        """Record the date of an event."""
        with self._changing:
            self._newest_ms = max(self._newest_ms, date_ms)

    def past_ms(self, fetch: Fetch) -> int:
        """Return when a day was fetched, by the earliest of the clocks."""
        server_ms = fetch.server_ms
        with self._changing:
            if server_ms is None:
                self._unconfirmed[fetch.day] = fetch.sent_ms
                return self._believed(fetch.sent_ms)
            ahead = server_ms - fetch.sent_ms
            self._server_ahead_ms = ahead if self._server_ahead_ms is None else min(self._server_ahead_ms, ahead)
            difference = fetch.head.clock_difference_ms if fetch.head else 0
            warns, self._warned = bool(difference) and not self._warned, self._warned or bool(difference)
        if warns:
            self._warn(clock_warning(difference))
        return fetch.confirmed_ms

    def _believed(self, own_ms: int) -> int:
        return min(own_ms, max(self._newest_ms, own_ms - UNCONFIRMED_MAX_MS))

    def now_ms(self) -> int | None:
        """Return when the pull began by the earliest clock, or None if no server has responded."""
        if self._server_ahead_ms is not None and self._server_ahead_ms < -CLOCK_DIFFERENCE_MAX_MS:
            return self.began_ms + self._server_ahead_ms
        return self.began_ms if self._unconfirmed or self._server_ahead_ms is not None else None

    def later_ms(self) -> int | None:
        """Return when the pull began by the server's clock if this machine's clock is behind, otherwise None."""
        ahead = self._server_ahead_ms
        return None if ahead is None or ahead <= CLOCK_DIFFERENCE_MAX_MS else self.began_ms + ahead

    def settled(self) -> dict[date, int]:
        """Return the fetch times of the days without a server time, now that all events are known."""
        found = {day: self._believed(sent_ms) for day, sent_ms in self._unconfirmed.items()}
        held_up = any(
            is_final(day, sent_ms, self._lookback_days) and not is_final(day, found[day], self._lookback_days)
            for day, sent_ms in self._unconfirmed.items()
        )
        if held_up:
            self._warn(NO_CLOCK_WARNING)
        return found


def is_ahead(day: date, now_ms: int) -> bool:
    """Return whether a day lies after the latest date that an event may have."""
    return start_of(day) > now_ms + FUTURE_MAX_MS
