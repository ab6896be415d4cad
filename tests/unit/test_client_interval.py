"""The times that callers give to the client: days, datetimes, spans before now, and Unix milliseconds."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.client import Client, ConfigurationError, interval
from tests.support.lines import DAY_MS
from tests.support.servers import PLAIN

if TYPE_CHECKING:
    from smsevents.client.interval import Time

NOW_MS = 1_795_614_300_123
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(minutes=-90))])


def bounds(time: Time) -> tuple[int, int]:
    """Return what a time becomes as `from_`, and as `to`."""
    from_, to = json.loads(interval.body(time, None, NOW_MS)), json.loads(interval.body(None, time, NOW_MS))
    return from_["from"], to["to"]


@given(st.datetimes(timezones=zones))
def test_a_datetime_means_the_milliseconds_within_it(time: datetime) -> None:
    """A datetime, and the same time as text, is rounded within the interval: `from_` up, `to` down."""
    microseconds = (time - EPOCH) // timedelta(microseconds=1)

    first, last = bounds(time)
    assert first * 1000 >= microseconds > (first - 1) * 1000
    assert last * 1000 <= microseconds < (last + 1) * 1000
    assert bounds(time.isoformat()) == bounds(time.isoformat(" ")) == (first, last)


@given(st.dates())
def test_a_day_is_complete(day: date) -> None:
    """A day, as a date or as text, begins with its first millisecond by UTC and ends with its last."""
    start = (day - date(1970, 1, 1)).days * DAY_MS

    assert bounds(day) == bounds(day.isoformat()) == (start, start + DAY_MS - 1)


@given(st.timedeltas(timedelta(0), timedelta(days=100_000)))
def test_a_span_counts_back_from_now(span: timedelta) -> None:
    """A timedelta is that long before the client's now, rounded within the interval."""
    microseconds = NOW_MS * 1000 - span // timedelta(microseconds=1)

    assert bounds(span) == (-(-microseconds // 1000), microseconds // 1000)


def test_the_end_of_a_text_with_z_is_utc() -> None:
    """`Z` is UTC, and the time is not taken for a complete day."""
    assert bounds("2026-11-25T13:45Z") == bounds(datetime(2026, 11, 25, 13, 45, tzinfo=UTC))


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("2026", "not a time"),
        ("2026-11", "not a time"),
        ("2026-W48-3", "not a time"),
        ("20261125", "not a time"),
        ("2026-02-30", "not a time"),
        ("2026-11-25T25:00Z", "not a time"),
        ("yesterday", "not a time"),
        ("", "not a time"),
        ("٢٠٢٦-11-25", "not a time"),
        ("2026-11-25T13:45", "no time zone"),
        (datetime(2026, 11, 25), "no time zone"),  # noqa: DTZ001 -- that is the point
        (timedelta(days=-1), "negative"),
        (1_795_614_300, "seconds"),
        (2**63, "out of range"),
        (True, "pass a day"),
        (1.5, "pass a day"),
        (b"2026-11-25", "pass a day"),
    ],
    ids=repr,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(time: Any, said: str) -> None:
    """A time that is not valid is refused by every call that takes one, and the error says what to pass."""
    with Client(7, "key", url="http://127.0.0.1:9", ssl_context=PLAIN) as client:
        for call in (client.export, client.to_arrow, client.to_pandas, client.to_polars):
            for arguments in ({"from_": time}, {"to": time}):
                with pytest.raises(ConfigurationError, match=said):
                    call(**arguments)


@pytest.mark.parametrize(("from_", "to"), [(2, 1), ("2026-11-25", "2026-11-24"), (timedelta(1), timedelta(2))])
def test_a_start_after_its_end_is_refused(from_: Time, to: Time) -> None:
    """A `from_` after its `to` is refused, and the same day for both is not."""
    with pytest.raises(ConfigurationError, match="is after"):
        interval.body(from_, to, NOW_MS)
    assert interval.body("2026-11-25", "2026-11-25", NOW_MS)
