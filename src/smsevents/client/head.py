"""What the headers of an export say about time: the server's clock, and the interval that was actually exported."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from smsevents.wire.limits import DAY_MS, HISTORY_MS, HOUR_MS
from smsevents.wire.times import is_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import TypeAlias

# The largest difference that is not reported: `Date` has whole seconds, and a proxy may delay it.
CLOCK_DIFFERENCE_MAX_MS = 2 * 60_000
# How far ahead this machine's clock is assumed to be at most, if neither the server nor its events show the time.
UNCONFIRMED_MAX_MS = 30 * DAY_MS

_milliseconds = re.compile(r"-?[0-9]{1,18}")


class ExportHead(NamedTuple):
    """The times of an export in Unix milliseconds. None means that a header is missing or not valid.

    `sent_ms` and `received_ms` are times of this machine's clock, before the request and after the headers.
    `date_ms` is the header `Date` (RFC 9110, 6.6.1); `from_ms` and `to_ms` are `X-Export-From` and `X-Export-To`.
    """

    sent_ms: int
    received_ms: int
    date_ms: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def history_start_ms(self) -> int | None:
        """The start of the server's history, as far as the headers show it."""
        if self.from_ms is not None:
            return self.from_ms
        return None if self.date_ms is None else self.date_ms - HISTORY_MS

    @property
    def clock_difference_ms(self) -> int:
        """How far this machine's clock is ahead of the server's (negative: behind); 0 if they agree."""
        if self.date_ms is None:
            return 0
        if self.sent_ms - self.date_ms > CLOCK_DIFFERENCE_MAX_MS:
            return self.sent_ms - self.date_ms
        if self.date_ms - self.received_ms > CLOCK_DIFFERENCE_MAX_MS:
            return self.received_ms - self.date_ms
        return 0


OnHead: TypeAlias = "Callable[[ExportHead], None]"


def export_head(headers: Mapping[str, str], sent_ms: int, received_ms: int) -> ExportHead:
    """Read the headers of an export."""
    return ExportHead(
        sent_ms,
        received_ms,
        clock_of(headers.get("date")),
        _bound(headers.get("x-export-from")),
        _bound(headers.get("x-export-to")),
    )


def clock_of(text: str | None) -> int | None:
    """Read a `Date` header. Return None if it is missing, is not a date, or comes from a clock that was never set."""
    date = date_of(text)
    if date is None:
        return None
    ms = int(date.timestamp()) * 1000
    return ms if is_time(ms) else None


def date_of(text: str | None) -> datetime | None:
    """Read an HTTP date (RFC 9110, 5.6.7). Return None for any other text."""
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date  # "-0000" means UTC with an unknown local offset


def _bound(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if _milliseconds.fullmatch(text) else None


def spoken(milliseconds: int) -> str:
    """Format a duration in its largest unit: `10 days`, `3 hours`, `7 minutes`."""
    for unit, length in (("days", DAY_MS), ("hours", HOUR_MS), ("minutes", HOUR_MS // 60)):
        if milliseconds >= 2 * length:
            return f"{milliseconds // length:,} {unit}"
    return f"{milliseconds // 1000} seconds"


def clock_warning(difference_ms: int) -> str:
    """Return the warning that the clocks differ, and what follows from that."""
    direction = "ahead of" if difference_ms > 0 else "behind"
    return (
        f"This machine's clock is {spoken(abs(difference_ms))} {direction} the server's. Data counts as final only once"
        " it is past by both clocks. Correct the clock that is wrong."
    )


NO_CLOCK_WARNING = (
    "The server does not send its time (header Date), so this machine's clock cannot be checked."
    " Recent days are read again until newer events show that they have ended."
)
