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
        """Whether no event can lie in it."""
        return self.start > self.end


def warning_of(window: Window) -> str | None:
    """Say that an interval lies where no event can be, so that the times were probably not in milliseconds.

    Any integer is a valid time, so this is not an error. None if there is nothing to say.
    """
    if window.end < TIME_MIN_MS:
        # an end that was left out lies 90 days after the time that was sent
        unit = unit_of(window.end) or unit_of(window.end - HISTORY_MS)
        side = "ends before the year 2000"
    elif window.start > TIME_MAX_MS:
        unit = unit_of(window.start)
        side = "begins after the year 2099"
    else:
        return None
    return f"The interval {side}{'' if unit is None else f' (is it {unit}?)'}; times are Unix milliseconds."


def resolve(from_: int | None, to: int | None, now: int) -> Window:
    """Apply the defaulting rules of the contract to what was sent.

    An omitted bound lies 90 days from the one that was sent, and never behind `now`. Then the history is
    applied: a start more than 90 days ago is moved up to there.

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
    """Tell the earliest time that is still part of the history at `now`."""
    return now - HISTORY_MS
