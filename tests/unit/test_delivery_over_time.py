"""Delivery times by bucket: which segments have to be opened for them, and how many events may be looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.errors import InvalidRequest
from smsevents.segments.segment import inflate
from smsevents.segments.selection import Selection
from smsevents.segments.tally import DELIVERY_BOUNDS_MS, QUARTER_MS, bucket_of, tally_of
from smsevents.stats import delivery, parts
from smsevents.stats.calendar import STEPS
from smsevents.stats.delivery import Deliveries, count_deliveries
from smsevents.stats.kept import Kept
from smsevents.stats.parts import Use
from smsevents.stats.question import AXES, Question
from smsevents.wire.limits import DAY_MS, HOUR_MS
from smsevents.wire.window import Window
from tests.support.counting import SIZES, backfill, filled
from tests.support.statistics import event_line, plain_times_of_rows

if TYPE_CHECKING:
    from smsevents.segments.segment import Segment
    from smsevents.stats.calendar import Step
    from smsevents.stats.question import Axis
    from tests.support.logs import Held

MINUTE_MS = 60_000
DELIVERIES = 900


# where, and a time some hours after the clocks were changed there
PLACES = {
    "Europe/Prague": [1_774_828_800_000, 1_792_972_800_000],  # 2026-03-30T00:00Z, 2026-10-26T00:00Z
    "Australia/Lord_Howe": [1_775_400_000_000, 1_791_000_000_000],  # 2026-04-05T14:40Z, 2026-10-03T04:00Z
    "Asia/Kathmandu": [1_790_000_000_000],
}
SOME_TIMES_MS = [0, 5_000, 14 * MINUTE_MS, 20 * MINUTE_MS, 2 * HOUR_MS, 11 * HOUR_MS, 30 * HOUR_MS, -5_000]

some_deliveries = st.lists(
    st.tuples(
        st.integers(0, 40 * 4).map(lambda quarter: quarter * QUARTER_MS) | st.integers(0, 40 * HOUR_MS),
        st.sampled_from(SOME_TIMES_MS),
        st.sampled_from(["a", "b"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=400)
@given(
    some=some_deliveries,
    place=st.sampled_from([(zone, now) for zone, times in PLACES.items() for now in times]),
    at=st.sampled_from(AXES),
    step=st.sampled_from(STEPS),
    cut=st.integers(0, 8),
)
def test_what_a_tally_tells_is_true(
    some: list[tuple[int, int, str]], place: tuple[str, int], at: Axis, step: Step, cut: int
) -> None:
    """If the plan takes deliveries from a tally, each bucket has exactly those that a plain count has."""
    zone, now = place
    start = now - 40 * HOUR_MS
    lines = [
        event_line(1, start + at_ms, start + at_ms - took, user=f"u{n}", campaign=(campaign, campaign))
        for n, (at_ms, took, campaign) in enumerate(some)
    ]
    # a count asks for a plan only where the interval does not cut the segment on the axis of `date`
    window = Window(start - 3 * DAY_MS if at == "event" else start + cut * HOUR_MS, now)
    question = Question(window, ZoneInfo(zone), at, step, now, by=("campaign",))
    planned = Deliveries(question).plan(tally_of(b"".join(line + b"\n" for line in lines)))
    if planned is Use.LINES:
        return
    expected = {
        (members["bucket"], members["campaign"]["id"]): Counter(map(bucket_of, times))
        for members, times in plain_times_of_rows(lines, question)
    }
    found = [] if isinstance(planned, Use) else planned.found
    buckets = question.buckets
    assert {(buckets.of_quarter(quarter), group.campaign): counts for quarter, group, counts in found} == expected


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which a count adds how many lines each segment has that it opens. Nothing is kept of tallies."""
    found: list[int] = []

    def noted(segment: Segment) -> bytes:
        lines = inflate(segment)
        found.append(lines.count(b"\n"))
        return lines

    monkeypatch.setattr(parts, "KEPT", Kept(0))
    monkeypatch.setattr(parts, "inflate", noted)
    return found


def midnight(held: Held) -> int:
    """Return the start of the day before yesterday (UTC)."""
    return held.now // DAY_MS * DAY_MS - 2 * DAY_MS


def by_day(held: Held, at: Axis, step: Step = "1d", zone: str = "UTC") -> Question:
    """Return a question about the last days."""
    window = Window(midnight(held) - 3 * DAY_MS, midnight(held) + 2 * DAY_MS - 1)
    return Question(window, ZoneInfo(zone), at, step, held.now)


def check(held: Held, question: Question) -> None:
    """Compare the deliveries of each row with the export."""
    expected = {members["bucket"]: times for members, times in plain_times_of_rows(held.lines, question)}
    rows = {row.bucket: row for row in count_deliveries(held.database, held.trackpoint, question).rows()}
    assert rows.keys() == expected.keys()
    for bucket, row in rows.items():
        assert row.deliveries == len(expected[bucket])
        assert row.within_1m == sum(took <= MINUTE_MS for took in expected[bucket])


def late_morning(held: Held) -> None:
    """Import the deliveries of a morning, some of them of messages that were sent on the evening before."""
    start = midnight(held) + 9 * HOUR_MS
    held.put(
        event_line(held.trackpoint, start + n * 1000, start + n * 1000 - took, user=f"u{n}")
        for n in range(DELIVERIES)
        for took in [12 * HOUR_MS if n % 30 == 0 else 5000 + n]
    )
    held.compact(SIZES)
    backfill(held)


@pytest.mark.parametrize("at", ["event", "send"])
def test_late_deliveries_are_told_apart_without_opening_a_segment(held: Held, opened: list[int], at: Axis) -> None:
    """A delivery of the evening before took longer than one of this morning can have, so the tally is enough."""
    late_morning(held)
    question = by_day(held, at)
    check(held, question)
    assert opened == []
    buckets = {row.bucket for row in count_deliveries(held.database, held.trackpoint, question).rows()}
    assert len(buckets) == (1 if at == "event" else 2)


def test_a_segment_is_opened_where_its_tally_does_not_tell(held: Held, opened: list[int]) -> None:
    """Quick deliveries on both sides of midnight cannot be told apart by their times, so the lines are counted."""
    start = midnight(held) - 345 * MINUTE_MS - DELIVERIES // 2 * 1000  # around midnight in Kathmandu
    held.put(
        event_line(held.trackpoint, start + n * 1000, start + n * 1000 - 5000, user=f"u{n}") for n in range(DELIVERIES)
    )
    held.compact(SIZES)
    backfill(held)
    check(held, by_day(held, "event", zone="Asia/Kathmandu"))
    assert sum(opened) == DELIVERIES


def test_too_many_lines_are_refused_with_what_to_send(
    held: Held, opened: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit, the count says what takes less; without a step, there is no such limit."""
    filled(held, 2000)
    held.compact(SIZES)
    question = by_day(held, "send", "15m")
    check(held, question)
    monkeypatch.setattr(delivery, "DELIVERIES_LINES_MAX", sum(opened) - 1)
    with pytest.raises(InvalidRequest, match=r"longer step, a shorter interval.*`at=event` takes less"):
        count_deliveries(held.database, held.trackpoint, question)
    monkeypatch.setattr(delivery, "DELIVERIES_LINES_MAX", 0)
    with pytest.raises(InvalidRequest, match=r"or a `campaign` or `node`.$"):
        count_deliveries(held.database, held.trackpoint, replace(question, at="event"))
    assert count_deliveries(held.database, held.trackpoint, replace(question, step="all")).total().deliveries


def test_other_statuses_have_no_delivery_times(held: Held) -> None:
    """With a filter for other statuses, there are no rows, no histogram and no median."""
    filled(held, 2000)
    question = replace(by_day(held, "event"), wanted=Selection(statuses=frozenset({"EXPIRED"})))
    found = count_deliveries(held.database, held.trackpoint, question)
    assert (found.rows(), found.total().histogram(), found.total().figures().median_ms) == ([], [], None)


def test_percentiles_are_of_the_nearest_rank(held: Held) -> None:
    """The median of a single delivery is the end of its bar, and the 95th of twenty is that of the nineteenth."""
    start = midnight(held)
    times = [5000] * 19 + [HOUR_MS]
    held.put(event_line(held.trackpoint, start + took, start, user=f"u{n}") for n, took in enumerate(times))
    [row] = count_deliveries(held.database, held.trackpoint, by_day(held, "send")).rows()
    ends = [DELIVERY_BOUNDS_MS[bucket_of(took) + 1] - 1 for took in (5000, HOUR_MS)]
    assert row.deliveries == 20
    assert row.p95_ms == ends[0]
    assert row.median_ms is not None
    assert 5000 / 1.2 < row.median_ms < ends[0]
