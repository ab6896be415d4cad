"""Times as gateways write them: often local, without an offset, and to the minute.

A receipt that is repeated must become the same event, whenever it arrives. So its time depends only on the receipt, on
the receiver's zone, and on when the message was sent.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from smsevents.errors import InvalidRequest
from smsevents.wire.times import EPOCH, MILLISECOND, is_time

MINUTE_MS = 60_000
SECOND_MS = 1000
BEFORE_SENDING_MAX_MS = MINUTE_MS  # beyond the resolution: clocks differ
ZONES_KEPT_MAX_ENTRIES = 1000

_DIGITS = re.compile(r"[0-9]{10}(?:[0-9]{2})?")
_UNIX = re.compile(r"[0-9]{1,19}(?:\.[0-9]{1,9})?")
_RESOLUTIONS = (("%f", 1), ("%S", SECOND_MS), ("%M", MINUTE_MS))


class Reported(NamedTuple):
    """A time that a gateway reported, in Unix milliseconds.

    It lies within `resolution_ms` from `first_ms` on. Where the receiver's clock is set back, it shows an hour twice:
    then `second_ms` is the later possibility.
    """

    first_ms: int
    resolution_ms: int = 1
    second_ms: int | None = None

    def resolved(self, send_date_ms: int) -> int:
        """Return the time (Unix ms) of an event about a message that was sent at `send_date_ms`.

        Of two possibilities it is the first one that does not lie before the message was sent. In the minute in which
        the message was sent, it is that moment: nothing happens to a message before it is sent.
        """
        start = self.first_ms
        if self.second_ms is not None and start + self.resolution_ms <= send_date_ms:
            start = self.second_ms
        return max(start, send_date_ms) if start <= send_date_ms < start + self.resolution_ms else start

    def is_before_sending(self, send_date_ms: int) -> bool:
        """Return whether it cannot be true for a message that was sent at `send_date_ms`, in any of its readings.

        Clocks may differ by BEFORE_SENDING_MAX_MS.
        """
        latest_ms = self.resolved(send_date_ms) + self.resolution_ms
        return latest_ms + BEFORE_SENDING_MAX_MS < send_date_ms


@lru_cache(maxsize=ZONES_KEPT_MAX_ENTRIES)
def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name, such as Europe/Prague. Raises `InvalidRequest`."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError on some versions
        raise _no_zone(name) from error
    except KeyError as error:
        raise _no_zone(name) from error


def _no_zone(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"There is no time zone {name!r}. Use a name such as Europe/Prague or UTC. If that is not known either, install"
        " the system's package `tzdata`."
    )


def digits(text: str, zone: tzinfo) -> Reported | None:
    """Return the time that `YYMMDDhhmm` or `YYMMDDhhmmss` means in a zone, as SMPP writes it; None if it is none."""
    if not _DIGITS.fullmatch(text):
        return None
    return written(text, "%y%m%d%H%M%S"[: len(text)], zone)


def written(text: str, form: str, zone: tzinfo) -> Reported | None:
    """Return the time that a text means, by a format of `strptime`; None if it does not match.

    The zone applies unless the text has an offset.
    """
    try:
        time = datetime.strptime(text.strip(), form)  # noqa: DTZ007 -- the zone comes next
    except ValueError:
        return None
    resolution = next((length for directive, length in _RESOLUTIONS if directive in form), MINUTE_MS)
    return in_zone(time, zone, resolution)


def iso(text: str, zone: tzinfo) -> Reported | None:
    """Return the time of an ISO 8601 text, with or without an offset; None if it is none."""
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    has_seconds = text.count(":") > 1 or bool(re.search(r"T\d{6}", text))
    return in_zone(time, zone, SECOND_MS if has_seconds and not time.microsecond else 1 if has_seconds else MINUTE_MS)


def unix(text: str, unit_ms: int) -> Reported | None:
    """Return the time of a Unix timestamp whose unit is `unit_ms` milliseconds; None if it is none."""
    text = text.strip()
    if not _UNIX.fullmatch(text):
        return None
    whole, _, fraction = text.partition(".")
    time_ms = int(whole) * unit_ms + (int(fraction.ljust(9, "0")) * unit_ms // 10**9 if fraction else 0)
    return Reported(time_ms, 1 if fraction else unit_ms) if is_time(time_ms) else None


def in_zone(time: datetime, zone: tzinfo, resolution_ms: int) -> Reported | None:
    """Return a time, which is in the zone unless it has an offset itself; None if no event can have it."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=zone)
        moments = [_ms(time.replace(fold=fold)) for fold in (0, 1)]
    else:
        moments = [_ms(time)] * 2
    if not all(map(is_time, moments)):
        return None
    first, second = min(moments), max(moments)
    return Reported(first, resolution_ms, second if second != first else None)


def _ms(time: datetime) -> int:
    return (time - EPOCH) // MILLISECOND
