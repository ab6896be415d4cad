"""The messages that are kept of settled days: they are used where they equal a count of the lines, and only there."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from structlog.testing import capture_logs

from smsevents.accounts.access import Access
from smsevents.catalog import sent_days
from smsevents.catalog.message_days import all_kept_days
from smsevents.catalog.packs import packs_of
from smsevents.catalog.tables import message_days, segments
from smsevents.catalog.tables import tallies as tallies_table
from smsevents.errors import InvalidRequest
from smsevents.segments import message_day as message_day_module
from smsevents.segments import tally as tally_module
from smsevents.segments.message_day import (
    MESSAGE_DAY_VERSION,
    QUARTERS_IN_DAY,
    InState,
    MessageDay,
    Sent,
    UnreadableMessageDay,
    decode_message_day,
    encode_message_day,
)
from smsevents.segments.segment import inflate
from smsevents.segments.selection import Selection
from smsevents.segments.splice import unpack
from smsevents.stats import day_counts, keeping
from smsevents.stats import messages as messages_of_stats
from smsevents.stats import parts as parts_of_stats
from smsevents.stats.keeping import DayKeeper
from smsevents.stats.messages import count_messages
from smsevents.stats.question import Question
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.erasure import erase
from smsevents.upkeep.packing import unpack_shop
from smsevents.upkeep.retention import expire
from smsevents.wire.limits import DAY_MS, HISTORY_MS, HOUR_MS
from smsevents.wire.window import Window, history_start
from smsevents.worker.worker import UpkeepWorker
from tests.support.campaigns import few_or_many
from tests.support.counting import SIZES, asked, backfill, filled, keep_days, last_days
from tests.support.logs import Held, log_at, open_with, store
from tests.support.statistics import QUARTER_MS, event_line, plain, plain_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.segments.segment import Segment
    from smsevents.stats.messages import MessageCounts

DAYS = 20


@pytest.fixture
def packing(url: str) -> Iterator[Held]:
    """Yield an empty shop with a store of packs."""
    made = Held(url, MemoryStore())
    yield made
    made.database.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many lines each segment has that a count opens."""
    found: list[int] = []

    def noted(segment: Segment) -> bytes:
        lines = inflate(segment)
        found.append(lines.count(b"\n"))
        return lines

    monkeypatch.setattr(parts_of_stats, "inflate", noted)
    return found


def of_sending(held: Held, selection: Selection = Selection(), **parts: Any) -> Question:  # noqa: B008 -- it is immutable
    """Return a question about all messages of the last days, by the day."""
    question = replace(asked(held, selection), window=last_days(held, DAYS + 1), at="send", step="1d")
    return replace(question, **parts)


def settled(held: Held) -> int:
    """Import events of some days, merge them, and keep their messages. Return how many days are kept."""
    filled(held, days=DAYS)
    held.compact(SIZES)
    backfill(held)
    return keep_days(held.database, held.trackpoint, held.now)


def kept_numbers(held: Held) -> set[int]:
    """Return the days that were counted from what is stored."""
    with held.database.read() as connection:
        holdings = sent_days.holdings_of(held.database, connection, held.trackpoint, lambda: None)
        bases = sent_days.bases_of(holdings)
        kept = all_kept_days(connection, held.trackpoint)
    return {day for day, one in kept.items() if day in bases and one.is_of(bases[day].digest)}


def count(held: Held, question: Question) -> MessageCounts:
    """Count messages, and compare them with those of an export."""
    found = count_messages(held.database, held.trackpoint, question)
    exported = b"".join(unpack(held.log.read(held.trackpoint, question.log_window))).split(b"\n")[:-1]
    sent = sum(row["sent"] for row in plain_messages(exported, question))
    assert found.total().sent == sent
    return found


def test_kept_days_are_not_counted_again(held: Held, read: list[int]) -> None:
    """What is kept of all days is used for every grouping and filter, in every zone, without opening a segment."""
    assert settled(held) >= DAYS
    read.clear()
    for zone in ("UTC", "Europe/Prague", "Asia/Kathmandu"):
        question = of_sending(held, zone=ZoneInfo(zone))
        for one in (
            question,
            replace(question, by=("campaign", "node")),
            replace(question, step="all", wanted=Selection(statuses=frozenset({"DELIVERED"}))),
            replace(question, step="1w", wanted=Selection(types=frozenset({"flow"}))),
        ):
            assert count_messages(held.database, held.trackpoint, one).total().sent > 0
    first_and_last = read  # the interval begins and ends within a quarter of an hour
    assert len(first_and_last) <= 12 * 2


def test_only_what_is_not_kept_is_counted(held: Held, read: list[int]) -> None:
    """After late events of a few days, only segments with messages of these days are opened."""
    settled(held)
    before = kept_numbers(held)
    day = sorted(before)[5]
    late = day * DAY_MS + 5 * HOUR_MS
    held.put([event_line(held.trackpoint, held.now - HOUR_MS, late, user="late")])
    assert before - kept_numbers(held) == {day}
    read.clear()
    aligned = Window(min(before) * DAY_MS, held.now // QUARTER_MS * QUARTER_MS - 1)
    count(held, of_sending(held, window=aligned))
    assert 0 < sum(read) < len(held.lines)
    assert keep_days(held.database, held.trackpoint, held.now) == 1
    assert kept_numbers(held) == before
    count(held, of_sending(held, window=aligned))


def test_what_tallies_said_of_kept_days_is_not_used_when_they_are_kept_no_more(packing: Held) -> None:
    """A question that is asked again after late events of kept days finds all of their messages, and each once."""
    settled(packing)
    packing.pack(SIZES)
    keep_days(packing.database, packing.trackpoint, packing.now)
    days = sorted(kept_numbers(packing))[2:-2]
    # it ends before now, so that what tallies say to it may be kept in memory
    question = of_sending(packing, window=Window(days[0] * DAY_MS + 1, days[-1] * DAY_MS - 1))
    before = count(packing, question).total().sent
    for number, day in enumerate(days[1:-1:3]):
        late = day * DAY_MS + 5 * HOUR_MS
        packing.put([event_line(packing.trackpoint, packing.now - HOUR_MS, late, user=f"late {number}")])
        assert count(packing, question).total().sent == before + number + 1
    keep_days(packing.database, packing.trackpoint, packing.now)
    assert count(packing, question).total().sent == before + number + 1


def test_packs_keep_what_is_kept(packing: Held) -> None:
    """Moving segments into packs and back changes no event of a day, so what is kept of unchanged ones still counts."""
    days = settled(packing)
    packing.pack(SIZES)
    assert packing.packs()
    assert 0 < len(kept_numbers(packing)) < days  # what is too small for a segment is merged with its neighbours
    keep_days(packing.database, packing.trackpoint, packing.now)
    assert len(kept_numbers(packing)) == days
    with packing.database.read() as connection:
        assert unpack_shop(packing.database, packing.trackpoint, list(packs_of(connection, packing.trackpoint)))
    assert len(kept_numbers(packing)) == days
    count(packing, of_sending(packing))


def test_an_erasure_deletes_what_was_counted_with_the_user(packing: Held) -> None:
    """When an erasure ends, nothing is left that was counted from the user's events; other days stay as they are."""
    settled(packing)
    before = kept_numbers(packing)
    users = Counter(plain(one).user for one in packing.lines)
    user = users.most_common()[-1][0]
    days = {plain(one).sent // DAY_MS for one in packing.lines if plain(one).user == user}
    erase(packing.database, packing.trackpoint, [user], packing.now, block=False)
    with packing.database.read() as connection:
        left = all_kept_days(connection, packing.trackpoint).keys()
    assert not left & days
    assert left == kept_numbers(packing)
    assert left
    packing.lines = {one for one in packing.lines if plain(one).user != user}
    count(packing, of_sending(packing))
    assert keep_days(packing.database, packing.trackpoint, packing.now) == len(before - left)
    count(packing, of_sending(packing))


@pytest.mark.parametrize("length", [0, 5, 60])
def test_what_cannot_be_read_is_counted(held: Held, length: int) -> None:
    """If what is kept is damaged, the lines are counted instead, and the log names the days."""
    settled(held)
    kept = kept_numbers(held)
    before = count(held, of_sending(held, by=("campaign",))).rows()
    held.database.write(
        lambda c: c.execute(update(message_days).values(data=func.substr(message_days.c.data, 1, length)))
    )
    with capture_logs() as logged:
        assert count(held, of_sending(held, by=("campaign",))).rows() == before
    assert {one["event"] for one in logged} == {"messages damaged"}
    assert {one["day"] for one in logged} == kept


def test_another_version_is_counted_again(held: Held, read: list[int]) -> None:
    """What another version kept is not used, and is counted again at once."""
    days = settled(held)
    held.database.write(lambda c: c.execute(update(message_days).values(version=MESSAGE_DAY_VERSION + 1)))
    read.clear()
    count(held, of_sending(held))
    assert read
    assert keep_days(held.database, held.trackpoint, held.now) == days


@pytest.mark.parametrize("limit", ["DAYS_HELD_MAX_BYTES", "MESSAGE_DAY_RAW_MAX_BYTES", "MESSAGE_DAY_MAX_BYTES"])
def test_a_day_that_is_too_large_is_counted_each_time(held: Held, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """A day with too many different sources is not kept, and is not tried again until its events change."""
    module = day_counts if limit == "DAYS_HELD_MAX_BYTES" else message_day_module
    monkeypatch.setattr(module, limit, 10)
    days = settled(held)
    with held.database.read() as connection:
        assert not any(one.is_worth for one in all_kept_days(connection, held.trackpoint).values())
    count(held, of_sending(held))
    assert days >= DAYS
    assert keep_days(held.database, held.trackpoint, held.now) == 0


def test_days_that_have_no_room_together_are_counted_alone(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the numbers of several days take too much memory, each of them is counted again by itself, and kept."""
    days = settled(held)
    kept = kept_numbers(held)
    before = count(held, of_sending(held, by=("campaign", "node"))).rows()
    held.database.write(lambda c: c.execute(message_days.delete()))
    monkeypatch.setattr(day_counts, "DAYS_HELD_MAX_BYTES", 150_000)
    assert keep_days(held.database, held.trackpoint, held.now) == days
    with held.database.read() as connection:
        assert all(one.is_worth for one in all_kept_days(connection, held.trackpoint).values())
    assert kept_numbers(held) == kept
    assert count(held, of_sending(held, by=("campaign", "node"))).rows() == before


def test_the_limit_is_for_what_is_not_kept(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop with more events than can be counted has its settled days; beyond, the error says where to end."""
    settled(held)
    kept = kept_numbers(held)
    monkeypatch.setattr(messages_of_stats, "MESSAGES_EVENTS_MAX", 200)
    aligned = Window(min(kept) * DAY_MS, (max(kept) + 1) * DAY_MS - 1)
    assert count(held, of_sending(held, window=aligned)).total().events > 2000
    burst = held.now - HOUR_MS
    held.put([event_line(held.trackpoint, burst + n, burst, user=f"u{n}") for n in range(201)])
    with pytest.raises(InvalidRequest, match=r"more than 200 events.*Most messages sent before .*T\d\d:\d\dZ are"):
        count(held, of_sending(held))


def test_days_are_counted_once_they_are_settled(held: Held) -> None:
    """A day is counted one day after its end, by the second round that finds the same, and not while it changes."""
    filled(held, days=5)
    held.compact(SIZES)
    keeper = DayKeeper()

    def step() -> int:
        return sum(keeper.steps(held.database, held.now))

    assert step() == 0
    day = (held.now - 3 * DAY_MS) // DAY_MS
    held.put([event_line(held.trackpoint, held.now, day * DAY_MS, user="late")])
    counted = step()
    assert counted > 0
    assert day not in kept_numbers(held)
    assert step() == 1
    assert max(kept_numbers(held)) == (held.now - DAY_MS) // DAY_MS - 1
    assert step() == 0


def test_a_day_that_keeps_changing_is_counted_after_longer_and_longer_pauses(held: Held) -> None:
    """A day with late events is counted again only after half of its age, and after a day at most."""
    filled(held, 300, days=5)
    keeper = DayKeeper()
    day = held.now // DAY_MS - 3
    end = (day + 1) * DAY_MS
    counted_ms: list[int] = []
    for number in range(20):
        now = end + DAY_MS + number * 6 * HOUR_MS
        held.put([event_line(held.trackpoint, held.now - number, day * DAY_MS + 1, user=f"late {number}")])
        for _ in range(2):
            assert sum(keeper.steps(held.database, now)) >= 0
        with held.database.read() as connection:
            kept = all_kept_days(connection, held.trackpoint).get(day)
        if kept is not None and kept.counted_ms not in counted_ms:
            counted_ms.append(kept.counted_ms)
    assert [(one - end) // HOUR_MS for one in counted_ms] == [24, 36, 54, 78, 102, 126]


def test_what_changes_while_it_is_counted_is_not_kept(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that arrives while its day is counted keeps the day from being kept; the other days are."""
    filled(held, days=3)
    held.compact(SIZES)
    day = held.now // DAY_MS - 3
    counting = day_counts.count_days

    def count_late(*args: Any) -> Any:
        found = counting(*args)
        held.put([event_line(held.trackpoint, held.now, day * DAY_MS, user="late")])
        return found

    monkeypatch.setattr(keeping, "count_days", count_late)
    assert keep_days(held.database, held.trackpoint, held.now) > 0
    assert day not in kept_numbers(held)
    count(held, of_sending(held))


def test_nobody_erases_while_days_are_counted(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that comes and is erased while its day is counted could not be noticed: so an erasure waits."""
    filled(held, days=3)
    counting = day_counts.count_days
    waited: list[bool] = []

    def count_beside(*args: Any) -> Any:
        monkeypatch.setattr("smsevents.upkeep.erasure.ERASURE_PATIENCE_SECONDS", 0)
        try:
            erase(held.database, held.trackpoint, ["nobody"], held.now, block=False)
        except Exception as error:  # noqa: BLE001 -- the type is checked below
            waited.append("is erasing" in str(error) or "Busy" in type(error).__name__)
        return counting(*args)

    monkeypatch.setattr(keeping, "count_days", count_beside)
    assert keep_days(held.database, held.trackpoint, held.now) > 0
    assert waited
    assert all(waited)


def test_the_upkeep_worker_keeps_and_expires_days(held: Held) -> None:
    """The worker keeps the past days after its second round, and deletes those before the history with their events."""
    filled(held, days=DAYS)
    worker = UpkeepWorker(held.database, lambda: held.now)
    for _ in range(3):
        assert worker.round()
    kept = kept_numbers(held)
    assert len(kept) >= DAYS - 2
    later = held.now + HISTORY_MS - 10 * DAY_MS
    expire(held.database, later)
    with held.database.read() as connection:
        assert all_kept_days(connection, held.trackpoint).keys() == {
            day for day in kept if day >= history_start(later) // DAY_MS
        }


def test_counting_days_gives_way_to_compaction(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """While much arrives, the worker counts one share of days in a round, and goes on in the next one."""
    filled(held, days=5)
    monkeypatch.setattr(keeping, "COUNTED_DAYS_MAX", 1)
    worker = UpkeepWorker(held.database, lambda: held.now)
    monkeypatch.setattr(worker, "is_pressed", lambda: True)
    numbers = []
    for _ in range(4):
        assert worker.round()
        numbers.append(len(kept_numbers(held)))
    assert numbers[0] == 0
    assert numbers[-1] == 2
    assert all(following - one <= 1 for one, following in pairwise(numbers))


def test_days_without_events_are_forgotten(held: Held) -> None:
    """When all events of a day have left, what was kept of it leaves with the next round."""
    settled(held)
    held.database.write(lambda c: c.execute(tallies_table.delete()))
    users = sorted({plain(one).user for one in held.lines})
    later = held.now + DAY_MS
    keeper = DayKeeper()
    for one in range(0, len(users), 1000):
        erase(held.database, held.trackpoint, users[one : one + 1000], held.now, block=False)
    assert list(keeper.steps(held.database, later)) == []
    with held.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(message_days)).scalar() == 0


def test_what_rows_and_packs_hold_is_read_once(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tallies are read once for each segment, and again only for those that were forgotten because there are many."""
    settled(held)
    decoded: list[int] = []
    decode = tally_module.decode_tally

    def noted(data: bytes) -> Any:
        decoded.append(len(data))
        return decode(data)

    monkeypatch.setattr(sent_days, "decode_tally", noted)
    count(held, of_sending(held))
    assert decoded == []
    monkeypatch.setattr(sent_days, "DAYS_REMEMBERED_MAX", 1)
    held.database.sent_days.remember("row", {})
    for _ in range(2):
        decoded.clear()
        count(held, of_sending(held))
        assert decoded


@pytest.mark.parametrize(
    "wrong",
    [
        Sent(1, 0, [0], []),
        Sent(0, -1, [0], []),
        Sent(0, QUARTERS_IN_DAY, [0], []),
        Sent(0, 0, [0], [InState("DELIVERED", [1, 1], [1])]),
        Sent(0, 0, [0], [InState("DELIVERED", [1], [])]),
    ],
)
def test_an_impossible_day_is_unreadable(wrong: Sent) -> None:
    """Numbers that do not fit together are not used."""
    sound = MessageDay(5, [b"{"], [Sent(0, 95, [95], [InState("DELIVERED", [1], [2])])])
    encoded = encode_message_day(sound)
    assert encoded is not None
    assert decode_message_day(encoded) == sound
    damaged = encode_message_day(MessageDay(5, [b"{"], [wrong]))
    assert damaged is not None
    with pytest.raises(UnreadableMessageDay):
        decode_message_day(damaged)


def test_a_damaged_segment_is_named_once(held: Held) -> None:
    """A shop whose segments cannot be read is left alone until something changes, and the others are counted."""
    other = Access(held.database).add_shop(7, "").trackpoint
    store(held.log, other, [event_line(other, held.now - 3 * DAY_MS, held.now - 3 * DAY_MS)])
    held.put([event_line(held.trackpoint, held.now - 3 * DAY_MS, held.now - 3 * DAY_MS)])
    (header,) = held.headers()
    damage = update(segments).where(segments.c.id == header.id).values(data=b"damaged")
    held.database.write(lambda c: c.execute(damage))
    keeper = DayKeeper()
    with capture_logs() as logged:
        counted = [sum(keeper.steps(held.database, held.now)) for _ in range(3)]
    assert counted == [0, 1, 0]
    assert [(one["event"], one["trackpoint"]) for one in logged] == [("messages not counted", held.trackpoint)]


# messages around the start of the history: hours from it to the sending, and from there to each event
old_messages = st.lists(
    st.tuples(st.integers(75, 140), st.lists(st.tuples(st.integers(-40, 50), st.booleans()), min_size=1, max_size=3)),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("examples", few_or_many(20, 1500))
def test_events_that_leave_the_history_leave_the_messages(url: str, examples: int) -> None:
    """As the history moves on, kept days say the same as a count of the events that are still in it."""
    with closing(open_with(url, MemoryStore())) as database:
        shops = iter(range(1, 100_000))

        @settings(max_examples=examples, deadline=None)
        @given(old_messages, st.lists(st.integers(70 * 4, 190 * 4), min_size=1, max_size=6), st.booleans())
        def check(messages: list[Any], quarters: list[int], is_expired: bool) -> None:
            held = _OldShop(database, next(shops))
            held.import_messages(messages)
            assert keep_days(database, held.trackpoint, held.now) > 0
            for quarter in sorted(quarters):
                held.now = held.begin + quarter * QUARTER_MS
                if is_expired:
                    expire(database, held.now)
                held.check()
                held.check(step="1d", by=("campaign",))

        check()


class _OldShop:
    """A shop whose events are nearly as old as the history."""

    def __init__(self, database: Any, trackpoint: int) -> None:
        self.database = database
        self.begin = self.now = 1_790_000_000_000 // DAY_MS * DAY_MS
        self.trackpoint = Access(database).add_shop(trackpoint, "").trackpoint
        self.log = log_at(database, lambda: self.now)

    def import_messages(self, messages: list[Any]) -> None:
        """Import events; those before the history are dropped, as always."""
        start = history_start(self.begin)
        lines = [
            event_line(
                self.trackpoint,
                start + (sent + after) * HOUR_MS,
                start + sent * HOUR_MS,
                user=f"u{number}",
                status="DELIVERED" if is_final else "ACCEPTED",
                campaign=(f"c{number % 2}", f"Name {number % 3}"),
            )
            for number, (sent, events) in enumerate(messages)
            for after, is_final in events
        ]
        store(self.log, self.trackpoint, lines)

    def check(self, **parts: Any) -> None:
        """Compare what is counted now with the events that are exported now."""
        window = Window(history_start(self.now), self.now)
        question = replace(Question(window, ZoneInfo("UTC"), "send", "all", self.now), **parts)
        found = count_messages(self.database, self.trackpoint, question)
        exported = b"".join(unpack(self.log.read(self.trackpoint, question.log_window))).split(b"\n")[:-1]
        rows = plain_messages(exported, question)
        assert sorted((row.bucket, row.sent, row.delivered, row.events) for row in found.rows()) == sorted(
            (row["bucket"], row["sent"], row["delivered"], row["events"]) for row in rows
        )
