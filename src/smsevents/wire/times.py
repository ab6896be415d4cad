"""Times as Unix milliseconds: which of them events can have, and their conversion to and from `datetime`.

Events are in the years 2000 to 2099. The range is fixed: it does not depend on a clock, which may be wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

TIME_MIN_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
TIME_MAX_MS = 4_102_444_799_999  # the last millisecond of 2099, UTC

_TICKS_AT_1970 = 621_355_968_000_000_000  # .NET counts steps of 100 ns from the year 1
_TICKS_IN_MS = 10_000
_UNITS: tuple[tuple[str, Callable[[int], int]], ...] = (
    ("in seconds", lambda time: time * 1000),
    ("in microseconds", lambda time: time // 1000),
    ("in nanoseconds", lambda time: time // 1_000_000),
    ("in .NET ticks", lambda time: (time - _TICKS_AT_1970) // _TICKS_IN_MS),
)
_WRITTEN = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}  # by the number of digits


def is_time(time_ms: int) -> bool:
    """Return whether a number can be the time of an event, in Unix milliseconds."""
    return TIME_MIN_MS <= time_ms <= TIME_MAX_MS


def unit_of(time: int) -> str | None:
    """Return the probable unit of a number that is not a time in Unix milliseconds, such as `in seconds`; or None."""
    for unit, milliseconds in _UNITS:
        if is_time(milliseconds(time)):
            return unit
    digits = str(time)
    form = _WRITTEN.get(len(digits))
    if form is not None:
        try:
            written = datetime.strptime(digits, form).replace(tzinfo=UTC)
        except ValueError:
            return None
        if is_time(int(written.timestamp() * 1000)):
            return "a date written in digits"
    return None
