"""The times that options take: every form means what the page says, and a slip of the unit is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.cli.times import Meant, NotATime, read_time
from tests.support.lines import DAY_MS, HOUR_MS

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
