"""Times as typed on the command line: one parser for all options that accept a time.

| text | meaning |
|---|---|
| `2026-11-25` | the complete day, UTC |
| `2026-11-25T13:45Z`, `2026-11-25T13:45+01:00` | that moment; UTC if there is no offset |
| `1795614300000` | that moment, Unix milliseconds |
| `today`, `yesterday`, `now` | the day, or the moment, UTC |
| `7d`, `12h` | that long ago; where only the future makes sense, that long from now |

Days are those of UTC, whatever the time zone of this machine is: `yesterday` ended at midnight UTC. Files hold such
days, and every machine agrees on them. A time with an offset is that moment, so that a time in the hour that is
repeated when clocks are set back is not ambiguous.

A number that lies in 2000-2099 as seconds, microseconds or nanoseconds is refused: as milliseconds it would be a
time that nobody means, such as 1970. Any other number is accepted, as the export accepts any integer.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import typer

from smsevents.wire.limits import DAY_MS, HOUR_MS
from smsevents.wire.times import EPOCH, MILLISECOND, is_time

EXAMPLES = "2027-01-31, 2027-01-31T12:00Z, 1801396800000 (Unix milliseconds), yesterday, 30d or 12h"
DAYS_MAX = 36_500
DaysOption = Annotated[
    int | None,
    typer.Option(
        "--days",
        min=1,
        max=DAYS_MAX,
        help="The last days, UTC, instead of --from: 1 is today, 7 is today and the six days before it.",
        show_default=False,
    ),
]

_CALENDAR_START_MS = -62_135_596_800_000  # 0001-01-01
_CALENDAR_END_MS = 253_402_300_800_000  # 10000-01-01
_DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}")
_WEEK = re.compile(r"\d{4}-?W", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,5})([dh])")
_NUMBER = re.compile(r"-?[0-9]{1,40}")
_COMPACT_DAY_DIGITS = len("20261125")
# one millisecond in the other units that clocks use
_UNITS = {"seconds": (1000, 1), "microseconds": (1, 1000), "nanoseconds": (1, 1_000_000)}


class Meant(NamedTuple):
    """The closed interval that a time names, Unix milliseconds: for a moment, both ends are equal."""

    start: int
    end: int


class NotATime(ValueError):
    """The text is not a time. The message says which forms are accepted."""


def read_time(text: str, now_ms: int, *, ahead: bool = False) -> Meant:
    """Read a time. A span such as `7d` lies before `now_ms`, or after it with `ahead`. Raises `NotATime`."""
    text = text.strip()
    today = _midnight(now_ms)
    words = {"now": Meant(now_ms, now_ms), "today": _day(today), "yesterday": _day(today - DAY_MS)}
    if found := words.get(text.lower()):
        return found
    if span := _SPAN.fullmatch(text):
        length = int(span[1]) * (DAY_MS if span[2] == "d" else HOUR_MS)
        moment = now_ms + length if ahead else now_ms - length
        return Meant(moment, moment)
    if _NUMBER.fullmatch(text) and len(text) != _COMPACT_DAY_DIGITS:
        return _number(int(text))
    return _written(text)


def option_time(option: str, text: str, now_ms: int, *, ahead: bool = False) -> Meant:
    """Read the time of an option. Raises `typer.BadParameter`, which ends the command with 2 and says why."""
    try:
        return read_time(text, now_ms, ahead=ahead)
    except NotATime as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


class Interval(NamedTuple):
    """What the options for an interval mean. None stands for an option that was not given."""

    start: Meant | None
    end: Meant | None


def option_interval(from_: str | None, to: str | None, days: int | None, now_ms: int) -> Interval:
    """Read --from, --to and --days. Raises `typer.BadParameter`."""
    end = None if to is None else option_time("--to", to, now_ms)
    if days is None:
        start = None if from_ is None else option_time("--from", from_, now_ms)
    elif from_ is not None:
        raise typer.BadParameter("use either --days or --from, not both", param_hint="--days")
    else:
        start = _day(_midnight(now_ms if end is None else end.start) - (days - 1) * DAY_MS)
    if start and start.start < _CALENDAR_START_MS:
        raise typer.BadParameter("these days begin before the year 1", param_hint="--days")
    return Interval(start, end)


def _midnight(time_ms: int) -> int:
    return time_ms // DAY_MS * DAY_MS


def _day(start_ms: int) -> Meant:
    return Meant(start_ms, start_ms + DAY_MS - 1)


def _number(number: int) -> Meant:
    if is_time(number):
        return Meant(number, number)
    for unit, (times, parts) in _UNITS.items():
        in_ms = number * times // parts
        if is_time(in_ms):
            raise NotATime(f"{number} looks like Unix {unit}, but milliseconds are expected: use {in_ms}")
    if not _CALENDAR_START_MS <= number < _CALENDAR_END_MS:
        raise NotATime(f"{number} is out of range for Unix milliseconds; use a time such as {EXAMPLES}")
    return Meant(number, number)


def _written(text: str) -> Meant:
    if not _DAY.fullmatch(text) and _WEEK.match(text):
        # Python reads a date as midnight; a date here means the complete day
        raise NotATime(f"{text!r} is a week date; use a day or a time, such as {EXAMPLES}")
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        moment = (time - EPOCH) // MILLISECOND
    except (ValueError, OverflowError) as error:
        raise NotATime(f"{text!r} is not a time; use one such as {EXAMPLES}") from error
    return _day(moment) if _DAY.fullmatch(text) else Meant(moment, moment)
