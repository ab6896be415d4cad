"""What has come to rest is merged completely: past days apart from the present, and again after late events."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import combinations, groupby, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from smsevents.accounts.access import Access
from smsevents.catalog.segments import insert_segments, newest_id, overlapping_line_bytes
from smsevents.catalog.tables import segments
from smsevents.demo.generate import generate
from smsevents.errors import DamagedSegment, ShopExists
from smsevents.segments.segment import pack
from smsevents.timekeeper import Timekeeper
from smsevents.upkeep.groups import Compacted, Sizes
from smsevents.upkeep.settling import (
    SETTLED_GROWTH_RATIO,
    SETTLED_MAX_MS,
    SETTLED_MIN_MS,
    Settling,
    compact_background,
)
from smsevents.web.house_metrics import exposition
from smsevents.worker.worker import UpkeepWorker
from tests.support.databases import damage
from tests.support.lines import DAY_MS, HOUR_MS, date_of, line
from tests.support.logs import Held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.segments.segment import Segment

SMALL = Sizes(8 * 1024, 64 * 1024)
ROUNDS_MAX = 20
MIDNIGHT = 1_790_000_000_000 // DAY_MS * DAY_MS


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Create a shop whose clock stands at a midnight (UTC)."""
    made = Held(url)
    made.now = MIDNIGHT
    yield made
    made.database.close()


class Worker:
    """Compacts a shop in the background, with small segments."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._settling = Settling(SMALL)
        self._old_id = 0

    def round(self) -> Compacted:
        """Compact as one round of the upkeep worker does."""
        with self._held.database.read() as connection:
            newest = newest_id(connection)
        done = compact_background(
            self._held.database,
            self._held.trackpoint,
            self._held.now,
            self._settling,
            now=self._held.now,
            old_id=self._old_id,
        )
        self._old_id = newest
        return done

    def is_due(self) -> bool:
        """Return whether something of the shop may settle now."""
        due = self._settling.shops_due(self._held.now)
        return due is None or self._held.trackpoint in due

    def looked_at_all(self) -> None:
        """Record that all shops were looked at."""
        self._settling.looked_at_all(self._held.now)

    def idle(self) -> None:
        """Do rounds until nothing is left to do now."""
        for _ in range(ROUNDS_MAX):
            if not self.round().before and not self.round().before:
                return
        raise AssertionError("the worker rewrites the log without end")


def unsettled_share(held: Held) -> float:
    """Return the share of the lines that are in segments which overlap others."""
    with held.database.read() as connection:
        overlapping = overlapping_line_bytes(connection)
    return overlapping / sum(header.line_bytes for header in held.headers())


def put_day(held: Held, start: int) -> None:
    """Store a day of many segments, and one late event in the middle of it."""
    held.put(line(held.trackpoint, start + second * 1000, f"{second}") for second in range(0, 86_400, 400))
    Worker(held).idle()
    put_late(held, start)


def put_late(held: Held, start: int, user: str = "late") -> None:
    """Store one event in the middle of a day."""
    held.put([line(held.trackpoint, start + 12 * HOUR_MS, user)])


def test_a_past_day_settles_while_the_present_is_busy(held: Held) -> None:
    """A day that is connected to the present by late events settles once it ended 24 hours ago, and not before."""
    start = MIDNIGHT - DAY_MS
    put_day(held, start)
    worker = Worker(held)

    def busy_round(number: int) -> None:
        """Let an event of the present arrive, and one round after it."""
        held.put([line(held.trackpoint, held.now - 1, f"present {number}")])
        worker.round()

    held.put(
        line(held.trackpoint, date, "connects") for date in range(start + 13 * HOUR_MS, MIDNIGHT + HOUR_MS, 10_000_000)
    )
    held.now = MIDNIGHT + 2 * HOUR_MS
    for number in range(3):
        busy_round(number)
    assert unsettled_share(held) > 0
    held.now = MIDNIGHT + DAY_MS
    for number in range(3):
        busy_round(3 + number)

    past = [header for header in held.headers() if header.last[0] < MIDNIGHT]
    assert len(past) > 3
    assert all(one.last < two.first for one, two in pairwise(past))
    assert held.exported() == held.expected()


def test_the_present_settles_when_nothing_arrives(held: Held) -> None:
    """Once nothing has arrived since the previous round, the segments of today and yesterday are merged as well."""
    put_day(held, MIDNIGHT - DAY_MS)
    Worker(held).idle()

    assert unsettled_share(held) == 0
    assert held.exported() == held.expected()


def test_the_pauses_of_the_present_do_not_delay_the_past(held: Held) -> None:
    """A day that settled as part of the present settles at once when it is past."""
    start = MIDNIGHT - DAY_MS
    put_day(held, start)
    worker = Worker(held)
    worker.idle()
    held.now = MIDNIGHT + DAY_MS - 1
    put_late(held, start, "second")
    worker.idle()
    put_late(held, start, "third")
    worker.idle()
    assert unsettled_share(held) > 0
    held.now += 1
    worker.idle()

    assert unsettled_share(held) == 0
    assert held.exported() == held.expected()


def test_what_has_just_arrived_waits_for_a_round(held: Held) -> None:
    """A group with a segment that the previous round did not see is left alone, because more may be on its way."""
    put_day(held, MIDNIGHT - 3 * DAY_MS)
    worker = Worker(held)

    assert worker.round() == Compacted(0, 0)
    assert unsettled_share(held) > 0
    assert worker.is_due()
    assert worker.round().before == 2
    assert unsettled_share(held) == 0


def test_a_settled_day_pauses_longer_each_time(held: Held) -> None:
    """Later events are merged after ten minutes, then after four times as long each, up to two days."""
    start = MIDNIGHT - 3 * DAY_MS
    put_day(held, start)
    worker = Worker(held)
    worker.idle()
    pause = SETTLED_MIN_MS
    for number in range(6):
        put_late(held, start, f"later {number}")
        worker.looked_at_all()
        held.now += pause - 1
        worker.idle()
        assert unsettled_share(held) > 0
        worker.looked_at_all()
        assert not worker.is_due()
        held.now += 1
        assert worker.is_due()
        worker.idle()
        assert unsettled_share(held) == 0
        pause = min(pause * SETTLED_GROWTH_RATIO, SETTLED_MAX_MS)

    assert pause == SETTLED_MAX_MS
    assert held.exported() == held.expected()


def test_only_the_segments_that_overlap_are_rewritten(held: Held) -> None:
    """A late event makes its day rewrite the one segment that it overlaps, and no other day anything."""
    for days in (5, 4, 3):
        put_day(held, MIDNIGHT - days * DAY_MS)
    worker = Worker(held)
    worker.idle()
    before = {header.id for header in held.headers()}
    assert len(before) > 10
    put_late(held, MIDNIGHT - 4 * DAY_MS, "second")
    held.now += SETTLED_MIN_MS
    worker.idle()

    assert len(before - {header.id for header in held.headers()}) == 1
    assert held.exported() == held.expected()


def test_a_deep_group_settles_in_one_round(held: Held) -> None:
    """More overlapping segments than may be held at once take several passes, which one round does."""
    start = MIDNIGHT - 3 * DAY_MS
    for number in range(30):
        held.put(line(held.trackpoint, start + number + 100_000 * place, f"{number}") for place in range(150))
    worker = Worker(held)
    worker.round()
    settled = worker.round()

    assert settled.whole
    assert unsettled_share(held) == 0
    assert worker.round().before == 0
    assert held.exported() == held.expected()


def test_past_days_settle_while_events_for_them_keep_arriving(held: Held) -> None:
    """Past days wait for what keeps arriving no longer than the shortest pause, and then settle all the same."""
    start = MIDNIGHT - 3 * DAY_MS
    put_day(held, start)
    worker = Worker(held)
    began = held.now
    large = {header.id for header in held.headers() if not SMALL.is_small(header)}
    while large <= {header.id for header in held.headers()}:
        put_late(held, start, f"at {held.now}")
        worker.round()
        held.now += 100_000

    assert SETTLED_MIN_MS <= held.now - began <= SETTLED_MIN_MS + 300_000
    assert held.exported() == held.expected()


def test_a_clock_that_was_ahead_does_not_prolong_a_pause(held: Held) -> None:
    """A pause that began in the future, by a clock that was set back since, does not count."""
    start = MIDNIGHT - 3 * DAY_MS
    put_day(held, start)
    worker = Worker(held)
    right = held.now
    held.now += 60 * DAY_MS
    worker.idle()
    held.now = right
    put_late(held, start, "second")
    worker.idle()

    assert unsettled_share(held) == 0
    assert held.exported() == held.expected()


def test_damage_does_not_keep_other_days_from_settling(held: Held) -> None:
    """A day with a damaged segment is reported and stays as it is; all other days settle in the same round."""
    for days in (5, 4, 3):
        put_day(held, MIDNIGHT - days * DAY_MS)
    Worker(held).idle()
    for days in (5, 4, 3):
        put_late(held, MIDNIGHT - days * DAY_MS, "second")
    damaged = MIDNIGHT - 5 * DAY_MS + 12 * HOUR_MS
    (one,) = [one for one in held.headers() if one.first[0] < damaged < one.last[0]]
    damage(held.path, one.id)
    worker = Worker(held)
    worker.round()
    with pytest.raises(DamagedSegment, match=f"{one.id}"):
        worker.round()

    others = [header for header in held.headers() if header.first[0] >= MIDNIGHT - 4 * DAY_MS]
    assert all(header.last < following.first for header, following in pairwise(others))
    assert one.id in {header.id for header in held.headers()}
    assert worker.round() == Compacted(0, 0)


def test_what_a_round_merged_does_not_press_the_worker(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that the worker itself wrote in a round have not arrived."""
    monkeypatch.setattr("smsevents.worker.worker.PRESSED_LINES_BYTES", 1000)
    put_day(held, MIDNIGHT - 3 * DAY_MS)
    worker = UpkeepWorker(held.database, lambda: held.now)
    before = {header.id for header in held.headers()}
    worker.round()
    worker.round()

    assert before != {header.id for header in held.headers()}
    assert not worker.is_pressed()


def test_another_day_makes_all_shops_due(held: Held) -> None:
    """All shops are looked at when another day can settle, also those in which nothing has arrived since."""
    worker = Worker(held)
    assert worker.is_due()
    worker.looked_at_all()
    held.now += DAY_MS - 1
    assert not worker.is_due()
    held.now += 1
    assert worker.is_due()


@pytest.mark.slow
def test_a_stream_with_late_events_is_settled_but_for_the_present(held: Held) -> None:
    """Of three weeks in the order of arrival, hour by hour, hardly anything overlaps in the end, and rounds do end."""
    days = 21
    start = held.now
    lines = generate(held.trackpoint, events=20_000, days=days, seed=2, end_ms=start + days * DAY_MS, by_arrival=True)
    worker = Worker(held)
    newest = 0

    def hour_of(one: bytes) -> int:
        nonlocal newest
        newest = max(newest, date_of(one))
        return newest // HOUR_MS

    for hour, arrived in groupby(lines, hour_of):
        held.now = (hour + 1) * HOUR_MS
        held.put(arrived)
        worker.round()
        if hour % 24 == 0:
            worker.idle()
    worker.idle()

    with held.database.read() as connection:
        overlapping = overlapping_line_bytes(connection)
    present = sum(header.line_bytes for header in held.headers() if header.last[0] >= held.now - 3 * DAY_MS)
    assert overlapping <= present
    assert held.exported() == held.expected()


def test_the_upkeep_worker_settles_past_days(held: Held) -> None:
    """The worker merges a late event of a past day in the second round that sees it; the metric is its backlog."""
    start = MIDNIGHT - 3 * DAY_MS
    held.put(line(held.trackpoint, start + 10 * number, f"{number}") for number in range(6000))
    held.put([line(held.trackpoint, start + 10_005, "late")])
    worker = UpkeepWorker(held.database, lambda: held.now)
    worker.round()
    assert backlog(held) > 0
    worker.round()

    assert backlog(held) == 0
    assert held.exported() == held.expected()


def test_much_that_has_arrived_presses_the_worker(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker begins a round at once when the lines since the last one exceed a limit, and not for fewer."""
    worker = UpkeepWorker(held.database, lambda: held.now)
    held.put([line(held.trackpoint, MIDNIGHT - 1)])
    assert not worker.is_pressed()
    monkeypatch.setattr("smsevents.worker.worker.PRESSED_LINES_BYTES", 1000)
    assert not worker.is_pressed()
    held.put(line(held.trackpoint, MIDNIGHT - number, f"{number}") for number in range(10))
    assert worker.is_pressed()
    worker.round()
    assert not worker.is_pressed()


def backlog(held: Held) -> float:
    """Return the metric of what waits to be merged, in bytes of lines."""
    text = exposition(held.database, Timekeeper(held.database), held.now).decode()
    (found,) = [one for one in text.splitlines() if one.startswith("smsevents_unsettled_bytes ")]
    return float(found.split()[1])


SPANS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 8)), min_size=1, max_size=12)


def of_span(shop: int, number: int, first: int, length: int) -> Segment:
    """Return a segment with an event at each end."""
    ends = sorted({(date, line(shop, date, f"{number}")) for date in (first, first + length)})
    (made,) = pack(ends)
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example empties the table
@given(spans=st.lists(SPANS, min_size=1, max_size=2))
def test_what_overlaps_is_counted(held: Held, spans: list[list[tuple[int, int]]]) -> None:
    """The sum holds the segments that reach past the first millisecond of a later one of their shop, and those."""
    held.database.write(lambda c: c.execute(delete(segments)).close())
    expected = 0
    for shop, of_shop in enumerate(spans, 1):
        with suppress(ShopExists):
            Access(held.database).add_shop(shop, "")
        made = [of_span(shop, number, *span) for number, span in enumerate(of_shop)]
        held.database.write(partial(insert_segments, trackpoint=shop, new=made))
        made.sort(key=lambda one: one.header.first)
        pairs = [(one, two) for one, two in combinations(made, 2) if one.header.last[0] > two.header.first[0]]
        expected += sum({id(one): one.header.line_bytes for pair in pairs for one in pair}.values())

    with held.database.read() as connection:
        assert overlapping_line_bytes(connection) == expected
