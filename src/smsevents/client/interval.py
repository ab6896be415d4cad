"""The interval of an export, from the caller's times to the body of the request."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from smsevents.client.errors import ConfigurationError
from smsevents.wire.events import INT64_MAX
from smsevents.wire.times import EPOCH, is_time

Time = datetime | int
"""A time: a datetime with a time zone, or Unix milliseconds."""

# what a millisecond is in the finer units that clocks count in
_FINER = {"microseconds": 1_000, "nanoseconds": 1_000_000}

_MICROSECOND = timedelta(microseconds=1)


def body(from_: Time | None, to: Time | None) -> bytes:
    """Give the body that asks for the closed interval; a bound that is None is left to the server.

    Events have whole milliseconds: a `from_` between two of them is moved up, a `to` down.

    Raises `ConfigurationError` for a datetime without a time zone, for seconds, microseconds and nanoseconds, for
    `from_` after `to`.
    """
    members: dict[str, int] = {}
    if from_ is not None:
        members["from"] = -(-_microseconds("from_", from_) // 1000)
    if to is not None:
        members["to"] = _microseconds("to", to) // 1000
    if len(members) == 2 and members["from"] > members["to"]:  # noqa: PLR2004 -- both are there
        raise ConfigurationError(f"`from_` ({from_}) is after `to` ({to}). Give the earlier time as `from_`.")
    return msgspec.json.encode(members)


def _microseconds(name: str, time: Time) -> int:
    if isinstance(time, datetime):
        if time.tzinfo is None or time.utcoffset() is None:
            raise ConfigurationError(f"`{name}` ({time}) has no time zone; give one, such as datetime.UTC.")
        return (time - EPOCH) // _MICROSECOND
    if isinstance(time, bool) or not isinstance(time, int):
        raise ConfigurationError(f"`{name}` is {time!r}; give a datetime or Unix milliseconds.")
    if is_time(time * 1000):  # as milliseconds, these numbers are some weeks of 1970, when no SMS was sent
        raise ConfigurationError(
            f"`{name}` is {time}, which looks like seconds; give a datetime or Unix milliseconds: {time * 1000}."
        )
    for unit, parts in _FINER.items():
        if is_time(time // parts):
            raise ConfigurationError(
                f"`{name}` is {time}, which looks like {unit}; give a datetime or Unix milliseconds: {time // parts}."
            )
    if not -INT64_MAX <= time <= INT64_MAX:
        raise ConfigurationError(f"`{name}` is outside every calendar; give a datetime or Unix milliseconds.")
    return time * 1000
