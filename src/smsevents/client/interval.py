"""Turns the caller's times into the body of an export request.

| time | as `from_` | as `to` |
|---|---|---|
| `"2026-11-25"`, `datetime.date` | the first millisecond of that day, UTC | its last millisecond |
| `"2026-11-25T13:45Z"`, a datetime with a time zone | that moment | that moment |
| `timedelta(days=7)` | that long before now | the same |
| `1795614300000`, Unix milliseconds | that moment | that moment |
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import msgspec

from smsevents.client.errors import ConfigurationError
from smsevents.wire.events import INT64_MAX
from smsevents.wire.limits import DAY_MS
from smsevents.wire.times import EPOCH, is_time

Time: TypeAlias = datetime | date | timedelta | str | int
"""A time: a day, a datetime with a time zone, a span before now, or Unix milliseconds; see above."""

_FORMS = "pass a day such as 2026-11-25, a datetime with a time zone, a timedelta before now, or Unix milliseconds"

# one millisecond in the finer units that clocks use
_FINER = {"microseconds": 1_000, "nanoseconds": 1_000_000}

_MICROSECOND = timedelta(microseconds=1)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ].+", re.ASCII)


def body(from_: Time | None, to: Time | None, now_ms: int) -> bytes:
    """Return the request body for a closed interval. The server chooses a bound that is None.

    Events have times in whole milliseconds, so `from_` is rounded up and `to` is rounded down. `now_ms` is the time
    that a timedelta counts from.

    Raises `ConfigurationError` for a text that is not an ISO date, for a time without a time zone, a negative
    timedelta, seconds, microseconds or nanoseconds, and if `from_` is after `to`.
    """
    members: dict[str, int] = {}
    if from_ is not None:
        members["from"] = -(-_microseconds("from_", from_, now_ms)[0] // 1000)
    if to is not None:
        members["to"] = _microseconds("to", to, now_ms)[1] // 1000
    if len(members) == 2 and members["from"] > members["to"]:  # noqa: PLR2004 -- both are there
        raise ConfigurationError(f"`from_` ({from_}) is after `to` ({to}). Pass the earlier time as `from_`.")
    return msgspec.json.encode(members)


def _microseconds(name: str, time: Time, now_ms: int) -> tuple[int, int]:
    """Return the first and the last microsecond of a time, which are equal except for a day."""
    if isinstance(time, str):
        time = _written(name, time)
    if isinstance(time, datetime):
        moment = _of_datetime(name, time)
    elif isinstance(time, date):
        start = (datetime(time.year, time.month, time.day, tzinfo=UTC) - EPOCH) // _MICROSECOND
        return start, start + DAY_MS * 1000 - 1
    elif isinstance(time, timedelta):
        if time < timedelta(0):
            raise ConfigurationError(f"`{name}` ({time}) is negative; a timedelta counts back from now.")
        moment = now_ms * 1000 - time // _MICROSECOND
    else:
        moment = _of_number(name, time)
    return moment, moment


def _written(name: str, text: str) -> datetime | date:
    """Read an ISO date, or a date with a time and an offset."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise ConfigurationError(f"`{name}` is {text!r}, which is not a time; {_FORMS}.")


def _of_datetime(name: str, time: datetime) -> int:
    if time.tzinfo is None or time.utcoffset() is None:
        raise ConfigurationError(f"`{name}` ({time}) has no time zone; add one, such as datetime.UTC, or Z in a text.")
    return (time - EPOCH) // _MICROSECOND


def _of_number(name: str, time: int) -> int:
    if isinstance(time, bool) or not isinstance(time, int):
        raise ConfigurationError(f"`{name}` is {time!r}; {_FORMS}.")
    if is_time(time * 1000):  # in milliseconds, these numbers are early 1970, when no SMS was sent
        raise ConfigurationError(
            f"`{name}` is {time}, which looks like seconds; pass a datetime or Unix milliseconds: {time * 1000}."
        )
    for unit, parts in _FINER.items():
        if is_time(time // parts):
            raise ConfigurationError(
                f"`{name}` is {time}, which looks like {unit}; pass a datetime or Unix milliseconds: {time // parts}."
            )
    if not -INT64_MAX <= time <= INT64_MAX:
        raise ConfigurationError(f"`{name}` is out of range; pass a datetime or Unix milliseconds.")
    return time * 1000
