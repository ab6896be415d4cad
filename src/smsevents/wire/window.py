"""The window of an export: `from`, `to` and now → the closed interval that is exported.

All times are Unix milliseconds, UTC. The rules are those of docs/api.md, "The interval".
"""

from __future__ import annotations

from typing import NamedTuple

from smsevents.errors import InvalidRequest
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.times import TIME_MAX_MS, TIME_MIN_MS, unit_of


class Window(NamedTuple):
    """A closed interval in Unix milliseconds; it is empty when `start` is after `end`."""

    start: int
    end: int

    @property
    def is_empty(self) -> bool:
        """Whether the interval contains no time at all."""
        return self.start > self.end


def warning_of(window: Window) -> str | None:
    """Return a warning if no event can be in an interval, because its times are probably not in milliseconds; or None.

    Any integer is a valid time, so this is not an error.
    """
    if window.end < TIME_MIN_MS:
        # an omitted end is 90 days after the start that was sent
        unit = unit_of(window.end) or unit_of(window.end - HISTORY_MS)
        side = "ends before the year 2000"
    elif window.start > TIME_MAX_MS:
        unit = unit_of(window.start)
        side = "begins after the year 2099"
    else:
        return None
    return f"The interval {side}{'' if unit is None else f' (is it {unit}?)'}; times are Unix milliseconds."


def resolve(from_: int | None, to: int | None, now: int) -> Window:
    """Return the interval for the bounds that were sent, by the rules of the contract.

    An omitted bound is 90 days from the one that was sent, and an omitted end is never after `now`. Then the history
    limits the interval: a start more than 90 days ago is moved to 90 days ago.

    Raises `InvalidRequest` when `from` is after `to`, both as sent.
    """
    if from_ is not None and to is not None and from_ > to:
        raise InvalidRequest(
            f"`from` ({from_}) is after `to` ({to}). Send the earlier time as `from`, both in Unix milliseconds."
        )
    end = _default_end(from_, now) if to is None else to
    start = end - HISTORY_MS if from_ is None else from_
    return Window(max(start, history_start(now)), end)


def _default_end(from_: int | None, now: int) -> int:
    return now if from_ is None else min(now, from_ + HISTORY_MS)


def history_start(now: int) -> int:
    """Return the earliest time that is still part of the history at `now`."""
    return now - HISTORY_MS
