"""Statistics equal a plain count over an export, however the log is stored and whatever is asked."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count as counter
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, update

from smsevents.accounts.access import Access
from smsevents.catalog.packs import packs_of
from smsevents.catalog.segments import newest_id
from smsevents.catalog.tables import tallies as table
from smsevents.catalog.tallies import SUM_START
from smsevents.segments import tally as tallies
from smsevents.segments.selection import Selection
from smsevents.segments.splice import unpack
from smsevents.segments.tally_sum import SUM_VERSION
from smsevents.stats import message_states
from smsevents.stats.calendar import STEPS
from smsevents.stats.delivery import count_deliveries
from smsevents.stats.events import count_events
from smsevents.stats.messages import count_messages
from smsevents.stats.question import AXES, PARTS, Question
from smsevents.stats.took import DeliveryFigures
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.erasure import erase
from smsevents.upkeep.groups import PackSizes, Sizes
from smsevents.upkeep.packing import pack_settled
from smsevents.upkeep.tallying import Backfill
from smsevents.wire.events import STATUSES
from smsevents.wire.limits import DAY_MS, HOUR_MS
from smsevents.wire.window import Window
from tests.support.campaigns import few_or_many
from tests.support.counting import keep_days
from tests.support.logs import log_at, open_with, store
from tests.support.statistics import (
    QUARTER_MS,
    event_line,
    nearest_rank,
    plain,
    plain_messages,
    plain_rows,
    plain_times,
    plain_times_of_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from smsevents.catalog import Database

SMALL = Sizes(segment_bytes=1500, held_max_bytes=8000, packs=PackSizes(target_bytes=900, min_bytes=1, max_bytes=2000))
# where, and a time some hours after the clocks were changed there
PLACES = {
    "Europe/Prague in spring": ("Europe/Prague", 1_774_828_800_000),  # 2026-03-30T00:00Z
    "Europe/Prague in autumn": ("Europe/Prague", 1_792_972_800_000),  # 2026-10-26T00:00Z
    "Australia/Lord_Howe": ("Australia/Lord_Howe", 1_775_400_000_000),  # 2026-04-05T14:40Z
    "Asia/Kathmandu": ("Asia/Kathmandu", 1_790_000_000_000),
    "UTC": ("UTC", 1_790_000_000_000),
}
DAYS = 3
TOOK_MS = [0, 5_000, 10_000, 10_001, 60_000, 60_001, 20 * 60_000, 7 * HOUR_MS, 73 * HOUR_MS, -5_000]
FLOW = (("f", "Flow"), ("n", "Node"))
FIGURES = {field.encode_name for field in msgspec.structs.fields(DeliveryFigures)}
SOURCES: list[dict[str, Any]] = [
    {"campaign": ("c", "Campaign")},
    {"campaign": ("c", "Campaign, renamed \u2713")},
    {"campaign": ("d", 'Other "date":1}')},
    {"campaign": FLOW[0], "node": FLOW[1]},
    {"campaign": FLOW[0], "node": ("m", "Second")},
    {"campaign": ("c", "A flow with the id of a campaign"), "node": ("n", "Node, elsewhere")},
]


KEPT_SUM, LOST_SUM, DAMAGED_SUM, OTHER_SUM = SUMS = range(4)  # what may happen to the sum of a pack


@dataclass(frozen=True)
class Step:
    """Something that happens to the log."""

    kind: str
    some: tuple[int, ...] = ()


@pytest.fixture(scope="module", autouse=True)
def _small_tallies() -> Iterator[None]:
    """Let small segments have tallies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tallies, "TALLY_LINES_MIN_BYTES", 400)
        patch.setattr("smsevents.catalog.tallies.TALLY_LINES_MIN_BYTES", 400)
        patch.setattr(message_states, "SHARE_EVENTS", 7)
        patch.setattr(message_states, "RECORDS_HELD_MAX_BYTES", 200)
        yield


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield a database with a store of packs, which the examples share, each with a shop of its own."""
    with closing(open_with(f"sqlite:///{tmp_path_factory.mktemp('stats') / 'log.db'}", MemoryStore())) as opened:
        yield opened


shops = counter(1)

dates = st.integers(0, DAYS * DAY_MS // QUARTER_MS).map(lambda quarter: quarter * QUARTER_MS) | st.integers(
    0, DAYS * DAY_MS
)
events = st.tuples(
    dates,
    st.sampled_from([-1, 0, 1]),
    st.sampled_from(TOOK_MS),
    st.sampled_from(["u", "v", 'quo"te', "ž\\"]),
    st.sampled_from(STATUSES),
    st.sampled_from(range(len(SOURCES))),
)
steps = st.lists(
    st.builds(Step, st.just("import"), st.lists(st.integers(0, 59), min_size=1, max_size=25).map(tuple))
    | st.builds(Step, st.sampled_from(["compact", "pack", "tally", "keep", "erase"]))
    | st.builds(Step, st.just("sums"), st.lists(st.sampled_from(SUMS), min_size=1, max_size=4).map(tuple)),
    max_size=5,
)
# none, or the position of an event, and how far from its time on the axis of the question
moments = st.none() | st.tuples(st.integers(0, 59), st.sampled_from([-600_000, -1, 0, 1, 600_000]))
some_ids = st.sets(
    st.sampled_from(["c", "d", "f", "n", "m", "Campaign", "Flow", "Node", "Second", "nothing"]), max_size=2
).map(frozenset)  # or names


nothing = st.just(frozenset[str]())
selections = st.builds(
    Selection,
    nothing | st.sets(st.sampled_from(STATUSES), max_size=3).map(frozenset),
    nothing | st.sampled_from([frozenset({"flow"}), frozenset({"one-off"})]),
    nothing | some_ids,
    nothing | some_ids,
)


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """Return what is asked, but for the place."""
    by = draw(st.sets(st.sampled_from(PARTS)))
    return {
        "bounds": draw(st.tuples(moments, moments)),
        "at": draw(st.sampled_from(AXES)),
        "step": draw(st.sampled_from(STEPS)),
        "by": tuple(part for part in PARTS if part in by),
        "top": draw(st.none() | st.integers(1, 2)) if by & {"campaign", "node"} else None,
        "wanted": draw(st.just(Selection()) | selections),
    }


def asked(question: dict[str, Any], place: str, lines: list[bytes]) -> Question:
    """Return a question about the days before the time of a place, or between the times of lines."""
    zone, now = PLACES[place]
    start, end = now - (DAYS + 1) * DAY_MS, now + HOUR_MS
    of_axis = question["at"] == "event"
    times = [one.date if of_axis else one.sent for one in map(plain, lines)]
    start, end = (
        default if one is None else times[one[0] % len(times)] + one[1]
        for default, one in zip((start, end), question["bounds"], strict=True)
    )
    parts = {name: value for name, value in question.items() if name != "bounds"}
    return Question(window=Window(min(start, end), max(start, end)), zone=ZoneInfo(zone), now=now, **parts)


class Shop:
    """A shop with a log that a test changes."""

    def __init__(self, database: Database, place: str, pool: list[tuple[Any, ...]]) -> None:
        self.database = database
        self.now = PLACES[place][1]
        self.log = log_at(database, lambda: self.now)
        self.trackpoint = Access(database).add_shop(next(shops), "").trackpoint
        start = self.now - DAYS * DAY_MS
        self.lines = [
            event_line(
                self.trackpoint,
                (date := min(start + at + shift, self.now)),
                date - took,
                user=user,
                status=status,
                **SOURCES[source],
            )
            for at, shift, took, user, status, source in pool
        ]

    def do(self, step: Step) -> None:
        """Change the log."""
        if step.kind == "import":
            store(self.log, self.trackpoint, [self.lines[one % len(self.lines)] for one in step.some])
        elif step.kind == "compact":
            compact_shop(self.database, self.trackpoint, self.now, sizes=SMALL)
        elif step.kind == "pack":
            pack_settled(self.database, self.trackpoint, self.now, self.now + DAY_MS, SMALL)
        elif step.kind == "tally":
            with self.database.read() as connection:
                newest = newest_id(connection)
            assert all(one >= 0 for one in Backfill().steps(self.database, newest))
        elif step.kind == "keep":
            keep_days(self.database, self.trackpoint, self.now)
        elif step.kind == "sums":
            self.database.write(lambda connection: self._change_sums(connection, step.some))
        else:
            erase(self.database, self.trackpoint, ["v"], self.now, block=False)

    def _change_sums(self, connection: Connection, some: tuple[int, ...]) -> None:
        for number, pack in enumerate(packs_of(connection, self.trackpoint)):
            what = some[number % len(some)]
            is_it = (table.c.stored_id == pack.id) & (table.c.start == SUM_START)
            if what == LOST_SUM:
                connection.execute(delete(table).where(is_it))
            elif what == DAMAGED_SUM:
                connection.execute(update(table).where(is_it).values(data=func.substr(table.c.data, 1, 30)))
            elif what == OTHER_SUM:
                connection.execute(update(table).where(is_it).values(version=SUM_VERSION + 1, data=b"?"))

    def exported(self, window: Window) -> list[bytes]:
        """Return the lines of an export."""
        return b"".join(unpack(self.log.read(self.trackpoint, window))).split(b"\n")[:-1]


def as_json(rows: list[Any]) -> list[dict[str, Any]]:
    """Return rows as a client reads them."""
    found: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(rows))
    return found


def same(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> bool:
    """Return whether there are the same rows, in any order."""

    def key(row: dict[str, Any]) -> str:
        return repr(sorted(row.items(), key=repr))

    return sorted(map(key, rows)) == sorted(map(key, expected))


def check_events(shop: Shop, question: Question) -> None:
    """Compare counts of events with those of an export."""
    counted = count_events(shop.database, shop.trackpoint, question)
    total, rows = plain_rows(shop.exported(question.log_window), question)
    assert counted.events == total
    assert same(as_json(counted.rows()), rows)
    if question.at == "event" and not question.wanted.statuses and question.wanted == Selection():
        assert total == len(shop.exported(question.window))


def check_deliveries(shop: Shop, question: Question) -> None:
    """Compare delivery times with those of an export, as a whole and row by row."""
    found = count_deliveries(shop.database, shop.trackpoint, question)
    lines = shop.exported(question.log_window)
    times = plain_times(lines, question)
    total = found.total()
    check_figures(as_json([total.figures()])[0], times)
    histogram = total.histogram()
    assert sum(one.deliveries for one in histogram) == len(times)
    for one in histogram:
        inside = [took for took in times if max(took, 0) >= one.from_ms and (one.to_ms is None or took <= one.to_ms)]
        assert len(inside) == one.deliveries
    expected = {repr(sorted(row.items())): took for row, took in plain_times_of_rows(lines, question)}
    rows = {repr(sorted(members.items())): figures for members, figures in map(split_row, as_json(found.rows()))}
    assert rows.keys() == expected.keys()
    for key, figures in rows.items():
        check_figures(figures, expected[key])


def split_row(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide a row of delivery times into its bucket and members, and its figures."""
    figures = {name: value for name, value in row.items() if name in FIGURES}
    return {name: value for name, value in row.items() if name not in FIGURES}, figures


def check_figures(figures: dict[str, Any], times: list[int]) -> None:
    """Compare figures with sorted times: counts exactly, percentiles within their bucket."""
    assert figures["deliveries"] == len(times)
    for name, within in zip(("within10s", "within1m", "within1h"), tallies.WITHIN_MS, strict=True):
        assert figures[name] == sum(took <= within for took in times)
    for name, percent in (("medianMs", 50), ("p90Ms", 90), ("p95Ms", 95)):
        guess = figures[name]
        if not times:
            assert guess is None
            continue
        bucket = tallies.bucket_of(nearest_rank(times, percent))
        assert tallies.DELIVERY_BOUNDS_MS[bucket] <= guess < tallies.DELIVERY_BOUNDS_MS[bucket + 1]


def check_messages(shop: Shop, question: Question) -> None:
    """Compare messages with those of an export."""
    found = count_messages(shop.database, shop.trackpoint, question)
    rows = plain_messages(shop.exported(question.log_window), question)
    assert same(as_json(found.rows()), rows)
    total = msgspec.to_builtins(found.total())
    assert total == {name: sum(row[name] for row in rows) for name in total}


def check(shop: Shop, question: Question) -> None:
    """Compare all statistics."""
    check_events(shop, question)
    check_deliveries(shop, without_status(question))
    check_messages(shop, without_status(question))


def without_status(question: Question) -> Question:
    """Return a question that does not group by status: neither messages nor delivery times can be grouped by it."""
    return replace(question, by=tuple(part for part in question.by if part != "status"))


@pytest.mark.parametrize("examples", few_or_many(25, 1500))
@pytest.mark.parametrize("place", PLACES)
def test_statistics_equal_a_count_over_an_export(database: Database, place: str, examples: int) -> None:
    """After imports, duplicates, late events, compactions, packing and erasures, every number is that of an export."""

    @settings(max_examples=examples)
    @given(
        pool=st.lists(events, min_size=1, max_size=60), done=steps, some=st.lists(questions(), min_size=2, max_size=4)
    )
    def check_all(pool: list[tuple[Any, ...]], done: list[Step], some: list[dict[str, Any]]) -> None:
        shop = Shop(database, place, pool)
        for step in [Step("import", tuple(range(50))), Step("compact"), Step("keep"), *done]:
            shop.do(step)
        for question in some:
            check(shop, asked(question, place, shop.lines))
        shop.do(Step("keep"))
        for question in some:
            check_messages(shop, without_status(asked(question, place, shop.lines)))

    check_all()
