"""Turns the caller's times into the body of an export request."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from smsevents.client.errors import ConfigurationError
from smsevents.wire.events import INT64_MAX
from smsevents.wire.times import EPOCH, is_time

Time = datetime | int
"""A time: a datetime with a time zone, or Unix milliseconds."""

# one millisecond in the finer units that clocks use
_FINER = {"microseconds": 1_000, "nanoseconds": 1_000_000}

_MICROSECOND = timedelta(microseconds=1)


def body(from_: Time | None, to: Time | None) -> bytes:
    """Return the request body for a closed interval. The server chooses a bound that is None.

    Events have times in whole milliseconds, so `from_` is rounded up and `to` is rounded down.

    Raises `ConfigurationError` for a datetime without a time zone, for seconds, microseconds or nanoseconds, and if
    `from_` is after `to`.
    """
    members: dict[str, int] = {}
    if from_ is not None:
        members["from"] = -(-_microseconds("from_", from_) // 1000)
    if to is not None:
        members["to"] = _microseconds("to", to) // 1000
    if len(members) == 2 and members["from"] > members["to"]:  # noqa: PLR2004 -- both are there
        raise ConfigurationError(f"`from_` ({from_}) is after `to` ({to}). Pass the earlier time as `from_`.")
    return msgspec.json.encode(members)


def _microseconds(name: str, time: Time) -> int:
    if isinstance(time, datetime):
        if time.tzinfo is None or time.utcoffset() is None:
            raise ConfigurationError(f"`{name}` ({time}) has no time zone; add one, such as datetime.UTC.")
        return (time - EPOCH) // _MICROSECOND
    if isinstance(time, bool) or not isinstance(time, int):
        raise ConfigurationError(f"`{name}` is {time!r}; pass a datetime or Unix milliseconds.")
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
