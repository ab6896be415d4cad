"""Days that can no longer be fetched: which of them a directory has, and which are lost."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from smsevents.client.pull.days import end_of
from smsevents.wire.limits import HISTORY_MS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


def was_fetched(day: date, fetched: Mapping[date, int]) -> bool:
    """Return whether a day was fetched after it had ended, so that its file has the events known by then."""
    return fetched.get(day, 0) > end_of(day)


def lost_days(  # noqa: PLR0913 -- each of them matters
    fetched: Mapping[date, int],
    *,
    first: date | None,
    last: date,
    now_ms: int,
    forgotten: Collection[date],
    told: Collection[date],
) -> list[date]:
    """Return the days since the first pull that left the server's history unfetched, except those already reported.

    `fetched` is the state at the beginning of the pull. If it is empty, nothing is lost.
    """
    if not fetched:
        return []
    begin = min(fetched) if first is None else max(first, min(fetched))
    return [
        day
        for day in map(date.fromordinal, range(begin.toordinal(), last.toordinal() + 1))
        if (end_of(day) < now_ms - HISTORY_MS or day in forgotten) and not was_fetched(day, fetched) and day not in told
    ]


def ranges_text(days: Iterable[date]) -> str:
    """Format days as ranges: `2026-06-01 to 2026-06-30, 2026-07-04`."""
    ranges: list[list[date]] = []
    for day in sorted(days):
        if ranges and day.toordinal() == ranges[-1][-1].toordinal() + 1:
            ranges[-1][1:] = [day]
        else:
            ranges.append([day])
    return ", ".join(" to ".join(map(str, ends)) for ends in ranges)
