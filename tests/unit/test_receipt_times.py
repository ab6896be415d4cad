"""Times as gateways write them: zones, minutes, and hours that a clock shows twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import InvalidRequest
from smsevents.receipts.times import MINUTE_MS, Reported, digits, iso, unix, written, zone_of

PRAGUE = zone_of("Europe/Prague")
HOUR_MS = 60 * MINUTE_MS


def ms(text: str) -> int:
    """Return an ISO time in Unix milliseconds."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (digits("2611252344", UTC), Reported(ms("2026-11-25T23:44Z"), MINUTE_MS)),
        (digits("261125234459", UTC), Reported(ms("2026-11-25T23:44:59Z"), 1000)),
        (digits("2611252344", PRAGUE), Reported(ms("2026-11-25T22:44Z"), MINUTE_MS)),
        (digits("2607252344", PRAGUE), Reported(ms("2026-07-25T21:44Z"), MINUTE_MS)),
        (digits("2610250230", PRAGUE), Reported(ms("2026-10-25T00:30Z"), MINUTE_MS, ms("2026-10-25T01:30Z"))),
        (digits("2613252344", UTC), None),
        (digits("26112523", UTC), None),
        (digits("0000000000", UTC), None),
        (iso("2026-11-25T23:44", PRAGUE), Reported(ms("2026-11-25T22:44Z"), MINUTE_MS)),
        (iso("2026-11-25 23:44:59", PRAGUE), Reported(ms("2026-11-25T22:44:59Z"), 1000)),
        (iso("2026-11-25T23:44:59.123+0000", PRAGUE), Reported(ms("2026-11-25T23:44:59.123Z"), 1)),
        (iso("tomorrow", UTC), None),
        (unix("1795650284", 1000), Reported(1_795_650_284_000, 1000)),
        (unix("1795650284.5", 1000), Reported(1_795_650_284_500, 1)),
        (unix("1795650284123", 1), Reported(1_795_650_284_123, 1)),
        (unix("0", 1000), None),
        (unix("-5", 1000), None),
        (unix("9" * 19, 1000), None),
        (written("25.11.2026 23:44", "%d.%m.%Y %H:%M", UTC), Reported(ms("2026-11-25T23:44Z"), MINUTE_MS)),
        (written("1999-11-25 23:44", "%Y-%m-%d %H:%M", UTC), None),
    ],
)
def test_reading(reported: Reported | None, expected: Reported | None) -> None:
    """Times are read in their format and zone, with their resolution; what is not a time of an event is none."""
    assert reported == expected


def test_in_the_minute_of_sending_the_event_is_not_earlier() -> None:
    """A time to the minute is the time of sending within that minute, and otherwise the start of the minute."""
    reported = Reported(ms("2026-11-25T23:44Z"), MINUTE_MS)

    assert reported.resolved(ms("2026-11-25T23:44:17Z")) == ms("2026-11-25T23:44:17Z")
    assert reported.resolved(ms("2026-11-25T23:43:59Z")) == ms("2026-11-25T23:44Z")
    assert reported.resolved(ms("2026-11-25T23:45Z")) == ms("2026-11-25T23:44Z")


def test_an_hour_that_comes_twice() -> None:
    """Of the two possibilities it is the first one that does not lie before the message was sent."""
    reported = digits("2610250230", PRAGUE)
    assert reported is not None

    assert reported.resolved(ms("2026-10-24T20:00Z")) == ms("2026-10-25T00:30Z")
    assert reported.resolved(ms("2026-10-25T00:30:30Z")) == ms("2026-10-25T00:30:30Z")
    assert reported.resolved(ms("2026-10-25T00:31Z")) == ms("2026-10-25T01:30Z")
    assert reported.resolved(ms("2026-10-25T01:30:30Z")) == ms("2026-10-25T01:30:30Z")


@given(
    at=st.datetimes(datetime(2001, 1, 1), datetime(2068, 1, 1)),  # noqa: DTZ001 -- hypothesis wants them naive
    before=st.timedeltas(timedelta(0), timedelta(minutes=40)),
    zone=st.sampled_from(["UTC", "Europe/Prague", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_any_moment_survives_the_minute(at: datetime, before: timedelta, zone: str) -> None:
    """What happened up to 40 minutes after sending is read within its minute again, in any zone, also in autumn."""
    moment = at.replace(tzinfo=UTC)
    true_ms = int(moment.timestamp() * 1000)
    sent_ms = true_ms - int(before.total_seconds() * 1000)
    text = moment.astimezone(zone_of(zone)).strftime("%y%m%d%H%M")

    reported = digits(text, zone_of(zone))

    assert reported is not None
    found = reported.resolved(sent_ms)
    # within the repeated hour, only a time before sending tells the two apart
    assert abs(found - true_ms) < MINUTE_MS or (reported.second_ms is not None and found >= sent_ms - MINUTE_MS)


def test_an_unknown_zone_is_refused() -> None:
    """The name of a zone that does not exist is refused with an example."""
    for name in ("Prague", "../etc/passwd", "", "Europe"):
        with pytest.raises(InvalidRequest, match="Europe/Prague"):
            zone_of(name)
