"""A time as text, in a time zone → the closed interval that is meant.

| text | meaning |
|---|---|
| `1795614300000` | that moment, Unix milliseconds |
| `2026-11-25` | the complete local day |
| `2026-11-25T13:45`, `2026-11-25T13:45Z`, `2026-11-25T13:45+01:00` | that moment; local time if there is no offset |
| `today`, `yesterday`, `now` | the local day, or the moment |
| `7d`, `12h` | that long ago |

A local time that occurs twice, because the clocks are set back, is the first one.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from smsevents.errors import InvalidRequest
from smsevents.stats.calendar import local_of, ms_of, shown, start_of_day
from smsevents.wire.limits import DAY_MS, HOUR_MS
from smsevents.wire.times import is_time, unit_of
from smsevents.wire.window import Window, history_start

if TYPE_CHECKING:
    from datetime import date
    from zoneinfo import ZoneInfo

DEFAULT_DAYS = 30  # today, and the days before it
_NUMBER = re.compile(r"-?[0-9]{9,20}")
_SPAN = re.compile(r"([0-9]{1,5})([dh])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OFFSET_AFTER_SPACE = re.compile(r" (?=[0-9]{2}:?[0-9]{2}$)")  # a `+` in a URL that was not percent-encoded
_DAY_LETTERS = len("2026-11-25")


def meant(name: str, text: str, zone: ZoneInfo, now: int) -> Window:
    """Return the closed interval that a time names; both ends of a moment are equal. Raises `InvalidRequest`.

    `name` is that of the parameter, `now` is in Unix milliseconds.
    """
    today = local_of(now, zone).date()
    if text == "now":
        return Window(now, now)
    if text in {"today", "yesterday"}:
        return _day(today - timedelta(days=text == "yesterday"), zone)
    if span := _SPAN.fullmatch(text):
        moment = now - int(span[1]) * (DAY_MS if span[2] == "d" else HOUR_MS)
        return Window(moment, moment)
    try:
        found = _written(text, zone)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"`{name}` {shown(text)} is not a time. Send a day (2026-11-25), a time (2026-11-25T13:45Z), Unix"
            " milliseconds, today, yesterday, now, or how long ago (7d, 12h)."
        ) from error
    if not (is_time(found.start) and is_time(found.end)):
        unit = unit_of(found.start)
        hint = f" Is it {unit}? Numbers are Unix milliseconds." if unit and _NUMBER.fullmatch(text) else ""
        raise InvalidRequest(f"`{name}` {shown(text)} is not in the years 2000 to 2099, as all events are.{hint}")
    return found


def _written(text: str, zone: ZoneInfo) -> Window:
    if _NUMBER.fullmatch(text):
        return Window(int(text), int(text))
    if _DAY.fullmatch(text):
        return _day(datetime.fromisoformat(text).date(), zone)
    if not _DAY.fullmatch(text[:_DAY_LETTERS]) or text[_DAY_LETTERS : _DAY_LETTERS + 1] not in {"T", " "}:
        raise ValueError(text)
    time = datetime.fromisoformat(_OFFSET_AFTER_SPACE.sub("+", text[_DAY_LETTERS:]).join((text[:_DAY_LETTERS], "")))
    moment = ms_of(time.replace(tzinfo=zone) if time.tzinfo is None else time)
    return Window(moment, moment)


def _day(day: date, zone: ZoneInfo) -> Window:
    return Window(start_of_day(day, zone), start_of_day(day + timedelta(days=1), zone) - 1)


def interval(from_: str | None, to: str | None, zone: ZoneInfo, now: int) -> Window:
    """Return the interval that is meant, within the history at `now` (Unix ms). It may be empty.

    The default is the last DEFAULT_DAYS local days, the day of the end included, up to `now`. Raises `InvalidRequest`.
    """
    end = now if to is None else meant("to", to, zone, now).end
    if from_ is None:
        start = start_of_day(local_of(end, zone).date() - timedelta(days=DEFAULT_DAYS - 1), zone)
    else:
        start = meant("from", from_, zone, now).start
        if start > end and to is not None:
            raise InvalidRequest(f"`from` {shown(from_)} is after `to` {shown(to)}. Send the earlier time as `from`.")
    return Window(max(start, history_start(now)), end)
