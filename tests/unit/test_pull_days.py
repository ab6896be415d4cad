"""Which days a pull fetches, and in which files it keeps them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from smsevents.client.pull.days import (
    Split,
    bounds_of,
    day_of,
    end_of,
    is_final,
    lies_within_history,
    part_of,
    plan,
    start_of,
    window_of,
)
from tests.support.lines import DAY_MS

NOW = int(datetime(2026, 11, 25, 14, tzinfo=UTC).timestamp()) * 1000
TODAY = date(2026, 11, 25)
days = st.dates(date(1, 1, 1), date(9999, 12, 31))
near_days = st.dates(date(2026, 6, 1), date(2026, 12, 5))


@given(days)
def test_days_are_utc_and_closed(day: date) -> None:
    """A day is the closed interval from its first to its last millisecond, UTC."""
    assert day_of(start_of(day)) == day_of(end_of(day)) == day
    assert end_of(day) - start_of(day) == DAY_MS - 1
    assert start_of(day) == datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000


@given(days.filter(lambda day: day.year < 9999), st.sampled_from(Split))
def test_parts_hold_their_days(day: date, split: Split) -> None:
    """The interval of a file holds its days whole, and the parts that follow each other leave no gap."""
    start, end = bounds_of(part_of(day, split), split)

    assert start <= start_of(day) < end_of(day) <= end
    if split is not Split.NONE:
        following = part_of(day_of(end + 1), split)
        assert following > part_of(day, split)
        assert bounds_of(following, split)[0] == end + 1


@given(
    first=near_days,
    last=near_days,
    fetched=st.dictionaries(near_days, st.integers(start_of(date(2026, 6, 1)), NOW)),
    lookback=st.integers(0, 100),
    again=st.booleans(),
)
def test_plan(first: date, last: date, fetched: dict[date, int], lookback: int, again: bool) -> None:
    """A day is fetched unless the server forgot it, or it was fetched later than its end plus the look-back."""
    found = plan(first, last, now_ms=NOW, fetched=fetched, lookback_days=lookback, again=again)

    window = [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]
    expired = [day for day in window if end_of(day) < NOW - 90 * DAY_MS]
    final = [
        day
        for day in window
        if day not in expired and not again and day in fetched and fetched[day] > end_of(day) + lookback * DAY_MS
    ]
    assert found.expired == expired
    assert found.final == final
    assert found.fetch == [day for day in window if day not in expired and day not in final]


def test_the_first_day_that_is_partly_expired_is_fetched() -> None:
    """Of the day that the history begins in, the server still has a part, so it is fetched."""
    first, last = window_of(None, None, NOW)

    assert (first, last) == (date(2026, 8, 27), TODAY)
    assert plan(first, last, now_ms=NOW, fetched={}, lookback_days=3, again=False).fetch[0] == first
    assert not lies_within_history(first, NOW)
    assert not lies_within_history(date(2026, 8, 28), NOW)
    assert lies_within_history(date(2026, 8, 29), NOW)


def test_a_day_is_final_only_behind_its_lookback() -> None:
    """The millisecond that ends the look-back belongs to it."""
    assert not is_final(TODAY, None, 0)
    assert not is_final(TODAY, end_of(TODAY), 0)
    assert is_final(TODAY, end_of(TODAY) + 1, 0)
    assert not is_final(TODAY, end_of(TODAY) + 3 * DAY_MS, 3)
    assert is_final(TODAY, end_of(TODAY) + 3 * DAY_MS + 1, 3)


def test_the_window_ends_where_events_can() -> None:
    """An event is dated at most a day ahead, so no later day is asked for, whatever `--to` says."""
    assert window_of(None, date(9999, 1, 1), NOW)[1] == date(2026, 11, 26)


def test_a_fetch_in_the_future_is_none() -> None:
    """A day that was fetched later than it is now was fetched with a wrong clock, and is fetched again."""
    day = date(2026, 11, 1)

    assert plan(day, day, now_ms=NOW, fetched={day: NOW}, lookback_days=3, again=False).final == [day]
    assert plan(day, day, now_ms=NOW, fetched={day: NOW + 1}, lookback_days=3, again=False).fetch == [day]
