"""UTC days: which days lie in a window, which must be fetched, and in which file each is kept.

A day is fetched as the closed interval [00:00:00.000, 23:59:59.999]. Delivery receipts arrive late, so a day keeps
changing for some time after it has ended. A day is **final** once it was fetched later than its end plus the
look-back; until then it is fetched again. Two clocks decide when a day was fetched (`clocks.py`).
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

# A reader makes a column of it. `date` is a column of the files already: with that name, DuckDB and ClickHouse would
# replace the time of each event by its day, and pandas and Arrow could not read the files.
HIVE_COLUMN = "day"
ALL = "events"

_EPOCH_ORDINAL = EPOCH.toordinal()


class Split(StrEnum):
    """The days that one file holds."""

    DAY = "day"
    HIVE = "hive"
    MONTH = "month"
    NONE = "none"


def start_of(day: date) -> int:
    """Return the first millisecond of a day, in Unix milliseconds."""
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY_MS


def end_of(day: date) -> int:
    """Return the last millisecond of a day, in Unix milliseconds."""
    return start_of(day) + DAY_MS - 1


def day_of(time_ms: int) -> date:
    """Return the day of a time in Unix milliseconds. Raises `ValueError` outside the years 1 to 9999."""
    return date.fromordinal(time_ms // DAY_MS + _EPOCH_ORDINAL)


def part_of(day: date, split: Split) -> str:
    """Return the path in the directory, without the suffix, of the file that holds a day."""
    if split is Split.DAY:
        return day.isoformat()
    if split is Split.HIVE:
        return f"{HIVE_COLUMN}={day}/{ALL}"
    return day.isoformat()[: len("2026-11")] if split is Split.MONTH else ALL


def bounds_of(part: str, split: Split) -> tuple[int, int]:
    """Return the closed interval of the events that a file may hold, in Unix milliseconds."""
    if split in {Split.DAY, Split.HIVE}:
        day = date.fromisoformat(part.removeprefix(f"{HIVE_COLUMN}=").removesuffix(f"/{ALL}"))
        return start_of(day), end_of(day)
    if split is Split.MONTH:
        first = date.fromisoformat(f"{part}-01")
        following = (first + timedelta(days=31)).replace(day=1)
        return start_of(first), start_of(following) - 1
    return start_of(date.min), end_of(date.max)


def is_final(day: date, fetched_ms: int | None, lookback_days: int) -> bool:
    """Return whether a day was fetched so late that it can no longer change."""
    return fetched_ms is not None and fetched_ms > end_of(day) + lookback_days * DAY_MS


@dataclass(frozen=True)
class Plan:
    """The days of a window: days to fetch, final days, and days that the server no longer has.

    Each list is in ascending order, so that the days that expire next on the server are fetched first.
    """

    fetch: list[date]
    final: list[date]
    expired: list[date]


def window_of(first: date | None, last: date | None, now_ms: int) -> tuple[date, date]:
    """Return the first and the last day of a window. The default is from the first day of the history to today.

    The window does not go past the latest date that an event may have.
    """
    latest = day_of(now_ms + FUTURE_MAX_MS)
    return first or day_of(now_ms - HISTORY_MS), min(last or day_of(now_ms), latest)


def plan(  # noqa: PLR0913 -- each of them matters
    first: date, last: date, *, now_ms: int, fetched: Mapping[date, int], lookback_days: int, again: bool
) -> Plan:
    """Return what to do about each day of a window.

    `fetched` holds the time of each day's fetch, in Unix milliseconds. A fetch in the future is ignored, because a
    clock was wrong then. With `again`, final days are fetched too. Days that the server no longer has are never
    fetched.
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
    """Return whether the server certainly still has the complete day, even if its clock is up to a day ahead."""
    return start_of(day) > now_ms - HISTORY_MS + DAY_MS
