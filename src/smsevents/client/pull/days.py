"""Days of UTC: which of them lie in a window, which must be fetched, and in which file each is kept.

A day is fetched as the closed interval [00:00:00.000, 23:59:59.999]. Receipts come late, so a day changes
for some time after it has ended. It is **final** once it was fetched later than its end plus the look-back;
a day that is not final is fetched again. When it was fetched is told by two clocks (`clocks.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from smsevents.wire.limits import DAY_MS, FUTURE_MAX_MS, HISTORY_MS
from smsevents.wire.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH_ORDINAL = EPOCH.toordinal()


class Split(StrEnum):
    """What goes into one file."""

    DAY = "day"
    MONTH = "month"
    NONE = "none"


def start_of(day: date) -> int:
    """Give the first millisecond of a day, Unix milliseconds."""
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY_MS


def end_of(day: date) -> int:
    """Give the last millisecond of a day, Unix milliseconds."""
    return start_of(day) + DAY_MS - 1


def day_of(time_ms: int) -> date:
    """Give the day that a time in Unix milliseconds lies in. Raises `ValueError` outside the years 1 to 9999."""
    return date.fromordinal(time_ms // DAY_MS + _EPOCH_ORDINAL)


def part_of(day: date, split: Split) -> str:
    """Give the name, without its ending, of the file that a day is kept in."""
    if split is Split.DAY:
        return day.isoformat()
    return day.isoformat()[: len("2026-11")] if split is Split.MONTH else "events"


def bounds_of(part: str, split: Split) -> tuple[int, int]:
    """Give the closed interval of the events that a file may hold, Unix milliseconds."""
    if split is Split.DAY:
        day = date.fromisoformat(part)
        return start_of(day), end_of(day)
    if split is Split.MONTH:
        first = date.fromisoformat(f"{part}-01")
        following = (first + timedelta(days=31)).replace(day=1)
        return start_of(first), start_of(following) - 1
    return start_of(date.min), end_of(date.max)


def is_final(day: date, fetched_ms: int | None, lookback_days: int) -> bool:
    """Tell whether a day that was fetched at a time can have changed since."""
    return fetched_ms is not None and fetched_ms > end_of(day) + lookback_days * DAY_MS


@dataclass(frozen=True)
class Plan:
    """The days of a window: to be fetched, kept as they are, and gone from the server. Each oldest first.

    The oldest first because they are the next that the server forgets.
    """

    fetch: list[date]
    final: list[date]
    expired: list[date]


def window_of(first: date | None, last: date | None, now_ms: int) -> tuple[date, date]:
    """Give the first and the last day of a window; by default from the first day of the history to today.

    No day lies behind the latest date that an event may have.
    """
    latest = day_of(now_ms + FUTURE_MAX_MS)
    return first or day_of(now_ms - HISTORY_MS), min(last or day_of(now_ms), latest)


def plan(  # noqa: PLR0913 -- each of them decides
    first: date, last: date, *, now_ms: int, fetched: Mapping[date, int], lookback_days: int, again: bool
) -> Plan:
    """Tell what has to be done about each day of a window.

    `fetched` tells as of when a day was fetched, Unix milliseconds; a fetch that lies in the future is none, as a
    clock was wrong then. With `again` final days are fetched too. What the server has forgotten is never fetched:
    there is nothing to be had.
    """
    found = Plan([], [], [])
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        day = date.fromordinal(ordinal)
        if end_of(day) < now_ms - HISTORY_MS:
            found.expired.append(day)
        elif is_final(day, fetched.get(day), lookback_days) and fetched[day] <= now_ms and not again:
            found.final.append(day)
        else:
            found.fetch.append(day)
    return found


def lies_within_history(day: date, now_ms: int) -> bool:
    """Tell whether the server surely still has the whole of a day, also if its clock is up to a day ahead."""
    return start_of(day) > now_ms - HISTORY_MS + DAY_MS
