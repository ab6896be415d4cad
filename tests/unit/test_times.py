"""The times that options take: every form means what the page says, and a slip of the unit is refused."""

from __future__ import annotations

import os
import time as system_time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from smsevents.cli.times import Interval, Meant, NotATime, option_interval, read_time
from tests.support.lines import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

PRAGUE = ZoneInfo("Europe/Prague")
# the nights of 2026 in which clocks in Prague are set forward and back
CLOCK_CHANGES = [date(2026, 3, 29), date(2026, 10, 25)]
NOW = int(datetime(2026, 11, 25, 14, tzinfo=UTC).timestamp()) * 1000
TODAY = NOW - 14 * HOUR_MS
moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(  # noqa: DTZ001 -- made UTC here
    lambda time: time.replace(tzinfo=UTC, microsecond=time.microsecond // 1000 * 1000)
)


def ms_of(time: datetime) -> int:
    """Count milliseconds without floating point."""
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-25", Meant(TODAY, TODAY + DAY_MS - 1)),
        ("20261125", Meant(TODAY, TODAY + DAY_MS - 1)),
        ("today", Meant(TODAY, TODAY + DAY_MS - 1)),
        ("Yesterday", Meant(TODAY - DAY_MS, TODAY - 1)),
        ("now", Meant(NOW, NOW)),
        ("2026-11-25T13:00", Meant(NOW - HOUR_MS, NOW - HOUR_MS)),
        ("2026-11-25T15:00:00.000+01:00", Meant(NOW, NOW)),
        ("7d", Meant(NOW - 7 * DAY_MS, NOW - 7 * DAY_MS)),
        (" 12h ", Meant(NOW - 12 * HOUR_MS, NOW - 12 * HOUR_MS)),
        (str(NOW), Meant(NOW, NOW)),
        ("0", Meant(0, 0)),
    ],
)
def test_what_times_mean(text: str, meant: Meant) -> None:
    """A day means all of it, a moment itself, a span so long ago; all in UTC."""
    assert read_time(text, NOW) == meant


def test_a_span_may_lie_ahead() -> None:
    """Where only the future makes sense a span is counted from now on."""
    assert read_time("30d", NOW, ahead=True) == Meant(NOW + 30 * DAY_MS, NOW + 30 * DAY_MS)


@given(moments)
def test_a_time_and_its_milliseconds_are_the_same(time: datetime) -> None:
    """A moment means the same as ISO 8601 and as Unix milliseconds, in any offset."""
    moment = ms_of(time)

    assert read_time(time.isoformat(), NOW) == read_time(str(moment), NOW) == Meant(moment, moment)


@given(moments, st.sampled_from([("seconds", 1000, 1), ("microseconds", 1, 1000), ("nanoseconds", 1, 10**6)]))
def test_another_unit_is_refused(time: datetime, unit: tuple[str, int, int]) -> None:
    """A time of 2000-2099 in seconds, microseconds or nanoseconds is refused, with the milliseconds to give."""
    name, divided_by, multiplied_by = unit
    moment = ms_of(time) // divided_by * divided_by

    with pytest.raises(NotATime, match=f"looks like Unix {name}.*use {moment}$"):
        read_time(str(moment // divided_by * multiplied_by), NOW)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "7w", "-7d", "9" * 30, "9" * 5000, "1.5", "٣٣", "nan"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    """Anything else is refused, and the message shows what to give."""
    with pytest.raises(NotATime, match="2027-01-31T12:00Z"):
        read_time(text, NOW)


@pytest.mark.parametrize("text", ["2026-W48", "2026W48", "2026-W48-3", "2026-W48-3T12:00"])
def test_a_week_is_not_its_monday(text: str) -> None:
    """A date by weeks is refused: as a midnight it would end an interval up to seven days too early."""
    with pytest.raises(NotATime, match="a week date"):
        read_time(text, NOW)


@pytest.fixture
def in_prague(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine have the time zone of Prague."""
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "Europe/Prague")
    system_time.tzset()
    yield
    monkeypatch.undo()
    assert os.environ.get("TZ") == before
    system_time.tzset()


near_changes = st.sampled_from(CLOCK_CHANGES).flatmap(
    lambda day: st.integers(-2 * DAY_MS, 3 * DAY_MS).map(
        lambda offset: ms_of(datetime(day.year, day.month, day.day, tzinfo=UTC)) + offset
    )
)


@pytest.mark.usefixtures("in_prague")
@given(near_changes, st.integers(1, 200))
def test_days_are_those_of_utc_whatever_the_machine_has(now: int, days: int) -> None:
    """`today`, `yesterday`, dates and numbers of days mean days of UTC, also when clocks change on the machine."""
    today = datetime.fromtimestamp(now / 1000, UTC).date()
    midnight = ms_of(datetime(today.year, today.month, today.day, tzinfo=UTC))

    assert read_time("today", now) == read_time(today.isoformat(), now) == Meant(midnight, midnight + DAY_MS - 1)
    yesterday = today - timedelta(days=1)
    assert (
        read_time("yesterday", now) == read_time(f"{yesterday:%Y%m%d}", now) == Meant(midnight - DAY_MS, midnight - 1)
    )
    first = (today - timedelta(days=days - 1)).isoformat()
    assert option_interval(None, None, days, now) == Interval(read_time(first, now), None)
    assert option_interval(None, "yesterday", days, now).start == read_time(
        (yesterday - timedelta(days=days - 1)).isoformat(), now
    )
    assert read_time(f"{days}d", now).start == now - days * DAY_MS


@pytest.mark.usefixtures("in_prague")
@given(near_changes)
def test_a_moment_is_the_same_in_the_time_of_prague(now: int) -> None:
    """A time with the offset of Prague is that moment on both clock changes, also in the repeated hour."""
    moment = datetime.fromtimestamp(now // 1000, UTC)
    expected = Meant(ms_of(moment), ms_of(moment))

    assert read_time(moment.astimezone(PRAGUE).isoformat(), now) == expected
    assert read_time(moment.replace(tzinfo=None).isoformat(), now) == expected  # without an offset: UTC


def test_the_repeated_hour_is_two_hours() -> None:
    """Half past two of the night in which clocks are set back is an hour apart by its two offsets."""
    summer, winter = (read_time(f"2026-10-25T02:30+0{offset}:00", NOW).start for offset in (2, 1))

    assert winter - summer == HOUR_MS


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("7d", None, 7), "not both"), ((None, "soon", 7), "not a time"), ((None, "0001-01-02", 7), "before the year 1")],
)
def test_days_that_cannot_be_meant(options: tuple[str | None, str | None, int | None], reason: str) -> None:
    """A number of days together with --from, with a bad --to, or before all dates is a usage error."""
    with pytest.raises(typer.BadParameter, match=reason):
        option_interval(*options, NOW)
