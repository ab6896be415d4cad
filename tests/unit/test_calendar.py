"""Buckets of the local calendar, and times as text: compared with a clock that is read minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import InvalidRequest
from smsevents.segments.tally import DELIVERY_BOUNDS_MS, QUARTER_MS, WITHIN_MS, bucket_of
from smsevents.stats.calendar import BUCKETS_MAX, Buckets, buckets_of, zone_of
from smsevents.stats.interval import interval, meant
from smsevents.wire.limits import DAY_MS, HISTORY_MS, HOUR_MS
from smsevents.wire.window import Window

ZONES = ["UTC", "Europe/Prague", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana", "America/St_Johns"]
MINUTE_MS = 60_000


def at(text: str) -> int:
    """Return an ISO time with an offset in Unix milliseconds."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def lengths(zone: str, step: str, start: str, end: str) -> list[float]:
    """Return the hours of the buckets of an interval."""
    window = Window(at(start), at(end) - 1)
    found = buckets_of(window, ZoneInfo(zone), step, window.end + 1)  # type: ignore[arg-type]  # a literal
    return [(bucket.end + 1 - bucket.start) / HOUR_MS for bucket in found]


@pytest.mark.parametrize(
    ("zone", "step", "start", "end", "expected"),
    [
        ("Europe/Prague", "1d", "2026-03-28T00:00+01:00", "2026-03-31T00:00+02:00", [24, 23, 24]),
        ("Europe/Prague", "1d", "2026-10-24T00:00+02:00", "2026-10-27T00:00+01:00", [24, 25, 24]),
        ("Europe/Prague", "1h", "2026-10-25T01:00+02:00", "2026-10-25T04:00+01:00", [1, 1, 1, 1]),
        ("Europe/Prague", "1w", "2026-03-23T00:00+01:00", "2026-04-06T00:00+02:00", [167, 168]),
        ("Europe/Prague", "1M", "2026-10-01T00:00+02:00", "2026-12-01T00:00+01:00", [31 * 24 + 1, 30 * 24]),
        ("Asia/Kathmandu", "1d", "2026-10-25T00:00+05:45", "2026-10-26T00:00+05:45", [24]),
        ("Australia/Lord_Howe", "1d", "2026-04-05T00:00+11:00", "2026-04-06T00:00+10:30", [24.5]),
        ("Australia/Lord_Howe", "1h", "2026-04-05T01:00+11:00", "2026-04-05T03:00+10:30", [1, 0.5, 1]),
        ("Australia/Lord_Howe", "1h", "2026-10-04T01:00+10:30", "2026-10-04T04:00+11:00", [1, 0.5, 1]),
        ("America/Havana", "1d", "2026-03-07T00:00-05:00", "2026-03-09T00:00-04:00", [24, 23]),  # midnight is skipped
        ("America/Havana", "1d", "2026-10-31T00:00-04:00", "2026-11-02T00:00-05:00", [24, 25]),  # it occurs twice
    ],
)
def test_buckets_follow_the_local_clock(zone: str, step: str, start: str, end: str, expected: list[float]) -> None:
    """Days have 23 or 25 hours where the clocks change, weeks begin on Monday, and repeated hours are two buckets."""
    assert lengths(zone, step, start, end) == expected


@given(
    zone=st.sampled_from(ZONES),
    step=st.sampled_from(["15m", "1h", "1d", "1w", "1M"]),
    start=st.integers(at("2026-01-01T00:00Z"), at("2026-12-31T00:00Z")),
    hours=st.integers(1, 100),
)
def test_buckets_tile_the_interval(zone: str, step: str, start: int, hours: int) -> None:
    """Buckets have no gaps and no overlaps, and two times are in one bucket if and only if a calendar says so."""
    window, clock = Window(start, start + hours * HOUR_MS), ZoneInfo(zone)
    found = buckets_of(window, clock, step, window.end + 1)  # type: ignore[arg-type]  # a literal
    assert (found[0].start, found[-1].end) == window
    assert all(one.end + 1 == following.start for one, following in pairwise(found))
    lookup = Buckets(found, is_within=True)

    def name(time_ms: int) -> tuple[object, ...]:
        local = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(clock)
        day = local.date()
        if step == "1d":
            return (day,)
        if step == "1w":
            return day.isocalendar()[:2]
        if step == "1M":
            return (day.year, day.month)
        return (day, local.hour, local.minute // 15 if step == "15m" else 0, local.utcoffset())

    times = [*range(window.start, window.end + 1, 5 * MINUTE_MS), window.end]
    for one, following in pairwise(times):
        assert (lookup.of(one) == lookup.of(following)) == (name(one) == name(following))
    for quarter in {time // QUARTER_MS for time in times}:
        inside = {lookup.of(time) for time in range(quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS, MINUTE_MS)}
        strict = Buckets(found, is_within=False).of_quarter(quarter)
        assert strict == (inside.pop() if len(inside) == 1 else None) or strict is None


@given(
    zone=st.sampled_from(ZONES),
    step=st.sampled_from(["15m", "1h", "1d", "1w", "1M"]),
    start=st.integers(at("2026-01-01T00:00Z"), at("2026-12-31T00:00Z")),
    hours=st.integers(1, 100),
    later=st.integers(0, 2 * HOUR_MS),
    earlier=st.integers(0, 2 * HOUR_MS),
)
def test_an_interval_within_another_one_cuts_its_buckets(  # noqa: PLR0913 -- two intervals
    *, zone: str, step: str, start: int, hours: int, later: int, earlier: int
) -> None:
    """The buckets of an interval within another one are those of the other one, cut at its ends."""
    outer, clock = Window(start, start + (hours + 4) * HOUR_MS), ZoneInfo(zone)
    inner, now = Window(start + later, outer.end - earlier), outer.end + 1
    around, found = (buckets_of(one, clock, step, now) for one in (outer, inner))  # type: ignore[arg-type]  # a literal
    cut = [(max(one.start, inner.start), min(one.end, inner.end)) for one in around]
    assert [(one.start, one.end) for one in found] == [(first, last) for first, last in cut if first <= last]
    assert [one for one in found[1:-1] if one not in around] == []


def test_a_bucket_is_complete_if_nothing_cuts_it() -> None:
    """The first and the last bucket are not complete if the interval cuts them, nor is the one of the present."""
    start, now = at("2026-11-01T10:00Z"), at("2026-11-04T12:00Z")
    found = buckets_of(Window(start, now + DAY_MS), ZoneInfo("UTC"), "1d", now)
    assert [bucket.complete for bucket in found] == [False, True, True, False, False]
    whole = buckets_of(Window(at("2026-11-01T00:00Z"), at("2026-11-02T00:00Z") - 1), ZoneInfo("UTC"), "1d", now)
    assert [bucket.complete for bucket in whole] == [True]
    assert [one.complete for one in buckets_of(Window(start, now), ZoneInfo("UTC"), "all", now)] == [False]
    assert buckets_of(Window(1, 0), ZoneInfo("UTC"), "1d", now) == []


def test_there_are_not_too_many_buckets() -> None:
    """As many buckets as allowed are returned, and one more is refused with what to change."""
    start = at("2026-11-01T00:00Z")
    window = Window(start, start + BUCKETS_MAX * QUARTER_MS - 1)
    assert len(buckets_of(window, ZoneInfo("UTC"), "15m", start)) == BUCKETS_MAX
    with pytest.raises(InvalidRequest, match="longer step"):
        buckets_of(Window(start, window.end + 1), ZoneInfo("UTC"), "15m", start)


NOW = at("2026-10-25T12:00+01:00")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("now", "2026-10-25T12:00+01:00", None),
        ("today", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("yesterday", "2026-10-24T00:00+02:00", "2026-10-25T00:00+02:00"),
        ("2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("2026-10-25T02:30", "2026-10-25T02:30+02:00", None),
        ("2026-10-25T02:30:15.250Z", "2026-10-25T02:30:15.250+00:00", None),
        ("2026-10-25T02:30:00+01:00", "2026-10-25T02:30+01:00", None),
        ("2026-10-25T02:30:00 01:00", "2026-10-25T02:30+01:00", None),
        ("2026-10-25 02:30", "2026-10-25T02:30+02:00", None),
        ("1d", "2026-10-24T12:00+01:00", None),
        ("12h", "2026-10-25T00:00+01:00", None),
        ("1792920000000", "2026-10-25T09:20:00Z", None),
    ],
)
def test_times_are_read_in_the_zone(text: str, start: str, end: str | None) -> None:
    """A day is that of the zone, a time without an offset is local, and a moment has two equal ends."""
    found = meant("from", text, ZoneInfo("Europe/Prague"), NOW)
    assert found.start == at(start)
    assert found.end == (at(start) if end is None else at(end) - 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2026-13-01",
        "2026-W10",
        "20261125",
        "25.11.2026",
        "1792920000",
        "1e12",
        "9999-12-31T23:59",
        "0001-01-01",
        "-7d",
        "99999999999999999999",
        "2026-10-25T25:00",
        "1999-12-31",
        "\u0662\u0660\u0662\u0666-10-25",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    """What is not a time of an event is refused, with the parameter and its value."""
    with pytest.raises(InvalidRequest, match="`to` ") as refused:
        meant("to", text, ZoneInfo("Europe/Prague"), NOW)
    assert repr(text) in str(refused.value)


def test_the_default_interval_is_30_local_days() -> None:
    """Without bounds, the interval begins at the local midnight 29 days ago and ends now."""
    zone = ZoneInfo("Europe/Prague")
    assert interval(None, None, zone, NOW) == Window(at("2026-09-26T00:00+02:00"), NOW)
    assert interval("2020-01-01", None, zone, NOW) == Window(NOW - HISTORY_MS, NOW)
    with pytest.raises(InvalidRequest, match="is after `to`"):
        interval("today", "yesterday", zone, NOW)


@pytest.mark.parametrize("name", ["", "Prague", "../etc/passwd", "Europe", "CEST+1", "x" * 200, "europe/prague"])
def test_other_zones_are_refused(name: str) -> None:
    """A name that the IANA database does not have is refused with an example."""
    with pytest.raises(InvalidRequest, match="Europe/Prague"):
        zone_of(name)


@given(took=st.integers(-10, 2**42))
def test_buckets_of_delivery_times_tile_all_times(took: int) -> None:
    """Every time is in one bucket, at most a fifth wider than its start, and `within` ends with a bucket."""
    bucket = bucket_of(took)
    start = DELIVERY_BOUNDS_MS[bucket]
    assert start <= max(took, 0)
    if bucket + 1 < len(DELIVERY_BOUNDS_MS):
        end = DELIVERY_BOUNDS_MS[bucket + 1] - 1
        assert took <= end
        assert end - start <= start / 5
    assert all(within + 1 in DELIVERY_BOUNDS_MS for within in WITHIN_MS)
